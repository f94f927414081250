//! An open device: what everything else is made on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;

use thalweg_shaders::kernels::Kernel;

use crate::kernel::PipelineKey;
use crate::listing::list;
use crate::scope::{Failures, catch, lock};
use crate::tally::{Count, Phase, Tally};
use crate::work::Rate;
use crate::{
    Adapter, Buffer, Counters, DeviceRequest, Error, Feature, HostTimes, Limits, Pipeline,
    ReadBuffer, Work, halves,
};
#[cfg(not(target_arch = "wasm32"))]
use crate::{Backend, Uploader, pipeline_cache::PipelineCache};

/// How long a wait keeps its processor, at its end: a token of a small model, or of a large one on a fast device. Of what a
/// slow device takes it is a small part.
#[cfg(not(target_arch = "wasm32"))]
const AWAKE: Duration = Duration::from_millis(5);

/// The most that a wait sleeps because the last one took long.
#[cfg(not(target_arch = "wasm32"))]
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// An open device with its queue, its compiled kernels and the count of its memory.
///
/// Every method may be called from several threads.
#[derive(Debug)]
pub struct Context {
    adapter: Adapter,
    reason: String,
    features: Vec<Feature>,
    device: wgpu::Device,
    queue: wgpu::Queue,
    failures: Arc<Failures>,
    pipelines: Mutex<HashMap<PipelineKey, Pipeline>>,
    /// Whether unpacking keeps subnormal halves.
    subnormal_halves: bool,
    #[cfg(not(target_arch = "wasm32"))]
    pipeline_cache: Option<PipelineCache>,
    buffer_bytes: Arc<AtomicU64>,
    tally: Tally,
    rate: Rate,
    /// Estimated microseconds of work submitted and not waited for.
    pending_us: AtomicU64,
    /// What the last wait for everything took.
    #[cfg(not(target_arch = "wasm32"))]
    last_wait_us: AtomicU64,
}

/// How much device memory is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of all buffers made through the context, staging included.
    pub buffer_bytes: u64,
    /// Bytes that wgpu's allocator has given out and has reserved from the driver, where the backend reports them.
    pub allocator: Option<AllocatorBytes>,
}

/// What wgpu's allocator reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllocatorBytes {
    /// Bytes given out.
    pub allocated: u64,
    /// Bytes reserved from the driver.
    pub reserved: u64,
}

