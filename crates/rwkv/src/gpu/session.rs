//! One sequence on the device.

use std::sync::Arc;

use thalweg_gpu::PlanTimes;

use super::GpuModel;
use super::arrangement::Arrangement;
use super::batch::GpuBatch;
use super::finite::first_not_finite;
use super::plans::Step;
use crate::{Batch, Error, Hyperparameters, Part, Session, State, Wanted};

/// One sequence read by a [`GpuModel`], which it may share with others.
#[derive(Debug)]
pub struct GpuSession {
    /// Has one slot.
    pub(super) batch: GpuBatch,
    /// The sequence is to start anew, but the device's state has not been cleared.
    reset_is_due: bool,
}

impl GpuSession {
    /// A sequence at its start.
    ///
    /// # Errors
    /// Errors of the device, above all out of memory.
    pub fn new(model: Arc<GpuModel>) -> Result<GpuSession, Error> {
        Ok(GpuSession {
            batch: GpuBatch::new(model, 1)?,
            reset_is_due: false,
        })
    }

    /// The model that reads it.
    pub fn model(&self) -> &Arc<GpuModel> {
        self.batch.model()
    }

    /// Compiles and plans what reading `tokens` tokens takes, so that doing it for the first time takes no longer than
    /// ever after.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn prepare(&mut self, tokens: usize, wanted: Wanted) -> Result<(), Error> {
        let batch = &mut self.batch;
        let of_chunk = vec![0; tokens.clamp(1, batch.largest_step())];
        let part = part(&of_chunk, wanted);
        let rows = Arrangement::new(&[part]);
        let step = batch.step(&[part], &rows, GpuBatch::logits_of(&rows));
        batch.plan(step)?;
        if wanted == Wanted::All {
            let rows = of_chunk.len().min(batch.buffers.head_capacity);
            batch.plan(Step::Head(batch.head_shape(rows)))?;
        }
        Ok(())
    }

    /// Reads `tokens`, at most a chunk, twice, and says what that took on the device, see [`GpuBatch::profile`].
    ///
    /// # Errors
    /// [`Error::Token`]; errors of the device.
    pub fn profile(&mut self, tokens: &[u32]) -> Result<PlanTimes, Error> {
        self.begin()?;
        let tokens = &tokens[..tokens.len().min(self.batch.largest_step())];
        match tokens {
            [] => Ok(PlanTimes::default()),
            _ => self.batch.profile(&[part(tokens, Wanted::Last)]),
        }
    }

    /// Clears the state if that is due.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        if self.reset_is_due {
            self.batch.reset(0)?;
            self.reset_is_due = false;
        }
        Ok(())
    }
}

/// The sequence reads these tokens.
pub(super) fn part(tokens: &[u32], wanted: Wanted) -> Part<'_> {
    Part {
        slot: 0,
        tokens,
        wanted,
    }
}

impl Session for GpuSession {
    fn hyperparameters(&self) -> &Hyperparameters {
        self.batch.hyperparameters()
    }

    fn forward(&mut self, tokens: &[u32], wanted: Wanted) -> Result<Vec<f32>, Error> {
        self.model().hp.check_tokens(tokens)?;
        self.begin()?;
        let mut logits = Vec::new();
        let chunks = tokens.chunks(self.batch.largest_step());
        let last = chunks.len().saturating_sub(1);
        for (index, chunk) in chunks.enumerate() {
            let wanted = match wanted {
                Wanted::Last if index < last => Wanted::Nothing,
                _ => wanted,
            };
            let mut of_chunk = self.batch.read(&[part(chunk, wanted)])?;
            match logits.is_empty() {
                true => logits = of_chunk, // mostly all there is
                false => logits.append(&mut of_chunk),
            }
        }
        let vocab = self.hyperparameters().vocab;
        match first_not_finite(&logits) {
            None => Ok(logits),
            Some(at) => {
                let position = tokens.len() - wanted.count(tokens.len()) + at / vocab;
                let place = self.batch.runaway_place(0)?;
                Err(Error::NonFinite { place, position })
            }
        }
    }

    fn state(&mut self) -> Result<State, Error> {
        self.begin()?;
        self.batch.state(0)
    }

    fn set_state(&mut self, state: &State) -> Result<(), Error> {
        state.check(self.hyperparameters())?;
        self.reset_is_due = false;
        self.batch.set_state(0, state)
    }

    fn reset(&mut self) {
        self.reset_is_due = true;
    }
}
