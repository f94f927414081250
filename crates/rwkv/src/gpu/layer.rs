//! The steps of a layer: 8 dispatches of time mixing, 6 if no sequence has more than one token, and 3 of channel mixing; one more for
//! each encoding beyond the first among the matrices that are multiplied together, and for products made in parts, which something
//! must add up. On cooperative matrices, products in parts may have two encodings. What lies between the low-rank products
//! and the last one of time mixing is in `recurrence`.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Buffer, Workgroups};
use thalweg_shaders::kernels::{
    Epilogue, HIDDEN_SCALE, NormMix, NormMixParams, NormRows, Number, Slot,
};

use super::activations::{Activations, Pair, padded};
use super::arrangement::Sequences;
use super::log::Noting;
use super::products::{Operands, Output, Pending, Product, Rows};
use super::recorder::{Operation, Recorder};
use super::states::{Branch, DeviceStates};
use super::weights::{Layer, Vector};
use crate::{Error, Hyperparameters};

/// What the steps of one layer need to know.
pub(super) struct LayerStep<'a> {
    pub(super) hp: &'a Hyperparameters,
    pub(super) weights: &'a Layer,
    /// The layer's number, from 0.
    pub(super) index: usize,
    pub(super) buffers: &'a Activations,
    pub(super) states: &'a DeviceStates,
    pub(super) reading: Reading<'a>,
}

/// What the rows of a step are to their sequences.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading<'a> {
    /// What comes next, in as many sequences as there may be. The states move on.
    Tokens(Sequences),
    /// What perhaps comes next. The states stay, and a log notes what they would become.
    Guesses(Noting<'a>),
}

impl Reading<'_> {
    /// Whether every sequence has one token, which is read for good.
    pub(super) fn is_single(self) -> bool {
        matches!(self, Reading::Tokens(Sequences { longer: 0, .. }))
    }
}

/// The last product of a branch.
struct LastProduct<'a> {
    product: Product<'a>,
    input: &'a Buffer,
    /// What its input was multiplied by, and it is divided by.
    scale: f32,
}

impl<'a> LastProduct<'a> {
    /// As it is added to a residual stream.
    fn product(&self) -> Product<'a> {
        let epilogue = match self.scale {
            1.0 => Epilogue::Add,
            _ => Epilogue::AddUnscaled,
        };
        Product {
            epilogue,
            ..self.product
        }
    }
}

/// The last product of a branch, left in parts for the norm that comes next, which adds it to the residual stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingBranch {
    product: Pending,
    /// What it is to be divided by.
    scale: f32,
}