impl Context {
    /// Opens the device that `request` means.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(request: &DeviceRequest) -> Result<Context, Error> {
        let mut context = pollster::block_on(Context::open(request))?;
        context.subnormal_halves = halves::subnormals_survive(&context)?;
        Ok(context)
    }

    /// Opens a GPU or, where there is none, a software adapter: for tests, which fail where there is neither.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn of_any_kind() -> Result<Context, Error> {
        Context::new(&DeviceRequest::default()).or_else(|_| {
            Context::new(&DeviceRequest {
                backend: Backend::Vulkan,
                ..DeviceRequest::default()
            })
        })
    }

    /// Opens the device that `request` means, as the browser needs it: without blocking.
    pub async fn open(request: &DeviceRequest) -> Result<Context, Error> {
        let (mut listing, mut handles) = list(request).await;
        let choice = listing.choice?;
        let (adapter, handle) = (
            listing.adapters.swap_remove(choice.index),
            handles.swap_remove(choice.index),
        );
        let mut features = adapter.features.clone();
        features.retain(|feature| !request.features_off.contains(feature));
        if !features.contains(&Feature::F16) {
            features.retain(|feature| *feature != Feature::Coop); // matrices of f16
        }
        let mut required_features = wanted_features(&features, handle.features());
        if request.pipeline_cache.is_some() {
            required_features |= handle.features() & wgpu::Features::PIPELINE_CACHE;
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("thalweg"),
            required_features,
            experimental_features: experimental(&features),
            required_limits: handle.limits(),
            // Weights are few and large; small blocks for the rest keep what is reserved close to what is used.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = handle
            .request_device(&descriptor)
            .await
            .map_err(|refusal| Error::DeviceRefused {
                adapter: adapter.to_string(),
                reason: refusal.to_string(),
            })?;
        #[cfg(not(target_arch = "wasm32"))]
        let pipeline_cache = request
            .pipeline_cache
            .as_ref()
            .and_then(|folder| PipelineCache::open(&device, &handle.get_info(), folder));
        Ok(Context {
            rate: Rate::assumed(adapter.kind, adapter.software),
            adapter,
            reason: choice.reason,
            features,
            failures: Failures::watch(&device),
            device,
            queue,
            pipelines: Mutex::default(),
            subnormal_halves: false,
            #[cfg(not(target_arch = "wasm32"))]
            pipeline_cache,
            buffer_bytes: Arc::default(),
            tally: Tally::default(),
            pending_us: AtomicU64::new(0),
            #[cfg(not(target_arch = "wasm32"))]
            last_wait_us: AtomicU64::new(0),
        })
    }

    /// The adapter that the device belongs to.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Why this adapter was chosen.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The device's limits: those of its adapter.
    pub fn limits(&self) -> &Limits {
        &self.adapter.limits
    }

    /// Whether the device was opened with `feature`.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// The features that the device was opened with.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// How much device memory is in use.
    pub fn memory(&self) -> Memory {
        let allocator = self
            .device
            .generate_allocator_report()
            .map(|report| AllocatorBytes {
                allocated: report.total_allocated_bytes,
                reserved: report.total_reserved_bytes,
            });
        Memory {
            buffer_bytes: self.buffer_bytes.load(Ordering::Relaxed),
            allocator,
        }
    }

    /// What was asked of the device since it was opened.
    pub fn counters(&self) -> Counters {
        self.tally.counters()
    }

    /// Where the host's time went since the device was opened.
    pub fn host_times(&self) -> HostTimes {
        self.tally.host_times()
    }

    /// A storage buffer of `bytes`, rounded up to a multiple of four, filled with zeros.
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<Buffer, Error> {
        Buffer::new(self, label, bytes)
    }

    /// A storage buffer holding `data`.
    pub fn buffer_with<T: bytemuck::Pod>(&self, label: &str, data: &[T]) -> Result<Buffer, Error> {
        let buffer = self.buffer(label, size_of_val(data) as u64)?;
        self.write(&buffer, 0, data)?;
        Ok(buffer)
    }

    /// A buffer of `bytes`, rounded up to a multiple of four, for results that the host reads.
    pub fn read_buffer(&self, label: &str, bytes: u64) -> Result<ReadBuffer, Error> {
        ReadBuffer::new(self, label, bytes)
    }

    /// Writes a little data (token ids, a state) into `buffer` from byte `offset` on, before whatever is submitted
    /// next. Both `offset` and the data's bytes are multiples of four.
    pub fn write<T: bytemuck::Pod>(
        &self,
        buffer: &Buffer,
        offset: u64,
        data: &[T],
    ) -> Result<(), Error> {
        self.write_bytes(buffer.wgpu(), offset, bytemuck::cast_slice(data))
    }

    /// Fills `buffer` with zeros, after whatever was submitted before and before what is submitted next.
    pub fn clear(&self, buffer: &Buffer) -> Result<(), Error> {
        self.scoped("clearing a buffer", 0, || {
            let mut encoder = self
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.clear_buffer(buffer.wgpu(), 0, None);
            self.hand_over(encoder.finish());
        })
    }

    /// Writes large data of any amount through a little staging memory.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn uploader(&self) -> Uploader<'_> {
        Uploader::new(self)
    }

    /// Reads `out.len()` values from byte `offset` of `buffer` on, after whatever was submitted before. For tests and
    /// rare reads: results of every step go through a [`ReadBuffer`] in the plan.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read<T: bytemuck::Pod>(
        &self,
        buffer: &Buffer,
        offset: u64,
        out: &mut [T],
    ) -> Result<(), Error> {
        let bytes = size_of_val(out) as u64;
        let staging = self.read_buffer("read-back", bytes)?;
        self.scoped("copying out of a buffer", bytes, || {
            let mut encoder = self
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(buffer.wgpu(), offset, staging.wgpu(), 0, bytes);
            self.hand_over(encoder.finish());
        })?;
        staging.read(self, 0, out)
    }

    /// The compiled form of `kernel`, from the cache if it was compiled before.
    ///
    /// # Safety
    ///
    /// The driver runs the kernel unchecked. It must not index outside of its bindings and arrays, and its loops must
    /// end, for whatever the plan binds to it.
    pub unsafe fn pipeline(&self, kernel: &Kernel) -> Result<Pipeline, Error> {
        let key = PipelineKey::of(kernel);
        if let Some(pipeline) = lock(&self.pipelines).get(&key) {
            return Ok(pipeline.clone());
        }
        self.tally.add(Count::Pipelines, 1);
        let pipeline = if self.subnormal_halves && halves::is_asked_for(kernel) {
            let mut kernel = kernel.clone();
            kernel.constants.push((halves::CONSTANT, 1.0));
            Pipeline::compile(self, &kernel)?
        } else {
            Pipeline::compile(self, kernel)?
        };
        lock(&self.pipelines).insert(key, pipeline.clone());
        Ok(pipeline)
    }

    /// Keeps what was compiled for the next time, in the folder that the device was requested with, if the backend
    /// can and there is something new.
    ///
    /// # Errors
    /// [`Error::PipelineCache`] if the file cannot be written. That is no reason to end.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save_pipelines(&self) -> Result<(), Error> {
        self.pipeline_cache
            .as_ref()
            .map_or(Ok(()), PipelineCache::save)
    }

    /// Whether compiled pipelines are kept on disk.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn keeps_pipelines(&self) -> bool {
        self.pipeline_cache.is_some()
    }

    /// Where to look for compiled pipelines first.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.pipeline_cache.as_ref().map(PipelineCache::wgpu)
    }

    /// The browser keeps them by itself.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        None
    }

    /// Waits until everything submitted is done.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self, doing: &str) -> Result<(), Error> {
        self.wait_for(None, doing)
    }

    /// Waits for one submission, or for all. A device that takes ten times as long as its slow kin is given up.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn wait_for(
        &self,
        submission: Option<wgpu::SubmissionIndex>,
        doing: &str,
    ) -> Result<(), Error> {
        self.tally.time(Phase::Wait, || {
            if submission.is_none() {
                self.wait_awake();
            }
            let pending = Duration::from_micros(self.pending_us.swap(0, Ordering::Relaxed));
            self.wait_at_most(Duration::from_secs(60) + 10 * pending, submission, doing)
        })
    }

    /// Waits for everything submitted, but not for long, and is awake at the end: to be woken takes a fifth of what a token
    /// of 3B takes on a large device, whose clock falls meanwhile. The last wait tells how long this one may sleep before. A
    /// device that computes on this processor is left to it.
    #[cfg(not(target_arch = "wasm32"))]
    fn wait_awake(&self) {
        if self.adapter.software {
            return;
        }
        let started = std::time::Instant::now();
        let last = Duration::from_micros(self.last_wait_us.load(Ordering::Relaxed));
        let sleep = last.saturating_sub(AWAKE);
        if !sleep.is_zero() {
            let _ = self.poll(wgpu::PollType::Wait {
                submission_index: None,
                timeout: Some(sleep),
            });
        }
        while started.elapsed() < sleep + 2 * AWAKE {
            match self.poll(wgpu::PollType::Poll) {
                Ok(status) if !status.is_queue_empty() => std::hint::spin_loop(),
                _ => break,
            }
        }
        let waited = started.elapsed().min(LONGEST_SLEEP).as_micros() as u64;
        self.last_wait_us.store(waited, Ordering::Relaxed);
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn wait_at_most(
        &self,
        timeout: Duration,
        submission_index: Option<wgpu::SubmissionIndex>,
        doing: &str,
    ) -> Result<(), Error> {
        let finished = self.poll(wgpu::PollType::Wait {
            submission_index,
            timeout: Some(timeout),
        });
        self.failures.check(doing, 0)?;
        match finished {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Timeout {
                doing: doing.to_owned(),
                seconds: timeout.as_secs_f64(),
            }),
        }
    }

    /// Gives the device up: whatever is asked of it from now on fails with [`Error::DeviceLost`].
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Lets wgpu notice what the device has done.
    fn poll(&self, poll: wgpu::PollType) -> Result<wgpu::PollStatus, wgpu::PollError> {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        // wgpu 30 panics where the device is lost in the middle of a wait; nothing of ours is left half done by that.
        catch_unwind(AssertUnwindSafe(|| self.device.poll(poll))).unwrap_or_else(|_| {
            self.failures
                .lose("the driver gave up while it was waited for".to_owned());
            Err(wgpu::PollError::Timeout)
        })
    }

    /// Runs `action`, which needs `bytes` of device memory, and turns what goes wrong in it into an error.
    pub(crate) fn scoped<T>(
        &self,
        doing: &str,
        bytes: u64,
        action: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        let (result, caught) = catch(&self.device, doing, bytes, action);
        // wgpu is silent about a lost device until it is polled.
        let _ = self.poll(wgpu::PollType::Poll);
        self.failures.check(doing, bytes)?;
        caught.map(|()| result)
    }

    /// Submits command buffers of about `work` and reports what the device has complained of since.
    pub(crate) fn submit(
        &self,
        commands: wgpu::CommandBuffer,
        work: Work,
        doing: &str,
    ) -> Result<wgpu::SubmissionIndex, Error> {
        let index = self.hand_over(commands);
        self.tally.add(Count::MovedBytes, work.bytes as u64);
        self.tally.add(Count::Flops, work.flops as u64);
        self.pending_us
            .fetch_add((self.rate.seconds(work) * 1e6) as u64, Ordering::Relaxed);
        self.failures.check(doing, 0)?;
        Ok(index)
    }

    fn hand_over(&self, commands: wgpu::CommandBuffer) -> wgpu::SubmissionIndex {
        self.tally.add(Count::Submissions, 1);
        self.tally
            .time(Phase::Submit, || self.queue.submit([commands]))
    }

    pub(crate) fn write_bytes(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.tally.add(Count::Writes, 1);
        self.tally.time(Phase::Write, || {
            self.scoped("writing into a buffer", bytes.len() as u64, || {
                self.queue.write_buffer(buffer, offset, bytes)
            })
        })
    }

    pub(crate) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Nanoseconds of a tick of the device's timestamps.
    pub(crate) fn timestamp_period_ns(&self) -> f32 {
        self.queue.get_timestamp_period()
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// The count of buffer bytes, to be kept by the buffers themselves.
    pub(crate) fn buffer_bytes(&self) -> &Arc<AtomicU64> {
        &self.buffer_bytes
    }
}

