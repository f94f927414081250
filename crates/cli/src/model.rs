//! From the flags to a session that can be run.

mod batch;
mod limits;
mod operations;
mod shared;
mod writer;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thalweg_bench::Device;
use thalweg_engine::ChunkSize;
use thalweg_gguf::GgufFile;
use thalweg_gpu::{Adapter, AdapterKind, Context, Feature};
use thalweg_rwkv::selftest::{self, Finding};
use thalweg_rwkv::{
    CpuModel, CpuSession, GpuModel, GpuOptions, GpuSession, Hyperparameters, Progress, Session,
    Tuning, TuningKey,
};

use crate::failure::Failure;
use crate::flags::{Activations, ComputeFlags, ModelFlags, ModelPath, Precision};
use crate::output::BytesProgress;
use crate::{cache, demo, interrupt, output, tuned};
pub(crate) use batch::{BatchEngine, BatchModel, Slots};
pub(crate) use shared::SharedModel;
pub(crate) use writer::{Writer, Writing};

/// What the bar says while a model is uploaded.
const LOADING: &str = "loading the model";
const LOADING_DRAFT: &str = "loading the draft model";

/// A model ready to read its first token.
pub(crate) struct Model {
    pub(crate) session: Box<dyn Session>,
    pub(crate) chunk_size: ChunkSize,
    /// Threads a side of the matmul's workgroup, on a GPU.
    pub(crate) block_size: Option<u32>,
    /// What computes, for summaries.
    pub(crate) device: String,
    /// Keeps what was compiled for the session, once that is done with.
    _kernels: Option<Kernels>,
}

/// A model on a device.
struct Loaded {
    model: GpuModel,
    tuning: Tuning,
    is_tuned: bool,
}

/// The compiled kernels of a device, kept on disk at the end of their use.
pub(crate) struct Kernels(Arc<Context>);

impl Drop for Kernels {
    fn drop(&mut self) {
        if let Err(error) = self.0.save_pipelines() {
            output::note(format_args!(
                "{error}; THALWEG_CACHE_DIR names another folder, --no-cache does without"
            ));
        }
    }
}

/// What computes: the CPU's threads or an open device.
pub(crate) struct Compute<'f> {
    flags: &'f ComputeFlags,
    /// What matrices meet.
    activations: Activations,
    /// The arithmetic if none is asked for.
    default_precision: Precision,
    context: Option<Arc<Context>>,
}

impl ModelPath {
    pub(crate) fn open(&self) -> Result<GgufFile, Failure> {
        open(self.model.as_deref())
    }
}

/// Opens a model file; the demo model if none is named.
pub(crate) fn open(path: Option<&Path>) -> Result<GgufFile, Failure> {
    path.map_or_else(demo::open, |path| Ok(GgufFile::open(path)?))
}

impl ModelFlags {
    /// Opens the model file.
    pub(crate) fn open(&self) -> Result<GgufFile, Failure> {
        self.path.open()
    }

    /// Prepares whatever computes to run the model in `file`; `default` is the arithmetic if none is asked for.
    pub(crate) fn start(&self, file: GgufFile, default: Precision) -> Result<Model, Failure> {
        let compute = self.compute.open(default, self.activations)?;
        let block_size = compute.block_sizes(self.block_size.as_slice()).first();
        compute.start(file, self.chunk_size, block_size.copied())
    }
}

impl ComputeFlags {
    /// Opens the device and starts the CPU's threads, which prepare weights for a device too.
    pub(crate) fn open(
        &self,
        default_precision: Precision,
        activations: Activations,
    ) -> Result<Compute<'_>, Failure> {
        self.start_threads()?;
        let context = match self.device.open(self.cache_folder(), &[])? {
            Some(context) => self.with_proven_features(context, default_precision, activations)?,
            None => None,
        };
        let context = context.map(Arc::new);
        if context.is_none() && activations == Activations::Q8 {
            return Err(Failure::Usage(
                "--activations q8 is for GPUs, but the CPU computes; leave it out, or name another --backend"
                    .to_owned(),
            ));
        }
        let compute = Compute {
            flags: self,
            activations,
            default_precision,
            context,
        };
        if self.precision == Some(Precision::Fast) && compute.precision() == Precision::Exact {
            output::note("--precision fast is for GPUs with 16-bit floats: this runs exactly");
        }
        Ok(compute)
    }

    /// The device, opened anew without the features that fail on a small product if there are any.
    fn with_proven_features(
        &self,
        context: Context,
        default_precision: Precision,
        activations: Activations,
    ) -> Result<Option<Context>, Failure> {
        let precision = self.precision.unwrap_or(default_precision);
        let findings = selftest::check(&context, precision.into(), activations.into())?;
        if findings.is_empty() {
            return Ok(Some(context));
        }
        for Finding { feature, fault } in &findings {
            output::note(format_args!(
                "warning: {feature} on {}: {fault}; this goes on without, as with --features-off {feature}",
                context.adapter().name
            ));
        }
        let failed: Vec<Feature> = findings.iter().map(|finding| finding.feature).collect();
        self.device.open(self.cache_folder(), &failed)
    }

    /// Where results that can be worked out again are kept.
    fn cache_folder(&self) -> Option<PathBuf> {
        cache::folder().filter(|_| !self.no_cache)
    }

    fn start_threads(&self) -> Result<(), Failure> {
        let threads = self.threads.map_or(0, usize::from); // 0 lets rayon count the cores
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| {
                Failure::Device(format!(
                    "cannot start {threads} threads: {error}; ask for fewer with --threads"
                ))
            })
    }
}

