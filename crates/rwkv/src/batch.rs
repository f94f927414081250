//! Several sequences, each in a slot of its own, read in common steps.

use std::sync::Arc;

use crate::{CpuModel, Error, Hyperparameters, Logits, State, Wanted};

/// A part of a step: tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The slot that has the sequence's state.
    pub slot: usize,
    /// What the sequence reads next; not empty.
    pub tokens: &'a [u32],
    /// Whose logits the step returns.
    pub wanted: Wanted,
}

/// Several sequences read by one model, each in a slot of its own. What a sequence computes depends neither on its slot nor
/// on the others in the step, but for rounding where a backend says so.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/synth-tiny-q4_k_m.gguf");
/// use std::sync::Arc;
/// use thalweg_gguf::GgufFile;
/// use thalweg_rwkv::{Batch, CpuBatch, CpuModel, Part, Wanted};
///
/// let model = Arc::new(CpuModel::load(GgufFile::open(path.as_ref())?)?);
/// let mut batch = CpuBatch::new(model, 4);
/// // A prompt and a single token, in one step.
/// let prompt = Part { slot: 2, tokens: &[5, 8, 13], wanted: Wanted::Last };
/// let token = Part { slot: 0, tokens: &[7], wanted: Wanted::Last };
/// let logits = batch.forward(&[prompt, token])?;
/// assert_eq!(logits.len(), 2 * batch.hyperparameters().vocab);
/// // Another sequence goes on from where the first one is.
/// batch.copy_state(2, 3)?;
/// # Ok(())
/// # }
/// ```
pub trait Batch {
    /// Sizes of the model behind.
    fn hyperparameters(&self) -> &Hyperparameters;

    /// Slots, numbered from 0.
    fn slots(&self) -> usize;

    /// The most tokens, of all parts together, that a step takes.
    fn largest_step(&self) -> usize;

    /// Reads each part's tokens into its slot. Returns the wanted logits in the order of the parts, `[rows, vocab]`.
    ///
    /// # Errors
    /// Before anything is computed: [`Error::Slot`], [`Error::SlotTwice`], [`Error::EmptyPart`], [`Error::StepTooLarge`],
    /// [`Error::Token`]. [`Error::Runaway`] when the numbers of some sequences run away: the states of their slots are of no
    /// use until [`reset`](Batch::reset), the others have read their tokens, and the error holds their logits. Errors of the
    /// backend, after which no slot is of use.
    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error>;

    /// A copy of a slot's state.
    ///
    /// # Errors
    /// [`Error::Slot`]; errors of the backend.
    fn state(&mut self, slot: usize) -> Result<State, Error>;

    /// Has a slot continue from `state` instead.
    ///
    /// # Errors
    /// [`Error::Slot`]; [`Error::StateShape`] if the state belongs to another model; errors of the backend.
    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error>;

    /// Makes the state of `to` a copy of that of `from`, without a way through the host where the backend can.
    ///
    /// # Errors
    /// [`Error::Slot`]; errors of the backend.
    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error>;

    /// Back to the start of a sequence.
    ///
    /// # Errors
    /// [`Error::Slot`]; errors of the backend.
    fn reset(&mut self, slot: usize) -> Result<(), Error>;
}

/// Several sequences on the CPU, one read after the other: no sequence changes a bit of another.
#[derive(Clone, Debug)]
pub struct CpuBatch {
    model: Arc<CpuModel>,
    states: Vec<State>,
}

impl CpuBatch {
    /// The most tokens of a step: as many as bound the memory of intermediate results.
    pub const LARGEST_STEP: usize = 1024;

    /// So many slots, all at the start of a sequence.
    pub fn new(model: Arc<CpuModel>, slots: usize) -> CpuBatch {
        let states = (0..slots).map(|_| State::zeros(model.hyperparameters()));
        let states = states.collect();
        CpuBatch { model, states }
    }

    /// The model that reads them.
    pub fn model(&self) -> &Arc<CpuModel> {
        &self.model
    }
}

impl Batch for CpuBatch {
    fn hyperparameters(&self) -> &Hyperparameters {
        self.model.hyperparameters()
    }

    fn slots(&self) -> usize {
        self.states.len()
    }

    fn largest_step(&self) -> usize {
        CpuBatch::LARGEST_STEP
    }

    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        check_parts(self, parts)?;
        let vocab = self.hyperparameters().vocab;
        let (mut logits, mut lost) = (Vec::new(), Vec::new());
        for part in parts {
            let state = &mut self.states[part.slot];
            match self.model.forward(part.tokens, state, part.wanted, None) {
                Ok(found) => logits.extend(found),
                Err(Error::NonFinite { .. }) => {
                    lost.push(part.slot);
                    let rows = part.wanted.count(part.tokens.len());
                    logits.resize(logits.len() + rows * vocab, f32::NAN);
                }
                Err(other) => return Err(other),
            }
        }
        runaway_or(logits, lost)
    }

    fn state(&mut self, slot: usize) -> Result<State, Error> {
        check_slot(self, slot)?;
        Ok(self.states[slot].clone())
    }

    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error> {
        check_slot(self, slot)?;
        state.check(self.hyperparameters())?;
        self.states[slot].clone_from(state);
        Ok(())
    }

    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error> {
        let state = self.state(from)?;
        self.set_state(to, &state)
    }

    fn reset(&mut self, slot: usize) -> Result<(), Error> {
        check_slot(self, slot)?;
        self.states[slot] = State::zeros(self.hyperparameters());
        Ok(())
    }
}

/// Refuses a slot that there is not.
pub(crate) fn check_slot(batch: &dyn Batch, slot: usize) -> Result<(), Error> {
    let slots = batch.slots();
    match slot < slots {
        true => Ok(()),
        false => Err(Error::Slot { slot, slots }),
    }
}

/// Refuses a step that cannot be made.
pub(crate) fn check_parts(batch: &dyn Batch, parts: &[Part<'_>]) -> Result<(), Error> {
    let mut is_taken = vec![false; batch.slots()];
    let mut tokens = 0usize;
    for part in parts {
        check_slot(batch, part.slot)?;
        if std::mem::replace(&mut is_taken[part.slot], true) {
            return Err(Error::SlotTwice { slot: part.slot });
        }
        if part.tokens.is_empty() {
            return Err(Error::EmptyPart { slot: part.slot });
        }
        tokens = tokens.saturating_add(part.tokens.len());
    }
    let largest = batch.largest_step();
    if tokens > largest {
        return Err(Error::StepTooLarge { tokens, largest });
    }
    let hp = batch.hyperparameters();
    parts
        .iter()
        .try_for_each(|part| hp.check_tokens(part.tokens))
}

/// The logits of a step in which the sequences of the slots `lost` ran away, if any did.
pub(crate) fn runaway_or(logits: Vec<f32>, lost: Vec<usize>) -> Result<Vec<f32>, Error> {
    match lost.is_empty() {
        true => Ok(logits),
        false => Err(Error::Runaway {
            slots: lost,
            logits: Logits(logits),
        }),
    }
}