/// The features in wgpu's terms, and with timestamps those between dispatches where the adapter has them.
fn wanted_features(features: &[Feature], offered: wgpu::Features) -> wgpu::Features {
    let mut wanted = features
        .iter()
        .fold(wgpu::Features::empty(), |all, feature| all | feature.wgpu());
    if features.contains(&Feature::Timestamps) {
        wanted |= offered & wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES;
    }
    wanted
}

/// wgpu's leave to use cooperative matrices.
fn experimental(features: &[Feature]) -> wgpu::ExperimentalFeatures {
    if !features.contains(&Feature::Coop) {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: the feature's hazard are matrices loaded and stored out of bounds, which nothing checks. Kernels are
    // vouched for by the callers of `Context::pipeline`; one that uses matrices also proves itself on a small product.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{Binding, PlanBuilder, Workgroups};
    use thalweg_shaders::kernels::{Binding as BindingKind, Variant};

    #[test]
    fn a_device_that_does_not_answer_in_time_is_an_error() {
        let context = Context::of_any_kind().unwrap();
        let kernel = Kernel {
            name: "spin".to_owned(),
            variant: Variant::PLAIN,
            wgsl: "@group(0) @binding(0) var<storage, read_write> sum: array<f32>;
                @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
                    var x = sum[id.x];
                    for (var i = 0u; i < 1000000u; i++) { x = x * 0.5 + f32(i); }
                    sum[id.x] = x;
                }"
            .to_owned(),
            constants: Vec::new(),
            bindings: &[BindingKind::ReadWrite],
            workgroup_size: [64, 1, 1],
            workgroup_bytes: 0,
        };
        // SAFETY: 64 workgroups of 64 index 4,096 elements, and the loop is bounded.
        let pipeline = unsafe { context.pipeline(&kernel) }.unwrap();
        let sum = context.buffer("sum", 4096 * 4).unwrap();
        let mut plan = PlanBuilder::new(&context, "spinning");
        let grid = Workgroups::Linear(64);
        plan.dispatch(&pipeline, &[Binding::Buffer(&sum)], grid, Work::default())
            .unwrap();
        plan.build().unwrap().run(&context).unwrap();

        let waited = context.wait_at_most(Duration::from_micros(1), None, "spinning");
        assert_eq!(
            waited,
            Err(Error::Timeout {
                doing: "spinning".to_owned(),
                seconds: 1e-6
            })
        );
        context.wait("spinning").unwrap();
    }

    #[test]
    fn a_failure_outside_of_any_scope_is_kept_until_asked_for() {
        let context = Context::of_any_kind().unwrap();
        let nonsense = wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::empty(),
            mapped_at_creation: false,
        };
        let _ = context.device.create_buffer(&nonsense);
        let failure = context.failures.check("testing", 0);
        assert!(
            matches!(failure, Err(Error::Validation { .. })),
            "{failure:?}"
        );
        assert_eq!(context.failures.check("testing", 0), Ok(()));
    }
}
