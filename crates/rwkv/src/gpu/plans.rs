//! The plans of a batch: which step takes which, and what they are made of.

use thalweg_gpu::Plan;
use thalweg_shaders::kernels::Matvec;

use super::activations::Activations;
use super::arrangement::{Arrangement, Sequences};
use super::batch::GpuBatch;
use super::decode::TokenStep;
use super::layer::LayerStep;
use super::model::GpuModel;
use super::recorder::{MatmulKind, Recorder, Shape};
use crate::{Error, Part};

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