impl<'f> Compute<'f> {
    /// The same with other activations.
    pub(crate) fn with_activations(&self, activations: Activations) -> Compute<'f> {
        Compute {
            activations,
            context: self.context.clone(),
            ..*self
        }
    }

    /// Those of the block sizes asked for that matter: on the CPU none, which is said.
    pub(crate) fn block_sizes<'s>(&self, asked_for: &'s [u32]) -> &'s [u32] {
        match (&self.context, asked_for) {
            (None, [first, ..]) => {
                output::note(format_args!(
                    "--block-size {first} is for GPUs: the CPU does without"
                ));
                &[]
            }
            _ => asked_for,
        }
    }

    /// Loads the model in `file` and begins a sequence. Sizes that are not given are what suits the device.
    pub(crate) fn start(
        &self,
        file: GgufFile,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<Model, Failure> {
        let model = self.load_checked(file)?;
        match &self.context {
            None => Ok(self.on_cpu(Arc::new(model), chunk_size)),
            Some(context) => self.on_gpu(context, model.file(), chunk_size, block_size),
        }
    }

    /// The model in `file`, whose weights stay in the file.
    fn load_checked(&self, file: GgufFile) -> Result<CpuModel, Failure> {
        let model = CpuModel::load(file)?;
        if self.flags.check_tensors {
            model.check_tensors()?;
        }
        Ok(model)
    }

    fn on_cpu(&self, model: Arc<CpuModel>, chunk_size: Option<ChunkSize>) -> Model {
        Model {
            session: Box::new(CpuSession::new(model)),
            chunk_size: chunk_size.unwrap_or_default(),
            block_size: None,
            device: self.device().summary(),
            _kernels: None,
        }
    }

    fn on_gpu(
        &self,
        context: &Arc<Context>,
        file: &GgufFile,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<Model, Failure> {
        let loaded = self.load_on(context, file, LOADING, chunk_size, block_size)?;
        self.session_of(loaded, self.kernels())
    }

    fn session_of(&self, loaded: Loaded, kernels: Option<Kernels>) -> Result<Model, Failure> {
        Ok(Model {
            session: Box::new(GpuSession::new(Arc::new(loaded.model))?),
            chunk_size: ChunkSize::new(loaded.tuning.chunk as usize)?,
            block_size: Some(loaded.tuning.block_size),
            device: self.device().summary(),
            _kernels: kernels,
        })
    }

    /// Loads the model in `file` onto the device, with its work divided as was found out or asked for. A bar says that this
    /// is `doing`.
    fn load_on(
        &self,
        context: &Arc<Context>,
        file: &GgufFile,
        doing: &'static str,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<Loaded, Failure> {
        let (tuning, is_tuned) = self.tuning(context, file, chunk_size, block_size)?;
        Ok(Loaded {
            model: load(context, file, doing, self.options(tuning))?,
            tuning,
            is_tuned,
        })
    }

    /// How the work is divided, and whether that was found out: what was asked for goes before what was found out, and
    /// that before what suits such a device.
    fn tuning(
        &self,
        context: &Context,
        file: &GgufFile,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<(Tuning, bool), Failure> {
        let found = self.found_tuning(context, file)?;
        let mut tuning = match found {
            Some(tuning) => tuning,
            None => self.suitable_tuning(context, file)?,
        };
        if let Some(chunk_size) = chunk_size {
            tuning.chunk = chunk_size.tokens() as u32;
        }
        tuning.block_size = block_size.unwrap_or(tuning.block_size);
        Ok((tuning, found.is_some()))
    }

    /// Loads the model in `file` onto the device with its work divided as it is before anything is found out.
    pub(crate) fn load_untuned(&self, file: &GgufFile) -> Result<GpuModel, Failure> {
        let Some(context) = &self.context else {
            return Err(Failure::Device(
                "the CPU computes, for which there is nothing to tune; name a GPU of `thalweg devices` with --backend \
                 and --device"
                    .to_owned(),
            ));
        };
        let tuning = self.suitable_tuning(context, file)?;
        load(context, file, LOADING, self.options(tuning))
    }

    /// What suits such a device: the largest chunk that still brings a gain, as far as it fits.
    fn suitable_tuning(&self, context: &Context, file: &GgufFile) -> Result<Tuning, Failure> {
        let tokens = match context.adapter() {
            Adapter { software: true, .. } => 64,
            Adapter {
                kind: AdapterKind::Discrete,
                ..
            } => 512,
            _ => 256,
        };
        let hp = Hyperparameters::from_gguf(file)?;
        let largest = GpuModel::largest_chunk(&hp, context.limits());
        Ok(Tuning {
            chunk: tokens.min(largest) as u32,
            ..Tuning::suiting(&hp, self.activations.into())
        })
    }

    fn options(&self, tuning: Tuning) -> GpuOptions {
        GpuOptions {
            tuning,
            precision: self.precision().into(),
            activations: self.activations.into(),
        }
    }

    /// Keeps the kernels that are compiled until it is dropped.
    pub(crate) fn kernels(&self) -> Option<Kernels> {
        self.context.clone().map(Kernels)
    }

    /// Where the tuning for the model in `file` is kept, and what it depends on; none on the CPU or without a folder.
    pub(crate) fn place_of_tuning(
        &self,
        file: &GgufFile,
    ) -> Result<Option<(PathBuf, TuningKey)>, Failure> {
        let Some((context, folder)) = self.context.as_ref().zip(self.flags.cache_folder()) else {
            return Ok(None);
        };
        let activations = self.activations.into();
        let key = TuningKey::new(context, file, self.precision().into(), activations)?;
        Ok(Some((tuned::path(&folder, &key), key)))
    }

    /// What `thalweg tune` has found out for the model in `file`, if that is to be used. A file that is no good is said to
    /// be ignored.
    fn found_tuning(&self, context: &Context, file: &GgufFile) -> Result<Option<Tuning>, Failure> {
        let Some((path, key)) = self.place_of_tuning(file)? else {
            return Ok(None);
        };
        if self.flags.no_tuned {
            return Ok(None);
        }
        let hp = Hyperparameters::from_gguf(file)?;
        let is_possible = |tuning: &Tuning| {
            ChunkSize::new(tuning.chunk as usize).map_err(|error| error.to_string())?;
            let checked = tuning.check(&hp, context.adapter());
            checked.map_err(|error| error.to_string())
        };
        let found = tuned::load(&path, &key).and_then(|found| {
            found.as_ref().map_or(Ok(()), is_possible)?;
            Ok(found)
        });
        Ok(found.unwrap_or_else(|fault| {
            output::note(format_args!(
                "warning: {} is ignored: {fault}; make it anew with `thalweg tune`, or delete it",
                path.display()
            ));
            None
        }))
    }

    /// Whether a GPU computes, rather than this processor.
    pub(crate) fn is_gpu(&self) -> bool {
        let context = self.context.as_ref();
        context.is_some_and(|context| !context.adapter().software)
    }

    /// Bytes in use on the device, where there is one.
    pub(crate) fn device_bytes(&self) -> Option<u64> {
        let memory = self.context.as_ref()?.memory();
        Some(
            memory
                .allocator
                .map_or(memory.buffer_bytes, |allocator| allocator.allocated),
        )
    }

    /// The arithmetic that is used: exact where there are no 16-bit floats and, unless told, where there are no matrix
    /// units to be fast on.
    pub(crate) fn precision(&self) -> Precision {
        let has = |feature| {
            self.context
                .as_ref()
                .is_some_and(|context| context.has(feature))
        };
        match self.flags.precision {
            None if has(Feature::Coop) => self.default_precision,
            Some(precision) if has(Feature::F16) => precision,
            _ => Precision::Exact,
        }
    }

    /// The features of the device in use, as `thalweg devices` names them.
    pub(crate) fn features(&self) -> Vec<String> {
        let features = self.context.as_ref().map(|context| context.features());
        let names = features
            .unwrap_or_default()
            .iter()
            .map(|feature| feature.name());
        names.map(str::to_owned).collect()
    }

    /// What computes, for reports.
    pub(crate) fn device(&self) -> Device {
        let precision = self.precision().name();
        let precision = match self.activations {
            Activations::F32 => precision.to_owned(),
            Activations::Q8 => format!("{precision}, activations q8"),
        };
        match self.context.as_ref().map(|context| context.adapter()) {
            None => Device {
                backend: "cpu".to_owned(),
                name: format!("{} threads", rayon::current_num_threads()),
                driver: String::new(),
                features: Vec::new(),
                precision,
            },
            Some(adapter) => Device {
                backend: adapter.backend.to_string(),
                name: adapter.name.clone(),
                driver: adapter.driver_and_version(),
                features: self.features(),
                precision,
            },
        }
    }
}

/// Uploads the model, with a progress bar. Ctrl-C ends it between two pieces of the file.
fn load(
    context: &Arc<Context>,
    file: &GgufFile,
    doing: &'static str,
    options: GpuOptions,
) -> Result<GpuModel, Failure> {
    let bar = BytesProgress::new(doing);
    interrupt::watch_during(|interrupt| {
        let mut on_progress = |progress: Progress| {
            bar.set(progress.done_bytes, progress.total_bytes);
            match interrupt.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let context = Arc::clone(context);
        Ok(GpuModel::load_with_progress(
            context,
            file,
            options,
            &mut on_progress,
        )?)
    })
}
