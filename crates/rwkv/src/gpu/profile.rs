//! What the dispatches of a batch's steps take on the device.

use std::sync::Arc;

use thalweg_gpu::PlanTimes;

use super::arrangement::Arrangement;
use super::batch::GpuBatch;
use super::plans::{Output, Step};
use crate::batch::check_parts;
use crate::{Error, Next, Part};

impl GpuBatch {
    /// Reads the parts twice, first with timestamps at the ends of the step, then with two for every dispatch; not at all
    /// if the device has no timestamps. They keep dispatches apart, so all of them together take longer than a step. Logits are
    /// made if one row of them is wanted.
    ///
    /// # Errors
    /// Those of a step that cannot be made, see [`Batch::forward`](crate::Batch::forward); errors of the device.
    pub fn profile(&mut self, parts: &[Part<'_>]) -> Result<PlanTimes, Error> {
        check_parts(self, parts)?;
        if parts.is_empty() {
            return Ok(PlanTimes::default());
        }
        self.chosen.clear();
        self.settle_parts(parts)?;
        let rows = Arrangement::new(parts);
        let step = self.step(parts, &rows, GpuBatch::logits_of(&rows));
        self.profile_step(&rows, step)
    }

    /// Likewise two steps of [`Batch::decode`](crate::Batch::decode), the second with the tokens that the first has chosen.
    ///
    /// # Errors
    /// Those of [`Batch::decode`](crate::Batch::decode).
    pub fn profile_decode(&mut self, next: &[Next]) -> Result<PlanTimes, Error> {
        let parts: Vec<Part<'_>> = next.iter().map(Next::part).collect();
        check_parts(self, &parts)?;
        if parts.is_empty() {
            return Ok(PlanTimes::default());
        }
        self.chosen.clear();
        self.settle_parts(&parts)?;
        let slots: Vec<usize> = next.iter().map(|next| next.slot).collect();
        let finding = self.write_choice(&slots)?;
        let shape = self.head_shape(slots.len());
        let rows = Arrangement::new(&parts);
        let step = self.step(&parts, &rows, Output::Tokens { shape, finding });
        self.profile_step(&rows, step)
    }

    fn profile_step(&mut self, rows: &Arrangement, step: Step) -> Result<PlanTimes, Error> {
        self.write_inputs(rows, step)?;
        let context = Arc::clone(&self.model.context);
        Ok(self.plan(step)?.profile(&context)?)
    }
}
