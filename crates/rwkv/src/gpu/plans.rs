//! The plans of a batch: which step takes which, and what they are made of.

use thalweg_gpu::Plan;
use thalweg_shaders::kernels::Matvec;

use super::activations::Activations;
use super::arrangement::{Arrangement, Sequences};
use super::batch::GpuBatch;
use super::decode::TokenStep;
use super::layer::{LayerStep, Reading};
use super::log::StateLog;
use super::model::GpuModel;
use super::recorder::{MatmulKind, Recorder, Shape};
use super::sampling::Finding;
use crate::{Error, Part};

/// What a plan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// A single token of one slot's sequence through all layers in a few large dispatches.
    Token { slot: usize, output: Output },
    /// Tokens through all layers.
    Layers {
        shape: Shape,
        sequences: Sequences,
        output: Output,
    },
    /// Logits of tokens that have passed the layers.
    Head(Shape),
    /// A token from logits that the host has written.
    Choice(Finding),
    /// Guesses through all layers, and a token after each.
    Verify {
        shape: Shape,
        guessing: Guessing,
        head: Shape,
        finding: Finding,
    },
    /// What is due of guesses.
    Settle(Guessing),
}

/// What a plan is to the log of guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Guessing {
    /// The half that it notes in; it does what is due of the other one.
    pub(super) half: usize,
    /// How many sequences there may be.
    pub(super) sequences: u32,
}

/// What a step makes of the tokens that have passed the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Output {
    Nothing,
    /// The logits of one of them.
    Logits,
    /// A token after each of some of them, as many as the shape says.
    Tokens {
        shape: Shape,
        finding: Finding,
    },
}

/// Plans that are kept. Few kinds of step come again and again, but a batch of many slots can make many kinds.
const MOST_PLANS: usize = 64;

/// Most tokens of the plans that are made besides one for a whole step: large tiles waste time on few tokens.
const PLAN_TOKENS: [u32; 6] = [16, 32, 64, 128, 256, 512];

/// More tokens than these are multiplied faster on cooperative matrices, most of which stay empty, than column by column.
const MOST_COLUMNS_BESIDE_COOP: u32 = 2;

/// The head of a single row.
pub(super) const ONE: Shape = Shape::Few { columns: 1 };

/// Whether the model's single tokens take a plan of their own.
pub(super) fn fuses(model: &GpuModel) -> bool {
    let GpuModel {
        context,
        hp,
        weights,
        options,
    } = model;
    Recorder::new(context, ONE, *options, "one token").fuses(hp, weights)
}

