//! Several sequences on the device.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use thalweg_gpu::Plan;
use thalweg_shaders::kernels::{Matvec, Rows};

use super::GpuModel;
use super::activations::Activations;
use super::arrangement::{Arrangement, Sequences};
use super::decode::TokenStep;
use super::layer::LayerStep;
use super::recorder::{MatmulKind, Recorder, Shape};
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
    fuses: bool,
    /// Those of the kinds of step met so far.
    plans: HashMap<Step, Plan>,
}

/// What a plan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// A single token of one slot's sequence through all layers in a few large dispatches, and its logits if `head` says so.
    Token { slot: usize, head: bool },
    /// Tokens through all layers, and the logits of one of them if `head` says so.
    Layers {
        shape: Shape,
        sequences: Sequences,
        head: bool,
    },
    /// Logits of tokens that have passed the layers.
    Head(Shape),
}

/// Plans that are kept. Few kinds of step come again and again, but a batch of many slots can make many kinds.
const MOST_PLANS: usize = 64;

/// Most tokens of the plans that are made besides one for a whole step: large tiles waste time on few tokens.
const PLAN_TOKENS: [u32; 5] = [16, 32, 64, 128, 256];

/// The head of a single row.
const ONE: Shape = Shape::Few { columns: 1 };

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
            weights,
            options,
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
        let fuses = Recorder::new(context, ONE, *options, "one token").fuses(hp, weights);
        Ok(GpuBatch {
            model,
            buffers,
            states,
            fuses,
            plans: HashMap::new(),
        })
    }

    /// The most slots that a device with such limits can bind, whatever its memory.
    pub fn most_slots(hp: &Hyperparameters, limits: &thalweg_gpu::Limits) -> usize {
        let rows = Activations::largest_capacity(hp, limits);
        DeviceStates::most_slots(hp, limits).min(rows)
    }

    /// The model that reads them.
    pub fn model(&self) -> &Arc<GpuModel> {
        &self.model
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

    /// The step that reads these rows, with the logits if there is one row of them.
    pub(super) fn step(&self, parts: &[Part<'_>], rows: &Arrangement) -> Step {
        let head = rows.picks.len() == 1;
        match parts {
            [part] if part.tokens.len() == 1 && self.fuses => Step::Token {
                slot: part.slot,
                head,
            },
            _ => Step::Layers {
                shape: self.shape(rows.tokens.len()),
                sequences: self.planned(rows.sequences()),
                head,
            },
        }
    }

    /// Room for these sequences, in sizes so few that plans serve many mixtures.
    fn planned(&self, sequences: Sequences) -> Sequences {
        // The next power of four.
        let room = |count: u32| match count {
            0 => 0,
            _ => count.next_power_of_two() << (count.next_power_of_two().ilog2() % 2),
        };
        let Sequences { longer, single } = sequences;
        let most = self.buffers.capacity as u32;
        Sequences {
            longer: room(longer).min(most),
            single: room(single).min(most),
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

    pub(super) fn plan(&mut self, step: Step) -> Result<&Plan, Error> {
        if !self.plans.contains_key(&step) {
            if self.plans.len() >= MOST_PLANS {
                self.plans.clear();
            }
            let plan = self.make_plan(step)?;
            self.plans.insert(step, plan);
        }
        Ok(&self.plans[&step])
    }

    fn make_plan(&self, step: Step) -> Result<Plan, Error> {
        let GpuModel {
            context,
            hp,
            weights,
            options,
        } = &*self.model;
        let shape = match step {
            Step::Token { .. } => ONE,
            Step::Layers { shape, .. } | Step::Head(shape) => shape,
        };
        let label = format!("a step of up to {} tokens", shape.tokens());
        let mut recorder = Recorder::new(context, shape, *options, &label);
        match step {
            Step::Token { slot, .. } => {
                recorder.embed(hp, &weights.ends, &self.buffers)?;
                self.record_token(&mut recorder, slot)?;
            }
            Step::Layers { sequences, .. } => {
                recorder.embed(hp, &weights.ends, &self.buffers)?;
                self.record_layers(&mut recorder, sequences)?;
            }
            Step::Head(_) => {}
        }
        match step {
            Step::Token { head: true, .. } | Step::Layers { head: true, .. } => {
                recorder.shape = ONE;
                self.record_head(&mut recorder)?;
            }
            Step::Head(_) => self.record_head(&mut recorder)?,
            Step::Token { .. } | Step::Layers { .. } => {}
        }
        recorder.build()
    }

    fn record_token(&self, recorder: &mut Recorder<'_>, slot: usize) -> Result<(), Error> {
        let GpuModel { hp, weights, .. } = &*self.model;
        let state = self.states.slot(slot);
        for (index, weights) in weights.layers.iter().enumerate() {
            let step = TokenStep {
                hp,
                weights,
                index,
                buffers: &self.buffers,
                state,
            };
            step.record(recorder)?;
        }
        state.take_next_shifts(recorder.plan());
        Ok(())
    }

    fn record_layers(
        &self,
        recorder: &mut Recorder<'_>,
        sequences: Sequences,
    ) -> Result<(), Error> {
        for index in 0..self.model.hp.layers {
            let step = self.layer_step(index, sequences);
            step.time_mix(recorder)?;
            step.channel_mix(recorder)?;
        }
        Ok(())
    }

    fn record_head(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let GpuModel { hp, weights, .. } = &*self.model;
        match recorder.shape {
            ONE if self.fuses => recorder.fused_head(hp, &weights.ends, &self.buffers)?,
            _ => recorder.head(hp, &weights.ends, &self.buffers)?,
        }
        let rows = recorder
            .shape
            .tokens()
            .min(self.buffers.head_capacity as u32);
        let bytes = 4 * u64::from(rows) * hp.vocab as u64;
        let Activations {
            logits,
            logits_read,
            ..
        } = &self.buffers;
        recorder.plan().read_back(logits, 0, logits_read, 0, bytes);
        Ok(())
    }

    pub(super) fn layer_step(&self, index: usize, sequences: Sequences) -> LayerStep<'_> {
        let GpuModel { hp, weights, .. } = &*self.model;
        LayerStep {
            hp,
            weights: &weights.layers[index],
            index,
            buffers: &self.buffers,
            states: &self.states,
            sequences,
        }
    }

    /// The shape of plan that reads so many tokens.
    pub(super) fn shape(&self, tokens: usize) -> Shape {
        fitting_shape(tokens, self.buffers.capacity, self.model.matmul())
    }

    /// The shape of plan that makes so many rows of logits.
    pub(super) fn head_shape(&self, rows: usize) -> Shape {
        fitting_shape(rows, self.buffers.head_capacity, self.model.matmul())
    }
}

fn fitting_shape(tokens: usize, capacity: usize, matmul: MatmulKind) -> Shape {
    let fits = |most: u32| tokens <= most as usize && most as usize <= capacity;
    if let Some(columns) = Matvec::COLUMNS.into_iter().find(|columns| fits(*columns)) {
        return Shape::Few { columns };
    }
    let planned = PLAN_TOKENS.into_iter().find(|most| fits(*most));
    Shape::Many {
        tokens: planned.unwrap_or(capacity as u32),
        matmul,
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