impl LayerStep<'_> {
    /// Adds time mixing and channel mixing to the residual stream.
    ///
    /// `before` is what the layer before has left to be added to it first. If this one `leaves` its own so, that is returned. Both
    /// are for steps of [single tokens](Reading::is_single) alone.
    pub(super) fn mix(
        &self,
        recorder: &mut Recorder<'_>,
        before: Option<PendingBranch>,
        leaves: bool,
    ) -> Result<Option<PendingBranch>, Error> {
        let x = &self.buffers.x;
        self.time_mix_branch(recorder, before)?;
        let between = match self.reading.is_single() {
            true => self.pending(recorder, self.time_mix_last(), x)?,
            false => {
                self.time_mix_output(recorder, x)?;
                None
            }
        };
        self.channel_mix_branch(recorder, between)?;
        if leaves {
            return self.pending(recorder, self.channel_mix_last(recorder), x);
        }
        self.channel_mix_output(recorder, x)?;
        Ok(None)
    }

    /// Time mixing up to its last product.
    pub(super) fn time_mix_branch(
        &self,
        recorder: &mut Recorder<'_>,
        before: Option<PendingBranch>,
    ) -> Result<(), Error> {
        let norm = [Vector::AttNormWeight, Vector::AttNormBias];
        let mixes = &Vector::ATT_MIXES;
        self.norm_mix(recorder, norm, mixes, Branch::TimeMix, before)?;
        self.projections(recorder)?;
        self.low_rank_products(recorder)?;
        self.recurrence(recorder)
    }

    /// The last product of time mixing, added to `out`, `[tokens, width]`.
    pub(super) fn time_mix_output(
        &self,
        recorder: &mut Recorder<'_>,
        out: &Buffer,
    ) -> Result<(), Error> {
        self.output(recorder, self.time_mix_last(), out)
    }

    fn time_mix_last(&self) -> LastProduct<'_> {
        LastProduct {
            product: Product::new(&self.weights.output, self.width_rows(), self.width_rows()),
            input: &self.buffers.gated,
            scale: 1.0,
        }
    }

    /// Channel mixing up to its last product.
    pub(super) fn channel_mix_branch(
        &self,
        recorder: &mut Recorder<'_>,
        before: Option<PendingBranch>,
    ) -> Result<(), Error> {
        let buffers = self.buffers;
        let norm = [Vector::FfnNormWeight, Vector::FfnNormBias];
        let mixes = &[Vector::MixFfn];
        self.norm_mix(recorder, norm, mixes, Branch::ChannelMix, before)?;
        let key = Product {
            epilogue: Epilogue::ReluSquared,
            ..Product::new(&self.weights.ffn_key, self.mixture(0), self.ffn_rows())
        };
        let output = recorder.shape.operand();
        let operands = self.operands(&buffers.mixes, &buffers.ffn_hidden, output);
        recorder.products(operands, &[key])
    }

    /// The last product of channel mixing, added to `out`, `[tokens, width]`.
    pub(super) fn channel_mix_output(
        &self,
        recorder: &mut Recorder<'_>,
        out: &Buffer,
    ) -> Result<(), Error> {
        self.output(recorder, self.channel_mix_last(recorder), out)
    }

    fn channel_mix_last(&self, recorder: &Recorder<'_>) -> LastProduct<'_> {
        LastProduct {
            product: Product::new(&self.weights.ffn_value, self.ffn_rows(), self.width_rows()),
            input: &self.buffers.ffn_hidden,
            // Squared relus that are stored as f16 are scaled.
            scale: match recorder.shape.operand() {
                Number::F16 => HIDDEN_SCALE,
                Number::F32 => 1.0,
            },
        }
    }

    /// A branch's last product, added to `out`.
    fn output(
        &self,
        recorder: &mut Recorder<'_>,
        last: LastProduct<'_>,
        out: &Buffer,
    ) -> Result<(), Error> {
        recorder.products(
            self.operands(last.input, out, Number::F32),
            &[last.product()],
        )
    }

    /// Likewise, but left in parts where it is made in parts.
    fn pending(
        &self,
        recorder: &mut Recorder<'_>,
        last: LastProduct<'_>,
        out: &Buffer,
    ) -> Result<Option<PendingBranch>, Error> {
        let operands = self.operands(last.input, out, Number::F32);
        let pending = recorder.pending_product(operands, last.product())?;
        Ok(pending.map(|product| PendingBranch {
            product,
            scale: last.scale,
        }))
    }

    /// Norms x, to which `before` is added, and mixes every row with its predecessor, once for each of `mixes`.
    fn norm_mix(
        &self,
        recorder: &mut Recorder<'_>,
        [weight, bias]: [Vector; 2],
        mixes: &[Vector],
        branch: Branch,
        before: Option<PendingBranch>,
    ) -> Result<(), Error> {
        let width = self.hp.width as u32 / 4;
        let params = NormMixParams {
            weight: self.weights.vec4(weight),
            bias: self.weights.vec4(bias),
            epsilon: self.hp.layer_norm_eps,
            mixes: self.weights.vec4(mixes[0]),
            mix_stride: self.buffers.capacity as u32 * width,
            shift: self.index as u32 * width,
            slot_stride: self.hp.layers as u32 * width,
            part_stride: before.map_or(0, |before| before.product.part_stride),
            part_scale: before.map_or(1.0, |before| before.scale),
            padding: [0; 3],
        };
        let mut bindings = vec![
            self.buffers.rows(),
            Binding::Uniform(bytes_of(&params)),
            self.weights.vectors(),
            Binding::Buffer(&self.buffers.x),
            Binding::Buffer(&self.buffers.mixes),
            self.states.shifts(branch),
            self.buffers.links(),
        ];
        if let Reading::Guesses(noting) = &self.reading {
            bindings.extend(noting.shifts(branch));
        }
        if before.is_some() {
            bindings.push(Binding::Buffer(&self.buffers.parts));
        }
        let kernel = NormMix {
            width,
            mixes: mixes.len() as u32,
            output: recorder.shape.operand(),
            rows: match (before, &self.reading) {
                (Some(before), _) => NormRows::Single {
                    parts: before.product.parts,
                },
                (None, Reading::Tokens(_)) => NormRows::Any,
                (None, Reading::Guesses(_)) => NormRows::Guessed,
            },
            workgroup: recorder.row_workgroup(width),
        };
        let workgroups = kernel.workgroups(recorder.shape.tokens());
        let work = recorder.row_work(self.hp.width * (1 + mixes.len()));
        let operation = Operation::NormMix(kernel);
        recorder.dispatch(operation, &bindings, Workgroups::Grid(workgroups), work)
    }

    /// r, k, v, and the first halves of the low-rank pairs.
    fn projections(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let (weights, buffers) = (self.weights, self.buffers);
        let square = |matrix, slot, mix| {
            let input = self.mixture(mix as usize - Vector::ATT_MIXES[0] as usize);
            Product::new(matrix, input, self.slot(slot))
        };
        let squares = [
            square(&weights.receptance, Slot::Receptance, Vector::MixReceptance),
            square(&weights.key, Slot::Key, Vector::MixKey),
            square(&weights.value, self.value_slot(), Vector::MixValue),
        ];
        let down = |matrix, which, mix, epilogue| {
            let input = self.mixture(mix as usize - Vector::ATT_MIXES[0] as usize);
            Product {
                epilogue,
                ..Product::new(matrix, input, self.hidden(which))
            }
        };
        let mut halves = vec![
            down(
                &weights.decay.down,
                Pair::Decay,
                Vector::MixDecay,
                Epilogue::Tanh,
            ),
            down(
                &weights.iclr.down,
                Pair::Iclr,
                Vector::MixIclr,
                Epilogue::Store,
            ),
            down(
                &weights.gate.down,
                Pair::Gate,
                Vector::MixGate,
                Epilogue::Sigmoid,
            ),
        ];
        if let Some(pair) = &weights.value_residual {
            halves.push(down(
                &pair.down,
                Pair::ValueResidual,
                Vector::MixValue,
                Epilogue::Store,
            ));
        }
        let operands = self.operands(&buffers.mixes, &buffers.mixed, Number::F32);
        let stored_as = recorder.shape.operand();
        let hidden = Output {
            buffer: buffers.hidden_as(stored_as),
            stored_as,
        };
        recorder.products_beside(operands, &squares, hidden, &halves)
    }

    /// The second halves: decay, in-context learning rate, gate, and the value blended towards the first layer's.
    fn low_rank_products(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let (weights, buffers) = (self.weights, self.buffers);
        let up = |matrix, which, slot, epilogue, bias| Product {
            epilogue,
            bias: weights.element(bias),
            first_value: self.slot(Slot::FirstValue).first,
            ..Product::new(matrix, self.hidden(which), self.slot(slot))
        };
        let mut halves = vec![
            up(
                &weights.decay.up,
                Pair::Decay,
                Slot::Decay,
                Epilogue::Decay,
                Vector::DecayBias,
            ),
            up(
                &weights.iclr.up,
                Pair::Iclr,
                Slot::Iclr,
                Epilogue::Iclr,
                Vector::IclrBias,
            ),
            up(
                &weights.gate.up,
                Pair::Gate,
                Slot::Gate,
                Epilogue::Store,
                Vector::DecayBias,
            ), // has no bias
        ];
        if let Some(pair) = &weights.value_residual {
            halves.push(up(
                &pair.up,
                Pair::ValueResidual,
                Slot::Value,
                Epilogue::ValueResidual,
                Vector::ValueBias,
            ));
        }
        let hidden = buffers.hidden_as(recorder.shape.operand());
        let operands = self.operands(hidden, &buffers.mixed, Number::F32);
        recorder.products(operands, &halves)
    }

    /// Layer 0's values are the first values.
    pub(super) fn value_slot(&self) -> Slot {
        if self.index == 0 {
            Slot::FirstValue
        } else {
            Slot::Value
        }
    }

    fn operands<'b>(
        &'b self,
        input: &'b Buffer,
        output: &'b Buffer,
        stored_as: Number,
    ) -> Operands<'b> {
        let (rows, vectors) = (self.buffers.rows(), self.weights.vectors());
        Operands {
            rows,
            vectors,
            storage: &self.weights.storage,
            input,
            output,
            stored_as,
            parts: &self.buffers.parts,
        }
    }

    fn width_rows(&self) -> Rows {
        Rows {
            first: 0,
            stride: self.hp.width,
        }
    }

    fn ffn_rows(&self) -> Rows {
        Rows {
            first: 0,
            stride: padded(self.hp.ffn),
        }
    }

    /// A mixture of the normed tokens and their predecessors.
    fn mixture(&self, index: usize) -> Rows {
        Rows {
            first: index * self.buffers.capacity * self.hp.width,
            stride: self.hp.width,
        }
    }

    fn slot(&self, slot: Slot) -> Rows {
        Rows {
            first: slot as usize * self.buffers.capacity * self.hp.width,
            stride: self.hp.width,
        }
    }

    fn hidden(&self, pair: Pair) -> Rows {
        let (first, stride) = self.buffers.hidden(pair);
        Rows { first, stride }
    }
}
