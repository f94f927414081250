//! Several sequences on the device.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use thalweg_gpu::{DispatchTime, Limits, Plan};
use thalweg_shaders::kernels::Rows;

use super::GpuModel;
use super::activations::Activations;
use super::arrangement::Arrangement;
use super::plans::{self, Step};
use super::states::DeviceStates;
use crate::batch::{check_parts, check_slot, runaway_or};
use crate::{Batch, Error, Hyperparameters, Part, State};

/// Several sequences read by a [`GpuModel`], each in a slot of its own.
///
/// A sequence's numbers are the same to the last bit whatever slots and sequences there are besides it, as long as its steps
/// take the same path. The number of tokens in a step has one of several plans (1; up to 2, 4, 8, 16, 32, 64, 128, 256;
/// more), so has the number of rows of logits, and a part of one token takes another way than one of several. Between paths
/// sums are in another order: in [`Precision::Exact`](super::Precision::Exact) logits differ by less than 1e-5, in
/// [`Precision::Fast`](super::Precision::Fast) as far as 16-bit operands move them.
#[derive(Debug)]
pub struct GpuBatch {
    pub(super) model: Arc<GpuModel>,
    pub(super) buffers: Activations,
    pub(super) states: DeviceStates,
    /// Whether a single token takes the plan of its own.
    pub(super) fuses: bool,
    /// Those of the kinds of step met so far.
    pub(super) plans: HashMap<Step, Plan>,
}

impl GpuBatch {
    /// So many slots, all at the start of a sequence. A step takes a chunk of tokens, or one of each slot if that is more.
    ///
    /// # Errors
    /// [`Error::Setting`] if the device cannot hold so many slots of the model, saying how many it can; errors of the
    /// device, above all out of memory.
    pub fn new(model: Arc<GpuModel>, slots: usize) -> Result<GpuBatch, Error> {
        let GpuModel {
            context,
            hp,
            options,
            ..
        } = &*model;
        let most = GpuBatch::most_slots(hp, context.limits());
        if !(1..=most).contains(&slots) {
            return Err(Error::Setting {
                name: "number of slots",
                found: slots,
                expected: format!("1 to {most} for this model on this device"),
            });
        }
        let capacity = slots.max(options.tuning.chunk as usize);
        let buffers = Activations::new(context, hp, capacity, slots)?;
        let states = DeviceStates::new(context, hp, slots)?;
        let fuses = plans::fuses(&model);
        Ok(GpuBatch {
            model,
            buffers,
            states,
            fuses,
            plans: HashMap::new(),
        })
    }

    /// The most slots that a device with such limits can bind, whatever its memory.
    pub fn most_slots(hp: &Hyperparameters, limits: &Limits) -> usize {
        let rows = Activations::largest_capacity(hp, limits);
        DeviceStates::most_slots(hp, limits).min(rows)
    }

    /// The model that reads them.
    pub fn model(&self) -> &Arc<GpuModel> {
        &self.model
    }

    /// Reads the parts, and says what each dispatch took on the device; nothing if the device has no timestamps. Dispatches that
    /// a timestamp follows cannot overlap, so all of them together take longer than a step. Logits are made if one row of
    /// them is wanted.
    ///
    /// # Errors
    /// Those of a step that cannot be made, see [`Batch::forward`]; errors of the device.
    pub fn profile(&mut self, parts: &[Part<'_>]) -> Result<Vec<DispatchTime>, Error> {
        check_parts(self, parts)?;
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let rows = Arrangement::new(parts);
        let step = self.step(parts, &rows);
        self.write_inputs(&rows, step)?;
        let context = Arc::clone(&self.model.context);
        Ok(self.plan(step)?.profile(&context)?)
    }

    /// Reads the parts, which have been checked, and returns the wanted logits, whatever they are.
    pub(super) fn read(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        let rows = Arrangement::new(parts);
        let wanted = rows.picks.len();
        let step = self.step(parts, &rows);
        let mut logits = Vec::with_capacity(wanted * self.model.hp.vocab);
        self.write_inputs(&rows, step)?;
        self.run(step)?;
        match wanted {
            0 => {}
            1 => self.read_logits(1, &mut logits)?,
            _ => self.read_in_turns(&rows, &mut logits)?,
        }
        Ok(logits)
    }

    /// Makes the logits of the picked rows, as many at a time as there is room for.
    fn read_in_turns(&mut self, rows: &Arrangement, logits: &mut Vec<f32>) -> Result<(), Error> {
        let (capacity, wanted) = (self.buffers.head_capacity, rows.picks.len());
        for first in (0..wanted).step_by(capacity) {
            let count = capacity.min(wanted - first);
            let head = self.head_rows(rows, first, count);
            self.buffers.write_head_rows(&self.model.context, head)?;
            self.run(Step::Head(self.head_shape(count)))?;
            self.read_logits(count, logits)?;
        }
        Ok(())
    }

    fn read_logits(&self, rows: usize, logits: &mut Vec<f32>) -> Result<(), Error> {
        let (context, count) = (&self.model.context, rows * self.model.hp.vocab);
        Ok(self.buffers.logits_read.append_to(context, count, logits)?)
    }

    /// Tells the device what the step is about.
    pub(super) fn write_inputs(&self, rows: &Arrangement, step: Step) -> Result<(), Error> {
        let head = self.head_rows(rows, 0, rows.picks.len().min(1));
        let longest = match step {
            Step::Layers { sequences, .. } => sequences.longer,
            Step::Token { .. } | Step::Head(_) => 0,
        };
        let context = &self.model.context;
        self.buffers.write_inputs(context, rows, head, longest)
    }

    /// The head's rows among the picks. Alone, where the plan of one token serves it, a row goes by its own number.
    fn head_rows(&self, rows: &Arrangement, first: usize, count: usize) -> Rows {
        let first = match count {
            1 if self.fuses => rows.picks[first],
            _ => first as u32,
        };
        Rows {
            count: count as u32,
            first,
        }
    }

    /// Does what `step` says with what the inputs say.
    pub(super) fn run(&mut self, step: Step) -> Result<(), Error> {
        let context = Arc::clone(&self.model.context);
        let plan = self.plan(step)?;
        plan.run(&context)?;
        plan.prepare(&context); // while the device is busy
        Ok(())
    }
}

impl Batch for GpuBatch {
    fn hyperparameters(&self) -> &Hyperparameters {
        &self.model.hp
    }

