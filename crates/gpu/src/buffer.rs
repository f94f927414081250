//! Device memory: buffers that kernels use, and buffers that bring results back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(target_arch = "wasm32"))]
use crate::tally::{Count, Phase};
use crate::{Context, Error};

/// How long another thread may take from noticing that a buffer is mapped to saying so.
#[cfg(not(target_arch = "wasm32"))]
const CALLBACK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// A buffer that kernels read and write; clones share it. It starts out zero.
#[derive(Debug, Clone)]
pub struct Buffer(Arc<Allocation>);

impl Buffer {
    /// Its length in bytes, a multiple of four.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    pub(crate) fn new(context: &Context, label: &str, bytes: u64) -> Result<Buffer, Error> {
        use wgpu::BufferUsages as Usage;
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        Ok(Buffer(Arc::new(Allocation::new(
            context, label, bytes, usage,
        )?)))
    }

    pub(crate) fn wgpu(&self) -> &wgpu::Buffer {
        &self.0.buffer
    }
}

/// A buffer that a [`Plan`](crate::Plan) copies results into and the host reads; clones share it.
#[derive(Debug, Clone)]
pub struct ReadBuffer(Arc<Allocation>);

impl ReadBuffer {
    /// Its length in bytes, a multiple of four.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// Waits for what was submitted and copies `out.len()` values from byte `offset` on into `out`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read<T: bytemuck::Pod>(
        &self,
        context: &Context,
        offset: u64,
        out: &mut [T],
    ) -> Result<(), Error> {
        let doing = "reading results back";
        let out: &mut [u8] = bytemuck::cast_slice_mut(out);
        let Some(range) = range_within(offset, out.len(), self.bytes()) else {
            let message = format!(
                "{} bytes at {offset} lie outside of {} bytes",
                out.len(),
                self.bytes()
            );
            return Err(Error::Validation {
                doing: doing.to_owned(),
                message,
            });
        };
        let invalid = |error: &dyn ToString| Error::Validation {
            doing: doing.to_owned(),
            message: error.to_string(),
        };
        let (sender, mapped) = std::sync::mpsc::channel();
        let view = self.wgpu().slice(..);
        let tally = context.tally();
        tally.add(Count::Maps, 1);
        let asked = || {
            view.map_async(wgpu::MapMode::Read, move |result| {
                // The receiver is gone only if the wait below has failed, which is reported instead.
                let _ = sender.send(result);
            });
        };
        tally.time(Phase::ReadBack, || context.scoped(doing, 0, asked))?;
        let waited = context.wait(doing);
        let copied = || {
            // Another thread's wait may have taken the callback along, and be about to call it.
            mapped
                .recv_timeout(CALLBACK_TIMEOUT)
                .map_err(|error| invalid(&error))?
                .map_err(|error| invalid(&error))?;
            let bytes = view.get_mapped_range().map_err(|error| invalid(&error))?;
            out.copy_from_slice(&bytes[range]);
            Ok(())
        };
        let result = waited.and_then(|()| tally.time(Phase::ReadBack, copied));
        self.wgpu().unmap();
        result
    }

    pub(crate) fn new(context: &Context, label: &str, bytes: u64) -> Result<ReadBuffer, Error> {
        use wgpu::BufferUsages as Usage;
        Ok(ReadBuffer(Arc::new(Allocation::new(
            context,
            label,
            bytes,
            Usage::MAP_READ | Usage::COPY_DST,
        )?)))
    }

    pub(crate) fn wgpu(&self) -> &wgpu::Buffer {
        &self.0.buffer
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn range_within(offset: u64, length: usize, bytes: u64) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(length)?;
    (end as u64 <= bytes).then_some(start..end)
}

/// Device memory that is counted as long as it lives.
#[derive(Debug)]
pub(crate) struct Allocation {
    buffer: wgpu::Buffer,
    bytes: u64,
    count: Arc<AtomicU64>,
}

impl Allocation {
    pub(crate) fn wgpu(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    pub(crate) fn new(
        context: &Context,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Allocation, Error> {
        let (limits, adapter) = (context.limits(), context.adapter());
        // Copies and storage arrays work in words of four bytes, and an empty buffer cannot be bound.
        let rounded = bytes.max(4).checked_next_multiple_of(4);
        let Some(bytes) = rounded.filter(|rounded| *rounded <= limits.buffer_bytes) else {
            return Err(Error::Limit {
                what: label.to_owned(),
                limit: "bytes per buffer",
                needed: bytes,
                offered: limits.buffer_bytes,
                adapter: adapter.name.clone(),
            });
        };
        let descriptor = wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage,
            mapped_at_creation: false,
        };
        let buffer = context.scoped(&format!("allocating {label}"), bytes, || {
            context.device().create_buffer(&descriptor)
        })?;
        let count = Arc::clone(context.buffer_bytes());
        count.fetch_add(bytes, Ordering::Relaxed);
        Ok(Allocation {
            buffer,
            bytes,
            count,
        })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.count.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
