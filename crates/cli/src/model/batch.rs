//! From the flags to several sequences at once, and to an engine that divides them among requests.

use std::sync::Arc;

use thalweg_engine::{ChunkSize, Engine, EngineOptions, EngineThread, PrefixCache};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{Batch, CpuBatch, CpuModel, GpuBatch};
use thalweg_tokenizer::Tokenizer;

use super::{Compute, Kernels, Loaded};
use crate::failure::Failure;
use crate::flags::{ModelFlags, Precision};

/// A model ready to read several sequences at once.
pub(crate) struct BatchModel {
    slots: Slots,
    /// Most tokens of prompts to read at once, if that was asked for.
    chunk_size: Option<ChunkSize>,
    /// What computes, for summaries.
    pub(crate) device: String,
    /// What the last bits of a result depend on, besides the model.
    pub(crate) arithmetic: String,
    /// Keeps what was compiled for the batch, once that is done with.
    kernels: Option<Kernels>,
}

enum Slots {
    Cpu(CpuBatch),
    Gpu(Box<GpuBatch>),
}

/// An engine on a thread of its own, whatever computes.
pub(crate) struct BatchEngine {
    pub(crate) thread: EngineThread,
    _kernels: Option<Kernels>,
}

impl ModelFlags {
    /// Prepares whatever computes to run so many sequences of the model in `file`; `default` is the arithmetic if none is
    /// asked for.
    pub(crate) fn start_batch(
        &self,
        file: GgufFile,
        slots: usize,
        default: Precision,
    ) -> Result<BatchModel, Failure> {
        let compute = self.compute.open(default, self.activations)?;
        let block_size = compute.block_sizes(self.block_size.as_slice()).first();
        compute.start_batch(file, slots, self.chunk_size, block_size.copied())
    }
}

impl Compute<'_> {
    /// Loads the model in `file` and begins so many sequences. Sizes that are not given are what suits the device.
    pub(crate) fn start_batch(
        &self,
        file: GgufFile,
        slots: usize,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<BatchModel, Failure> {
        let model = self.load_checked(file)?;
        let Some(context) = &self.context else {
            return Ok(self.batch_on_cpu(Arc::new(model), slots, chunk_size));
        };
        let loaded = self.load_on(context, model.file(), chunk_size, block_size)?;
        self.batch_of(loaded, slots, chunk_size, self.kernels())
    }

    pub(super) fn batch_on_cpu(
        &self,
        model: Arc<CpuModel>,
        slots: usize,
        chunk_size: Option<ChunkSize>,
    ) -> BatchModel {
        BatchModel {
            slots: Slots::Cpu(CpuBatch::new(model, slots)),
            chunk_size,
            device: self.device().summary(),
            arithmetic: "cpu".to_owned(),
            kernels: None,
        }
    }

    pub(super) fn batch_of(
        &self,
        loaded: Loaded,
        slots: usize,
        chunk_size: Option<ChunkSize>,
        kernels: Option<Kernels>,
    ) -> Result<BatchModel, Failure> {
        let device = self.device().summary();
        let batch = GpuBatch::new(Arc::new(loaded.model), slots).map_err(ask_for_fewer)?;
        Ok(BatchModel {
            slots: Slots::Gpu(Box::new(batch)),
            chunk_size,
            arithmetic: format!("{device}, in batches"),
            device,
            kernels,
        })
    }
}

fn ask_for_fewer(error: thalweg_rwkv::Error) -> Failure {
    match Failure::from(error) {
        Failure::Device(message) => {
            Failure::Device(format!("{message}; --parallel says how many sequences"))
        }
        other => other,
    }
}

impl BatchModel {
    pub(crate) fn batch(&self) -> &dyn Batch {
        match &self.slots {
            Slots::Cpu(batch) => batch,
            Slots::Gpu(batch) => batch.as_ref(),
        }
    }

    pub(crate) fn batch_mut(&mut self) -> &mut dyn Batch {
        match &mut self.slots {
            Slots::Cpu(batch) => batch,
            Slots::Gpu(batch) => batch.as_mut(),
        }
    }

    /// An engine that works on a request in each slot.
    pub(crate) fn into_engine(
        self,
        tokenizer: Arc<Tokenizer>,
        cache: Option<PrefixCache>,
        mut options: EngineOptions,
    ) -> Result<BatchEngine, Failure> {
        let (slots, largest_step) = (self.batch().slots(), self.batch().largest_step());
        options.step_tokens = self
            .chunk_size
            .map(|size| size.tokens().max(slots).min(largest_step));
        let thread = match self.slots {
            Slots::Cpu(batch) => spawn(batch, tokenizer, cache, options)?,
            Slots::Gpu(batch) => spawn(*batch, tokenizer, cache, options)?,
        };
        Ok(BatchEngine {
            thread,
            _kernels: self.kernels,
        })
    }
}

fn spawn(
    batch: impl Batch + Send + 'static,
    tokenizer: Arc<Tokenizer>,
    cache: Option<PrefixCache>,
    options: EngineOptions,
) -> Result<EngineThread, Failure> {
    let mut engine = Engine::new(batch, tokenizer, options)?;
    if let Some(cache) = cache {
        engine = engine.with_cache(cache);
    }
    Ok(engine.spawn()?)
}
