//! Several sequences on the device.

use std::collections::HashMap;
use std::sync::Arc;

use thalweg_gpu::{Limits, Plan};
use thalweg_shaders::kernels::Rows;

use super::GpuModel;
use super::activations::Activations;
use super::arrangement::Arrangement;
use super::finite::lost_slots;
use super::log::StateLog;
use super::plans::{self, ONE, Output, Step};
use super::recorder::Shape;
use super::sampling::{DeviceSampler, Finding, LONGEST_LOOP};
use super::states::DeviceStates;
use crate::batch::{check_drafts, check_logits, check_parts, check_slot, runaway_or};
use crate::{Batch, Chosen, Draft, Error, Hyperparameters, Next, Part, Sampling, State, Wanted};

/// Several sequences read by a [`GpuModel`], each in a slot of its own.
///
/// A sequence's numbers are the same to the last bit whatever slots and sequences there are besides it, as long as its steps
/// take the same path. The number of tokens in a step has one of several plans (1; up to 2, 4, 8, 16, 32, 64, 128, 256, 512;
/// more), so has the number of rows of logits, and a part of one token takes another way than one of several. Between paths
/// sums are in another order: in [`Precision::Exact`](super::Precision::Exact) logits differ by less than 1e-5, in
/// [`Precision::Fast`](super::Precision::Fast) as far as 16-bit operands move them. Guessed tokens are several of a part.
///
/// The first [verification](Batch::verify) of guesses takes memory for 32 rows or, if more are verified at once, up to 64: for each
/// `56 * layers * width` bytes of a log (4.6 MB for a model of 2.9B), and about `4 * vocab` for choosing.
#[derive(Debug)]
pub struct GpuBatch {
    pub(super) model: Arc<GpuModel>,
    pub(super) buffers: Activations,
    pub(super) states: DeviceStates,
    /// Whether a single token takes the plan of its own.
    pub(super) fuses: bool,
    /// Those of the kinds of step met so far.
    pub(super) plans: HashMap<Step, Plan>,
    /// Made when tokens are to be chosen for the first time.
    pub(super) sampler: Option<DeviceSampler>,
    /// Made when tokens are guessed for the first time.
    pub(super) log: Option<StateLog>,
    /// The slots whose tokens were chosen last.
    pub(super) chosen: HashMap<usize, LogitsAt>,
}