impl GpuBatch {
    /// The step that reads these rows.
    pub(super) fn step(&self, parts: &[Part<'_>], rows: &Arrangement, output: Output) -> Step {
        match parts {
            [part] if part.tokens.len() == 1 && self.fuses => Step::Token {
                slot: part.slot,
                output,
            },
            _ => Step::Layers {
                shape: self.shape(rows.tokens.len()),
                sequences: self.planned(rows.sequences()),
                output,
            },
        }
    }

    /// The logits of these rows if there is one, as far as the step that reads them makes them.
    pub(super) fn logits_of(rows: &Arrangement) -> Output {
        match rows.picks.len() {
            1 => Output::Logits,
            _ => Output::Nothing,
        }
    }

    /// Room for these sequences, in sizes so few that plans serve many mixtures.
    fn planned(&self, sequences: Sequences) -> Sequences {
        let Sequences { longer, single } = sequences;
        let most = self.buffers.capacity as u32;
        Sequences {
            longer: room(longer).min(most),
            single: room(single).min(most),
        }
    }

    /// Likewise room for sequences that guess, no more than the log has rows.
    pub(super) fn guessing(&self, half: usize, sequences: usize) -> Guessing {
        let most = self.log.as_ref().map_or(0, StateLog::rows) as u32;
        let sequences = room(sequences as u32).min(most);
        Guessing { half, sequences }
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
            Step::Token { .. } | Step::Choice(_) | Step::Settle(_) => ONE,
            Step::Layers { shape, .. } | Step::Head(shape) | Step::Verify { shape, .. } => shape,
        };
        let label = format!("a step of up to {} tokens", shape.tokens());
        let mut recorder = Recorder::new(context, shape, *options, &label);
        let output = match step {
            Step::Token { slot, output } => {
                recorder.embed(hp, &weights.ends, &self.buffers)?;
                self.record_token(&mut recorder, slot)?;
                output
            }
            Step::Layers {
                sequences, output, ..
            } => {
                recorder.embed(hp, &weights.ends, &self.buffers)?;
                self.record_layers(&mut recorder, Reading::Tokens(sequences))?;
                output
            }
            Step::Head(shape) => {
                self.record_logits(&mut recorder, shape)?;
                Output::Nothing
            }
            Step::Choice(finding) => {
                self.record_choice(&mut recorder, ONE, finding)?;
                Output::Nothing
            }
            Step::Verify {
                guessing,
                head,
                finding,
                ..
            } => {
                recorder.embed(hp, &weights.ends, &self.buffers)?;
                self.record_guesses(&mut recorder, guessing)?;
                self.record_head(&mut recorder, head)?;
                self.record_guessed_choice(&mut recorder, head, guessing, finding)?;
                Output::Nothing
            }
            Step::Settle(guessing) => {
                self.record_settling(&mut recorder, guessing)?;
                Output::Nothing
            }
        };
        match output {
            Output::Nothing => {}
            Output::Logits => self.record_logits(&mut recorder, ONE)?,
            Output::Tokens { shape, finding } => {
                self.record_head(&mut recorder, shape)?;
                self.record_choice(&mut recorder, shape, finding)?;
            }
        }
        // Behind the dispatches, beside other copies: between dispatches, copies take three times as long as one more of those.
        if let Step::Token { slot, .. } = step {
            self.states.slot(slot).take_next_shifts(recorder.plan());
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
        Ok(())
    }

    pub(super) fn record_layers(
        &self,
        recorder: &mut Recorder<'_>,
        reading: Reading<'_>,
    ) -> Result<(), Error> {
        let layers = self.model.hp.layers;
        let mut pending = None;
        for index in 0..layers {
            let step = self.layer_step(index, reading);
            let leaves = reading.is_single() && index + 1 < layers;
            pending = step.mix(recorder, pending, leaves)?;
        }
        Ok(())
    }

    fn record_head(&self, recorder: &mut Recorder<'_>, shape: Shape) -> Result<(), Error> {
        let GpuModel { hp, weights, .. } = &*self.model;
        recorder.shape = shape;
        match shape {
            ONE if self.fuses => recorder.fused_head(hp, &weights.ends, &self.buffers),
            _ => recorder.head(hp, &weights.ends, &self.buffers),
        }
    }

    /// The head, and its logits for the host.
    fn record_logits(&self, recorder: &mut Recorder<'_>, shape: Shape) -> Result<(), Error> {
        self.record_head(recorder, shape)?;
        let rows = self.rows_of(shape, self.buffers.head_capacity);
        let bytes = 4 * u64::from(rows) * self.model.hp.vocab as u64;
        let Activations {
            logits,
            logits_read,
            ..
        } = &self.buffers;
        recorder.plan().read_back(logits, 0, logits_read, 0, bytes);
        Ok(())
    }

    fn record_choice(
        &self,
        recorder: &mut Recorder<'_>,
        shape: Shape,
        finding: Finding,
    ) -> Result<(), Error> {
        let rows = self.rows_of_choice(shape);
        match &self.sampler {
            Some(sampler) => sampler.record(recorder, &self.buffers, rows, finding),
            None => Ok(()),
        }
    }

    fn record_guessed_choice(
        &self,
        recorder: &mut Recorder<'_>,
        shape: Shape,
        guessing: Guessing,
        finding: Finding,
    ) -> Result<(), Error> {
        let (Some(sampler), Some(log)) = (&self.sampler, &self.log) else {
            return Ok(());
        };
        let noting = log.noting(guessing.half, guessing.sequences);
        let rows = self.rows_of_guesses(shape);
        sampler.record_guesses(recorder, &self.buffers, rows, &noting, finding)
    }

    /// The rows that a plan of this shape chooses tokens for if they are guesses.
    pub(super) fn rows_of_guesses(&self, shape: Shape) -> u32 {
        self.rows_of(shape, self.log.as_ref().map_or(0, StateLog::rows))
    }

    /// The rows that a plan of this shape chooses tokens for.
    pub(super) fn rows_of_choice(&self, shape: Shape) -> u32 {
        self.rows_of(shape, self.states.slots())
    }

    fn rows_of(&self, shape: Shape, most: usize) -> u32 {
        shape.tokens().min(most as u32)
    }

    pub(super) fn layer_step<'a>(&'a self, index: usize, reading: Reading<'a>) -> LayerStep<'a> {
        let GpuModel { hp, weights, .. } = &*self.model;
        LayerStep {
            hp,
            weights: &weights.layers[index],
            index,
            buffers: &self.buffers,
            states: &self.states,
            reading,
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

/// The next power of four.
fn room(count: u32) -> u32 {
    match count {
        0 => 0,
        _ => count.next_power_of_two() << (count.next_power_of_two().ilog2() % 2),
    }
}

fn fitting_shape(tokens: usize, capacity: usize, matmul: MatmulKind) -> Shape {
    let fits = |most: u32| tokens <= most as usize && most as usize <= capacity;
    let most_columns = match matmul {
        MatmulKind::Coop { .. } => MOST_COLUMNS_BESIDE_COOP,
        MatmulKind::Exact { .. } | MatmulKind::Half { .. } => u32::MAX,
    };
    let mut columns = Matvec::COLUMNS
        .into_iter()
        .filter(|columns| *columns <= most_columns);
    if let Some(columns) = columns.find(|columns| fits(*columns)) {
        return Shape::Few { columns };
    }
    let planned = PLAN_TOKENS.into_iter().find(|most| fits(*most));
    Shape::Many {
        tokens: planned.unwrap_or(capacity as u32),
        matmul,
    }
}
