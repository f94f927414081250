//! The steps of a layer: 8 dispatches of time mixing and 3 of channel mixing, and one more for each encoding beyond the
//! first among the matrices that are multiplied together.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Buffer, Work, Workgroups};
use thalweg_shaders::kernels::{
    Epilogue, LayerNorm, LayerNormParams, Readout, RemovalKey, Slot, TimeMixParams,
};

use super::activations::{Activations, Pair, padded};
use super::products::{Operands, Product, Rows};
use super::recorder::{Operation, Recorder};
use super::session::DeviceState;
use super::weights::{Layer, Vector};
use crate::{Error, Hyperparameters};

/// What the steps of one layer need to know.
pub(super) struct LayerStep<'a> {
    pub(super) hp: &'a Hyperparameters,
    pub(super) weights: &'a Layer,
    /// The layer's number, from 0.
    pub(super) index: usize,
    pub(super) buffers: &'a Activations,
    pub(super) state: &'a DeviceState,
}

impl LayerStep<'_> {
    /// Adds time mixing to the residual stream.
    pub(super) fn time_mix(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        self.time_mix_branch(recorder)?;
        self.time_mix_output(recorder, Epilogue::Add, &self.buffers.x)
    }

    /// Adds channel mixing to the residual stream.
    pub(super) fn channel_mix(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        self.channel_mix_branch(recorder)?;
        self.channel_mix_output(recorder, Epilogue::Add, &self.buffers.x)
    }

    /// Time mixing up to its last product.
    pub(super) fn time_mix_branch(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let shift = self.state.att_shift(self.index);
        let norm = [Vector::AttNormWeight, Vector::AttNormBias];
        self.shifted_norm(recorder, norm, shift)?;
        self.projections(recorder)?;
        self.low_rank_products(recorder)?;
        self.recurrence(recorder)
    }

    /// The last product of time mixing, into `out`, `[tokens, width]`.
    pub(super) fn time_mix_output(
        &self,
        recorder: &mut Recorder<'_>,
        epilogue: Epilogue,
        out: &Buffer,
    ) -> Result<(), Error> {
        let rows = self.width_rows();
        let output = Product {
            epilogue,
            ..Product::new(&self.weights.output, rows, rows)
        };
        recorder.products(self.operands(&self.buffers.gated, out), &[output])
    }

    /// Channel mixing up to its last product.
    pub(super) fn channel_mix_branch(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let buffers = self.buffers;
        let shift = self.state.ffn_shift(self.index);
        let norm = [Vector::FfnNormWeight, Vector::FfnNormBias];
        self.shifted_norm(recorder, norm, shift)?;
        let key = Product {
            mix: Some(self.weights.element(Vector::MixFfn)),
            epilogue: Epilogue::ReluSquared,
            ..Product::new(&self.weights.ffn_key, self.normed(), self.ffn_rows())
        };
        recorder.products(self.operands(&buffers.normed, &buffers.ffn_hidden), &[key])
    }

    /// The last product of channel mixing, into `out`, `[tokens, width]`.
    pub(super) fn channel_mix_output(
        &self,
        recorder: &mut Recorder<'_>,
        epilogue: Epilogue,
        out: &Buffer,
    ) -> Result<(), Error> {
        let (hidden, rows) = (self.ffn_rows(), self.width_rows());
        let value = Product {
            epilogue,
            ..Product::new(&self.weights.ffn_value, hidden, rows)
        };
        recorder.products(self.operands(&self.buffers.ffn_hidden, out), &[value])
    }

    fn shifted_norm(
        &self,
        recorder: &mut Recorder<'_>,
        [weight, bias]: [Vector; 2],
        shift: Binding<'_>,
    ) -> Result<(), Error> {
        let params = LayerNormParams {
            width: self.hp.width as u32 / 4,
            weight: self.weights.vec4(weight),
            bias: self.weights.vec4(bias),
            epsilon: self.hp.layer_norm_eps,
        };
        let bindings = [
            self.buffers.rows(),
            Binding::Uniform(bytes_of(&params)),
            self.weights.vectors(),
            Binding::Buffer(&self.buffers.x),
            Binding::Buffer(&self.buffers.normed),
            shift,
        ];
        let workgroups = LayerNorm { shift: true }.workgroups(recorder.shape.tokens());
        let work = recorder.row_work(self.hp.width);
        recorder.dispatch(
            Operation::ShiftedLayerNorm,
            &bindings,
            Workgroups::Grid(workgroups),
            work,
        )
    }

    /// r, k, v, and the first halves of the low-rank pairs.
    fn projections(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let (weights, buffers) = (self.weights, self.buffers);
        let mixed_by = |mix, product| Product {
            mix: Some(weights.element(mix)),
            ..product
        };
        let square =
            |matrix, slot, mix| mixed_by(mix, Product::new(matrix, self.normed(), self.slot(slot)));
        let squares = [
            square(&weights.receptance, Slot::Receptance, Vector::MixReceptance),
            square(&weights.key, Slot::Key, Vector::MixKey),
            square(&weights.value, self.value_slot(), Vector::MixValue),
        ];
        recorder.products(self.operands(&buffers.normed, &buffers.mixed), &squares)?;

        let down = |matrix, which, mix, epilogue| Product {
            epilogue,
            ..mixed_by(mix, Product::new(matrix, self.normed(), self.hidden(which)))
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
        recorder.products(self.operands(&buffers.normed, &buffers.hidden), &halves)
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
        recorder.products(self.operands(&buffers.hidden, &buffers.mixed), &halves)
    }

    /// The removal key, the recurrence, the readout.
    fn recurrence(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let buffers = self.buffers;
        let (width, tokens) = (self.hp.width as u32, recorder.shape.tokens());
        let params = self.time_mix_params();
        let (rows, params) = (buffers.rows(), Binding::Uniform(bytes_of(&params)));
        let vectors = self.weights.vectors();
        let (mixed, y) = (Binding::Buffer(&buffers.mixed), Binding::Buffer(&buffers.y));

        let work = recorder.row_work(4 * self.hp.width);
        let grid = Workgroups::Grid(RemovalKey.workgroups(width, tokens));
        recorder.dispatch(
            Operation::RemovalKey,
            &[rows, params, vectors, mixed],
            grid,
            work,
        )?;

        let state = self.state.wkv(self.index);
        let grid = Workgroups::Grid(recorder.recurrence().workgroups(self.hp.heads as u32));
        let state_numbers = (self.hp.width * self.hp.head_size) as f64;
        let updates = Work {
            flops: 10.0 * state_numbers * f64::from(tokens),
            bytes: 8.0 * state_numbers,
        };
        recorder.dispatch(
            Operation::Wkv7,
            &[rows, params, mixed, state, y],
            grid,
            updates + work,
        )?;

        let gated = Binding::Buffer(&buffers.gated);
        let grid = Workgroups::Grid(Readout.workgroups(width, tokens));
        recorder.dispatch(
            Operation::Readout,
            &[rows, params, vectors, mixed, y, gated],
            grid,
            work,
        )
    }

    fn time_mix_params(&self) -> TimeMixParams {
        let vec4 = |vector| self.weights.vec4(vector);
        TimeMixParams {
            slot_stride: (self.buffers.capacity * self.hp.width / 4) as u32,
            width: self.hp.width as u32 / 4,
            value_slot: self.value_slot() as u32,
            k_k: vec4(Vector::RemovalKey),
            k_a: vec4(Vector::KeyScale),
            r_k: vec4(Vector::Bonus),
            norm_weight: vec4(Vector::GroupNormWeight),
            norm_bias: vec4(Vector::GroupNormBias),
        }
    }

    /// Layer 0's values are the first values.
    pub(super) fn value_slot(&self) -> Slot {
        if self.index == 0 {
            Slot::FirstValue
        } else {
            Slot::Value
        }
    }

    fn operands<'b>(&'b self, input: &'b Buffer, output: &'b Buffer) -> Operands<'b> {
        let (rows, vectors) = (self.buffers.rows(), self.weights.vectors());
        Operands {
            rows,
            vectors,
            storage: &self.weights.storage,
            input,
            output,
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

    /// The normed tokens, each below its predecessor.
    fn normed(&self) -> Rows {
        Rows {
            first: self.hp.width,
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
