//! The steps of a layer: 8 dispatches of time mixing, 6 if no sequence has more than one token, and 3 of channel mixing, and one
//! more for each encoding beyond the first among the matrices that are multiplied together. What lies between the low-rank products
//! and the last one of time mixing is in `recurrence`.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Buffer, Workgroups};
use thalweg_shaders::kernels::{Epilogue, HIDDEN_SCALE, NormMix, NormMixParams, Number, Slot};

use super::activations::{Activations, Pair, padded};
use super::arrangement::Sequences;
use super::log::Noting;
use super::products::{Operands, Product, Rows};
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

impl LayerStep<'_> {
    /// Adds time mixing to the residual stream.
    pub(super) fn time_mix(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        self.time_mix_branch(recorder)?;
        self.time_mix_output(recorder, &self.buffers.x)
    }

    /// Adds channel mixing to the residual stream.
    pub(super) fn channel_mix(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        self.channel_mix_branch(recorder)?;
        self.channel_mix_output(recorder, &self.buffers.x)
    }

    /// Time mixing up to its last product.
    pub(super) fn time_mix_branch(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let norm = [Vector::AttNormWeight, Vector::AttNormBias];
        self.norm_mix(recorder, norm, &Vector::ATT_MIXES, Branch::TimeMix)?;
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
        let product = Product::new(&self.weights.output, self.width_rows(), self.width_rows());
        self.branch_output(recorder, product, &self.buffers.gated, 1.0, out)
    }

    /// Channel mixing up to its last product.
    pub(super) fn channel_mix_branch(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let buffers = self.buffers;
        let norm = [Vector::FfnNormWeight, Vector::FfnNormBias];
        self.norm_mix(recorder, norm, &[Vector::MixFfn], Branch::ChannelMix)?;
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
        let product = Product::new(&self.weights.ffn_value, self.ffn_rows(), self.width_rows());
        // Squared relus that are stored as f16 are scaled.
        let scale = match recorder.shape.operand() {
            Number::F16 => 1.0 / HIDDEN_SCALE,
            Number::F32 => 1.0,
        };
        self.branch_output(recorder, product, &self.buffers.ffn_hidden, scale, out)
    }

    /// A branch's last product, `scale` times what the matrix gives, added to `out`.
    fn branch_output(
        &self,
        recorder: &mut Recorder<'_>,
        product: Product<'_>,
        input: &Buffer,
        scale: f32,
        out: &Buffer,
    ) -> Result<(), Error> {
        let epilogue = match scale {
            1.0 => Epilogue::Add,
            _ => Epilogue::AddUnscaled,
        };
        let product = Product {
            epilogue,
            ..product
        };
        recorder.products(self.operands(input, out, Number::F32), &[product])
    }

    /// Norms x and mixes every row with its predecessor, once for each of `mixes`.
    fn norm_mix(
        &self,
        recorder: &mut Recorder<'_>,
        [weight, bias]: [Vector; 2],
        mixes: &[Vector],
        branch: Branch,
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
            padding: 0,
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
        let kernel = NormMix {
            width,
            mixes: mixes.len() as u32,
            output: recorder.shape.operand(),
            guessed: matches!(self.reading, Reading::Guesses(_)),
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
        let operands = self.operands(&buffers.mixes, &buffers.mixed, Number::F32);
        recorder.products(operands, &squares)?;

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
        let output = recorder.shape.operand();
        let operands = self.operands(&buffers.mixes, buffers.hidden_as(output), output);
        recorder.products(operands, &halves)
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
