//! From the flags to the slots of a batch, and to an engine that divides them among requests.

use std::sync::Arc;

use thalweg_engine::{ChunkSize, Engine, EngineOptions, EngineThread, PrefixCache, Speculation};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{Batch, CpuBatch, CpuModel, GpuBatch};
use thalweg_tokenizer::Tokenizer;

use super::{Compute, Kernels, LOADING, LOADING_DRAFT, Loaded};
use crate::failure::Failure;
use crate::flags::{ModelFlags, Precision};
use crate::prompt_cache::Warnings;
use crate::speculation::{DraftFile, Guessing};

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
    pub(super) slots: AnySlots,
    /// Where guesses at the next tokens come from.
    pub(super) speculation: Speculation,
    /// Most tokens of prompts to read at once, if that was asked for.
    pub(super) chunk_size: Option<ChunkSize>,
    /// What computes, for summaries.
    pub(crate) device: String,
    /// What the last bits of a result depend on, besides the model.
    pub(crate) arithmetic: String,
    /// Keeps what was compiled for the batch, once that is done with.
    pub(super) kernels: Option<Kernels>,
}

pub(super) enum AnySlots {
    Cpu(WithDraft<CpuBatch>),
    Gpu(Box<WithDraft<GpuBatch>>),
}

/// A batch, and perhaps one of a small model that guesses for it, with its tokenizer.
pub(super) struct WithDraft<B> {
    batch: B,
    draft: Option<(B, Tokenizer)>,
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
        guessing: Guessing,
        slots: Slots,
        default: Precision,
    ) -> Result<BatchModel, Failure> {
        let compute = self.compute.open(default, self.activations)?;
        let block_size = compute.block_sizes(self.block_size.as_slice()).first();
        compute.start_batch(file, guessing, slots, self.chunk_size, block_size.copied())
    }
}

impl Compute<'_> {
    /// Loads the model in `file`, a draft model if there is one, and makes the slots. Sizes that are not given are what suits
    /// the device.
    pub(crate) fn start_batch(
        &self,
        file: GgufFile,
        guessing: Guessing,
        slots: Slots,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<BatchModel, Failure> {
        let Guessing { source, draft } = guessing;
        let Some(context) = &self.context else {
            let batch = self.cpu_slots(file, slots)?;
            let draft = load_draft(draft, |file| self.cpu_slots(file, slots.for_draft()))?;
            let made = AnySlots::Cpu(WithDraft { batch, draft });
            return Ok(BatchModel {
                chunk_size,
                ..self.batch_of(made, slots, source)
            });
        };
        let load = |file, doing, slots| {
            let model = self.load_checked(file)?;
            let loaded = self.load_on(context, model.file(), doing, chunk_size, block_size)?;
            gpu_slots(loaded, slots)
        };
        let batch = load(file, LOADING, slots)?;
        let draft = load_draft(draft, |file| load(file, LOADING_DRAFT, slots.for_draft()))?;
        let made = AnySlots::Gpu(Box::new(WithDraft { batch, draft }));
        Ok(BatchModel {
            chunk_size,
            kernels: self.kernels(),
            ..self.batch_of(made, slots, source)
        })
    }

    /// The slots of a model that others use as well, who keep its kernels.
    pub(super) fn batch_of(
        &self,
        made: AnySlots,
        slots: Slots,
        speculation: Speculation,
    ) -> BatchModel {
        let device = self.device().summary();
        BatchModel {
            arithmetic: match &made {
                AnySlots::Cpu(_) => "cpu".to_owned(),
                AnySlots::Gpu(_) => arithmetic(&device, slots, speculation),
            },
            slots: made,
            speculation,
            chunk_size: None,
            device,
            kernels: None,
        }
    }

    fn cpu_slots(&self, file: GgufFile, slots: Slots) -> Result<CpuBatch, Failure> {
        let model = Arc::new(self.load_checked(file)?);
        Ok(CpuBatch::new(model, slots.count()))
    }
}

/// The slots of a model on a device.
fn gpu_slots(loaded: Loaded, slots: Slots) -> Result<GpuBatch, Failure> {
    let batch = GpuBatch::new(Arc::new(loaded.model), slots.count());
    batch.map_err(|error| slots.explain(error))
}

impl AnySlots {
    /// Those of a model on the CPU.
    pub(super) fn on_cpu(model: Arc<CpuModel>, slots: Slots) -> Self {
        let batch = CpuBatch::new(model, slots.count());
        Self::Cpu(WithDraft { batch, draft: None })
    }

    /// Those of a model on a device.
    pub(super) fn on_device(loaded: Loaded, slots: Slots) -> Result<Self, Failure> {
        let batch = gpu_slots(loaded, slots)?;
        Ok(Self::Gpu(Box::new(WithDraft { batch, draft: None })))
    }
}

/// A draft model's slots, as `load` makes them of its file.
fn load_draft<B>(
    draft: Option<DraftFile>,
    load: impl FnOnce(GgufFile) -> Result<B, Failure>,
) -> Result<Option<(B, Tokenizer)>, Failure> {
    let loaded = draft.map(|draft| Ok((load(draft.file)?, draft.tokenizer)));
    loaded.transpose()
}

/// What the last bits depend on: the plans that a device computes by.
fn arithmetic(device: &str, slots: Slots, speculation: Speculation) -> String {
    let plans = match slots {
        Slots::Sequences(_) => ", in batches",
        Slots::Alone(_) => "",
    };
    let guesses = match speculation {
        Speculation::Off => "",
        _ => ", with guesses",
    };
    format!("{device}{plans}{guesses}")
}

impl Slots {
    fn count(self) -> usize {
        match self {
            Slots::Sequences(count) | Slots::Alone(count) => count,
        }
    }

    /// What a draft model needs for these: two slots for each sequence.
    fn for_draft(self) -> Self {
        match self {
            Slots::Sequences(count) => Slots::Sequences(2 * count),
            Slots::Alone(_) => Slots::Alone(2),
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
            AnySlots::Cpu(slots) => &slots.batch,
            AnySlots::Gpu(slots) => &slots.batch,
        }
    }

    pub(crate) fn batch_mut(&mut self) -> &mut dyn Batch {
        match &mut self.slots {
            AnySlots::Cpu(slots) => &mut slots.batch,
            AnySlots::Gpu(slots) => &mut slots.batch,
        }
    }

    /// The slots on the device, if one computes.
    pub(crate) fn gpu_mut(&mut self) -> Option<&mut GpuBatch> {
        match &mut self.slots {
            AnySlots::Cpu(_) => None,
            AnySlots::Gpu(slots) => Some(&mut slots.batch),
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
            AnySlots::Cpu(slots) => slots.engine(tokenizer, cache, options)?.spawn()?,
            AnySlots::Gpu(slots) => slots.engine(tokenizer, cache, options)?.spawn()?,
        };
        Ok(BatchEngine {
            thread,
            _warnings: warnings,
            _kernels: self.kernels,
        })
    }
}

impl<B: Batch> WithDraft<B> {
    /// An engine with a draft model and a cache, or without.
    pub(super) fn engine(
        self,
        tokenizer: Arc<Tokenizer>,
        cache: Option<PrefixCache>,
        options: EngineOptions,
    ) -> Result<Engine<B>, Failure> {
        let mut engine = Engine::new(self.batch, tokenizer, options)?;
        if let Some((draft, tokenizer)) = self.draft {
            engine = engine.with_draft_model(draft, &tokenizer)?;
        }
        Ok(match cache {
            Some(cache) => engine.with_cache(cache),
            None => engine,
        })
    }
}