/// Where the logits are from which a token was chosen.
#[derive(Debug)]
pub(super) enum LogitsAt {
    /// In a row on the device.
    Row(usize),
    /// Here.
    Host(Vec<f32>),
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
            sampler: None,
            log: None,
            chosen: HashMap::new(),
        })
    }

    /// The most slots that a device with such limits can bind, whatever its memory.
    pub fn most_slots(hp: &Hyperparameters, limits: &Limits) -> usize {
        let rows = Activations::largest_capacity(hp, limits);
        let states = DeviceStates::most_slots(hp, limits);
        states.min(rows).min(DeviceSampler::most_slots(hp, limits))
    }

    /// The model that reads them.
    pub fn model(&self) -> &Arc<GpuModel> {
        &self.model
    }

    /// Reads the parts, which have been checked, and returns the wanted logits, whatever they are.
    pub(super) fn read(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        self.chosen.clear();
        self.settle_parts(parts)?;
        let rows = Arrangement::new(parts);
        let wanted = rows.picks.len();
        let step = self.step(parts, &rows, GpuBatch::logits_of(&rows));
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

    /// Adds the logits of so many rows, which the device is making: meanwhile the host has their memory at hand.
    fn read_logits(&self, rows: usize, logits: &mut Vec<f32>) -> Result<(), Error> {
        let start = logits.len();
        logits.resize(start + rows * self.model.hp.vocab, 0.0);
        let context = &self.model.context;
        let read = &self.buffers.logits_read;
        Ok(read.read(context, 0, &mut logits[start..])?)
    }

    /// Tells the device what the step is about.
    pub(super) fn write_inputs(&self, rows: &Arrangement, step: Step) -> Result<(), Error> {
        let (output, longest) = match step {
            Step::Token { output, .. } => (output, 0),
            Step::Layers {
                output, sequences, ..
            } => (output, sequences.longer),
            Step::Verify { head, finding, .. } => {
                let shape = head;
                (Output::Tokens { shape, finding }, 0)
            }
            Step::Head(_) | Step::Choice(_) | Step::Settle(_) => (Output::Nothing, 0),
        };
        let wanted = match output {
            Output::Nothing => 0,
            Output::Logits | Output::Tokens { .. } => rows.picks.len(),
        };
        let head = self.head_rows(rows, 0, wanted);
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
        self.repeat(step, 1)
    }

    /// The same several times over.
    fn repeat(&mut self, step: Step, times: usize) -> Result<(), Error> {
        let context = Arc::clone(&self.model.context);
        let plan = self.plan(step)?;
        plan.repeat(&context, times)?;
        plan.prepare_repeat(&context, times); // while the device is busy
        Ok(())
    }

    /// Reads the parts, which have been checked, and chooses a token after each that wants one. Does so several times if all
    /// are single tokens: each time after the first with the tokens chosen before.
    pub(super) fn read_and_choose(
        &mut self,
        parts: &[Part<'_>],
        times: usize,
    ) -> Result<Vec<Option<Chosen>>, Error> {
        let parts: Vec<Part<'_>> = parts.iter().map(Part::for_choice).collect();
        let rows = Arrangement::new(&parts);
        let wanting = parts.iter().filter(|part| part.wanted == Wanted::Last);
        let slots: Vec<usize> = wanting.map(|part| part.slot).collect();
        if slots.is_empty() {
            self.read(&parts)?;
            return Ok(Vec::new());
        }
        self.settle_parts(&parts)?;
        let finding = self.write_choice(&slots)?;
        let shape = self.head_shape(slots.len());
        let step = self.step(&parts, &rows, Output::Tokens { shape, finding });
        self.write_inputs(&rows, step)?;
        self.repeat(step, times)?;
        self.read_chosen(slots, shape, finding, times)
    }

    /// Has the states of the parts' slots be up to date.
    pub(super) fn settle_parts(&mut self, parts: &[Part<'_>]) -> Result<(), Error> {
        self.settle_slots(|slot| parts.iter().any(|part| part.slot == slot))
    }

    /// Tells the device whose tokens are to be chosen.
    pub(super) fn write_choice(&mut self, slots: &[usize]) -> Result<Finding, Error> {
        let model = Arc::clone(&self.model);
        let sampler = self.sampler()?;
        let is_rebound = sampler.write(&model.context, slots)?;
        let finding = sampler.finding(slots);
        if is_rebound {
            self.plans.clear();
        }
        Ok(finding)
    }

    fn read_chosen(
        &mut self,
        slots: Vec<usize>,
        shape: Shape,
        finding: Finding,
        times: usize,
    ) -> Result<Vec<Option<Chosen>>, Error> {
        let rows = self.rows_of_choice(shape);
        let model = Arc::clone(&self.model);
        let sampler = self.sampler()?;
        let chosen = sampler.chosen(&model.context, &slots, (rows, finding), times)?;
        let rows = slots.into_iter().enumerate();
        self.chosen = rows.map(|(row, slot)| (slot, LogitsAt::Row(row))).collect();
        Ok(chosen)
    }

    fn forget_counts(&mut self, slot: usize) {
        if let Some(sampler) = &mut self.sampler {
            sampler.clear(slot);
        }
    }

    pub(super) fn sampler(&mut self) -> Result<&mut DeviceSampler, Error> {
        let GpuModel { context, hp, .. } = &*self.model;
        let sampler = match self.sampler.take() {
            Some(sampler) => sampler,
            None => DeviceSampler::new(context, hp, self.states.slots())?,
        };
        Ok(self.sampler.insert(sampler))
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

    fn set_sampling(&mut self, slot: usize, sampling: Sampling) -> Result<(), Error> {
        check_slot(self, slot)?;
        sampling.check(&self.model.hp)?;
        self.sampler()?.set(slot, sampling);
        Ok(())
    }

    fn sample(&mut self, parts: &[Part<'_>]) -> Result<Vec<Option<Chosen>>, Error> {
        check_parts(self, parts)?;
        match parts {
            [] => Ok(Vec::new()),
            _ => self.read_and_choose(parts, 1),
        }
    }

    fn choose(&mut self, slot: usize, logits: &[f32]) -> Result<Option<Chosen>, Error> {
        check_slot(self, slot)?;
        check_logits(self, logits)?;
        let finding = self.write_choice(&[slot])?;
        let context = Arc::clone(&self.model.context);
        context.write(&self.buffers.logits, 0, logits)?;
        self.run(Step::Choice(finding))?;
        let chosen = self.read_chosen(vec![slot], ONE, finding, 1)?;
        Ok(chosen.into_iter().next().flatten())
    }

    fn logits(&mut self, slot: usize) -> Result<Vec<f32>, Error> {
        check_slot(self, slot)?;
        let row = match self.chosen.get(&slot) {
            None => return Err(Error::NothingChosen { slot }),
            Some(LogitsAt::Host(logits)) => return Ok(logits.clone()),
            Some(LogitsAt::Row(row)) => *row,
        };
        let GpuModel { context, hp, .. } = &*self.model;
        let mut logits = vec![0.0; hp.vocab];
        let offset = 4 * (row * hp.vocab) as u64;
        context.read(&self.buffers.logits, offset, &mut logits)?;
        Ok(logits)
    }

    fn longest_loop(&self) -> usize {
        LONGEST_LOOP
    }

    fn decode(&mut self, next: &[Next], steps: usize) -> Result<Vec<Option<Chosen>>, Error> {
        let parts: Vec<Part<'_>> = next.iter().map(Next::part).collect();
        check_parts(self, &parts)?;
        if steps > LONGEST_LOOP {
            return Err(Error::Setting {
                name: "number of steps",
                found: steps,
                expected: format!("at most {LONGEST_LOOP}"),
            });
        }
        match parts.is_empty() || steps == 0 {
            true => Ok(Vec::new()),
            false => self.read_and_choose(&parts, steps),
        }
    }

    fn longest_guess(&self) -> usize {
        self.longest_guess_of_run()
    }

    fn verify(&mut self, drafts: &[Draft<'_>]) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        check_drafts(self, drafts)?;
        self.verify_in_runs(drafts)
    }

    fn state(&mut self, slot: usize) -> Result<State, Error> {
        check_slot(self, slot)?;
        self.settle_slots(|due| due == slot)?;
        self.states.read(&self.model.context, &self.model.hp, slot)
    }

    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error> {
        check_slot(self, slot)?;
        state.check(&self.model.hp)?;
        self.forget_counts(slot);
        self.forget_due(slot);
        self.states.write(&self.model.context, slot, state)
    }

    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error> {
        check_slot(self, from)?;
        check_slot(self, to)?;
        self.settle_slots(|slot| slot == from)?;
        self.forget_due(to);
        if let Some(sampler) = &mut self.sampler {
            sampler.copy(&self.model.context, from, to)?;
        }
        self.states.copy(&self.model.context, from, to)
    }

    fn reset(&mut self, slot: usize) -> Result<(), Error> {
        check_slot(self, slot)?;
        self.forget_counts(slot);
        self.forget_due(slot);
        self.states.clear(&self.model.context, slot)
    }
}
