//! From the flags to the slots of a batch, and to an engine that divides them among requests.

use std::sync::Arc;

use thalweg_engine::{ChunkSize, Engine, EngineOptions, EngineThread, PrefixCache};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{Batch, CpuBatch, CpuModel, GpuBatch};
use thalweg_tokenizer::Tokenizer;

use super::{Compute, Kernels, Loaded};
use crate::failure::Failure;
use crate::flags::{ModelFlags, Precision};
use crate::prompt_cache::Warnings;

/// How many slots a batch has, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slots {
    /// One for each of so many sequences.
    Sequences(usize),
    /// So many for a single sequence and the states that it may go back to.
    Alone(usize),
}

/// A model ready to read several sequences at once.
pub(crate) struct BatchModel {
    pub(super) slots: AnyBatch,
    /// Most tokens of prompts to read at once, if that was asked for.
    pub(super) chunk_size: Option<ChunkSize>,
    /// What computes, for summaries.
    pub(crate) device: String,
    /// What the last bits of a result depend on, besides the model.
    pub(crate) arithmetic: String,
    /// Keeps what was compiled for the batch, once that is done with.
    pub(super) kernels: Option<Kernels>,
}

pub(super) enum AnyBatch {
    Cpu(CpuBatch),
    Gpu(Box<GpuBatch>),
}

/// An engine on a thread of its own, whatever computes.
pub(crate) struct BatchEngine {
    pub(crate) thread: EngineThread,
    _warnings: Warnings,
    _kernels: Option<Kernels>,
}

impl ModelFlags {
    /// Prepares whatever computes to run sequences of the model in `file`; `default` is the arithmetic if none is asked for.
    pub(crate) fn start_batch(
        &self,
        file: GgufFile,
        slots: Slots,
        default: Precision,
    ) -> Result<BatchModel, Failure> {
        let compute = self.compute.open(default, self.activations)?;
        let block_size = compute.block_sizes(self.block_size.as_slice()).first();
        compute.start_batch(file, slots, self.chunk_size, block_size.copied())
    }
}

impl Compute<'_> {
    /// Loads the model in `file` and makes the slots. Sizes that are not given are what suits the device.
    pub(crate) fn start_batch(
        &self,
        file: GgufFile,
        slots: Slots,
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
        slots: Slots,
        chunk_size: Option<ChunkSize>,
    ) -> BatchModel {
        BatchModel {
            slots: AnyBatch::Cpu(CpuBatch::new(model, slots.count())),
            chunk_size,
            device: self.device().summary(),
            arithmetic: "cpu".to_owned(),
            kernels: None,
        }
    }

    pub(super) fn batch_of(
        &self,
        loaded: Loaded,
        slots: Slots,
        chunk_size: Option<ChunkSize>,
        kernels: Option<Kernels>,
    ) -> Result<BatchModel, Failure> {
        let device = self.device().summary();
        let batch = GpuBatch::new(Arc::new(loaded.model), slots.count());
        let batch = batch.map_err(|error| slots.explain(error))?;
        Ok(BatchModel {
            slots: AnyBatch::Gpu(Box::new(batch)),
            chunk_size,
            arithmetic: match slots {
                Slots::Sequences(_) => format!("{device}, in batches"),
                Slots::Alone(_) => device.clone(),
            },
            device,
            kernels,
        })
    }
}

impl Slots {
    fn count(self) -> usize {
        match self {
            Slots::Sequences(count) | Slots::Alone(count) => count,
        }
    }

    /// The failure of a device that does not hold them.
    fn explain(self, error: thalweg_rwkv::Error) -> Failure {
        match (self, Failure::from(error)) {
            (Slots::Sequences(_), Failure::Device(message)) => {
                Failure::Device(format!("{message}; --parallel says how many sequences"))
            }
            (_, other) => other,
        }
    }
}

impl BatchModel {
    pub(crate) fn batch(&self) -> &dyn Batch {
        match &self.slots {
            AnyBatch::Cpu(batch) => batch,
            AnyBatch::Gpu(batch) => batch.as_ref(),
        }
    }

    pub(crate) fn batch_mut(&mut self) -> &mut dyn Batch {
        match &mut self.slots {
            AnyBatch::Cpu(batch) => batch,
            AnyBatch::Gpu(batch) => batch.as_mut(),
        }
    }

    /// The slots on the device, if one computes.
    pub(crate) fn gpu_mut(&mut self) -> Option<&mut GpuBatch> {
        match &mut self.slots {
            AnyBatch::Cpu(_) => None,
            AnyBatch::Gpu(batch) => Some(batch),
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
        let warnings = Warnings::of(cache.as_ref());
        let thread = match self.slots {
            AnyBatch::Cpu(batch) => engine(batch, tokenizer, cache, options)?.spawn()?,
            AnyBatch::Gpu(batch) => engine(*batch, tokenizer, cache, options)?.spawn()?,
        };
        Ok(BatchEngine {
            thread,
            _warnings: warnings,
            _kernels: self.kernels,
        })
    }
}

/// An engine with a cache or without.
pub(super) fn engine<B: Batch>(
    batch: B,
    tokenizer: Arc<Tokenizer>,
    cache: Option<PrefixCache>,
    options: EngineOptions,
) -> Result<Engine<B>, Failure> {
    let engine = Engine::new(batch, tokenizer, options)?;
    Ok(match cache {
        Some(cache) => engine.with_cache(cache),
        None => engine,
    })
}