    fn slots(&self) -> usize {
        self.states.slots()
    }

    fn largest_step(&self) -> usize {
        self.buffers.capacity
    }

    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        check_parts(self, parts)?;
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let logits = self.read(parts)?;
        let lost = lost_slots(parts, &logits, self.model.hp.vocab);
        runaway_or(logits, lost)
    }

    fn state(&mut self, slot: usize) -> Result<State, Error> {
        check_slot(self, slot)?;
        self.states.read(&self.model.context, &self.model.hp, slot)
    }

    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error> {
        check_slot(self, slot)?;
        state.check(&self.model.hp)?;
        self.states.write(&self.model.context, slot, state)
    }

    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error> {
        check_slot(self, from)?;
        check_slot(self, to)?;
        self.states.copy(&self.model.context, from, to)
    }

    fn reset(&mut self, slot: usize) -> Result<(), Error> {
        check_slot(self, slot)?;
        self.states.clear(&self.model.context, slot)
    }
}

/// The slots of the parts some of whose logits are none or infinite.
fn lost_slots(parts: &[Part<'_>], logits: &[f32], vocab: usize) -> Vec<usize> {
    let is_lost: Vec<bool> = logits
        .par_chunks(vocab)
        .map(|row| first_not_finite(row).is_some())
        .collect();
    let mut rows = is_lost.into_iter();
    let mut is_part_lost = |part: &&Part<'_>| {
        let count = part.wanted.count(part.tokens.len());
        rows.by_ref()
            .take(count)
            .fold(false, |any, lost| any | lost)
    };
    let lost = parts.iter().filter(|part| is_part_lost(part));
    lost.map(|part| part.slot).collect()
}

/// Where the first number lies that is none or infinite. Whole blocks are looked through at once, which takes a tenth of
/// the time.
pub(super) fn first_not_finite(numbers: &[f32]) -> Option<usize> {
    const BLOCK: usize = 1024;
    let has_any = |block: &[f32]| block.iter().fold(false, |any, x| any | !x.is_finite());
    let block = numbers.chunks(BLOCK).position(has_any)?;
    let rest = &numbers[block * BLOCK..];
    let within = rest.iter().position(|number| !number.is_finite())?;
    Some(block * BLOCK + within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wanted;

    #[test]
    fn the_first_number_that_is_not_finite_is_found() {
        let mut numbers = vec![0.5; 5000];
        assert_eq!(first_not_finite(&numbers), None);
        numbers[4999] = f32::NAN;
        assert_eq!(first_not_finite(&numbers), Some(4999));
        numbers[1024] = f32::NEG_INFINITY;
        assert_eq!(first_not_finite(&numbers), Some(1024));
        numbers[1023] = f32::INFINITY;
        assert_eq!(first_not_finite(&numbers), Some(1023));
        assert_eq!(first_not_finite(&[]), None);
    }

    #[test]
    fn lost_logits_are_laid_at_the_right_slots() {
        let part = |slot, tokens, wanted| Part {
            slot,
            tokens,
            wanted,
        };
        let parts = [
            part(5, &[1, 2, 3], Wanted::All),
            part(1, &[1], Wanted::Nothing),
            part(2, &[1, 2], Wanted::Last),
            part(0, &[1], Wanted::Last),
        ];
        let lost_with = |row: usize| {
            let mut logits = vec![0.0; 5 * 4];
            logits[row * 4 + 3] = f32::NAN;
            lost_slots(&parts, &logits, 4)
        };
        assert_eq!([0, 1, 2].map(lost_with), [[5], [5], [5]]);
        assert_eq!([3, 4].map(lost_with), [[2], [0]]);
        assert!(lost_slots(&parts, &[0.0; 20], 4).is_empty());
    }
}
