//! The plan for one token: five dispatches a layer, as every dispatch that waits for another costs as much as the work
//! of a small matrix.
//!
//! 1. norm, token shift, and the products with r, k, v and the first halves of the low-rank pairs;
//! 2. head by head: the second halves, the recurrence, the readout;
//! 3. the output matrix; 4. norm, token shift, the key matrix of channel mixing; 5. its value matrix.

use bytemuck::{Zeroable, bytes_of};
use thalweg_gpu::{Binding, Buffer, Feature, Work, Workgroups};
use thalweg_shaders::kernels::{
    Epilogue, FusedInput, FusedMatrix, FusedMatvec, Job, LowRankParams, NO_MIX, NormParams, Slot,
    TimeMixStep, TimeMixStepParams, pad_jobs,
};
use thalweg_shaders::{Encoding, VEC4_BYTES};

use super::activations::{Activations, padded};
use super::model;
use super::products::product_work;
use super::recorder::{Operation, Recorder};
use super::states::SlotState;
use super::storage::{Matrix, Part, Storage};
use super::tuning::RowSharing;
use super::weights::{Ends, Layer, LowRank, Vector, Weights};
use crate::{Error, Hyperparameters};

/// What the steps of one layer need to know.
pub(super) struct TokenStep<'a> {
    pub(super) hp: &'a Hyperparameters,
    pub(super) weights: &'a Layer,
    /// The layer's number, from 0.
    pub(super) index: usize,
    pub(super) buffers: &'a Activations,
    pub(super) state: SlotState<'a>,
}

/// One matrix of a dispatch: where its results go and what happens to them.
struct Output<'a> {
    matrix: &'a Matrix,
    mix: Option<Vector>,
    first: usize,
    epilogue: Epilogue,
}

/// Buffers and the norm of a dispatch.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) rows: Binding<'a>,
    pub(super) storage: &'a Storage,
    pub(super) vectors: Binding<'a>,
    pub(super) input: &'a Buffer,
    pub(super) output: &'a Buffer,
    pub(super) norm: Option<NormParams>,
    /// The normed row of the token before, and where that of this token goes.
    pub(super) shift: Option<[Binding<'a>; 2]>,
    /// Columns of the input.
    pub(super) columns: usize,
    /// Whether the kernel before has rounded the input, and whether this one is to round its results.
    pub(super) rounded: [bool; 2],
}

impl Recorder<'_> {
    /// Whether the device and the model's layout allow for the plan of this file.
    pub(super) fn fuses(&self, hp: &Hyperparameters, weights: &Weights) -> bool {
        let is_whole = |layer: &Layer| {
            let first = [&layer.receptance, &layer.key, &layer.value].into_iter();
            let down = layer.pairs().map(|pair| &pair.down);
            let up = layer.pairs().map(|pair| &pair.up);
            let limit = layer.storage.largest_binding;
            together(first.chain(down), limit).is_some()
                && together(up, limit).is_some()
                && [&layer.output, &layer.ffn_key, &layer.ffn_value]
                    .iter()
                    .all(|matrix| matrix.parts.len() == 1)
        };
        let limit = self.context().limits().workgroup_bytes;
        let fits = |(index, layer)| self.time_mix_step(index, layer).workgroup_bytes() <= limit;
        let mut layers = weights.layers.iter().enumerate();
        self.fuses_norm(hp.width) && weights.layers.iter().all(is_whole) && layers.all(fits)
    }

    /// Whether the device has the workgroup memory to norm a row of such a width before a product, in one dispatch.
    pub(super) fn fuses_norm(&self, width: usize) -> bool {
        let matrix = FusedMatrix {
            encoding: Encoding::F32,
            rows: width as u32,
        };
        let norm = self.fused(vec![matrix], width, FusedInput::NormShift);
        norm.workgroup_bytes() <= self.context().limits().workgroup_bytes
    }

    /// From the residual stream's row of the head to its logits, in one dispatch for each part of the matrix.
    pub(super) fn fused_head(
        &mut self,
        hp: &Hyperparameters,
        ends: &Ends,
        buffers: &Activations,
    ) -> Result<(), Error> {
        let width = hp.width as u32 / 4;
        let operands = Operands {
            rows: buffers.head_rows(),
            storage: &ends.storage,
            vectors: ends.norms(),
            input: &buffers.x,
            output: &buffers.logits,
            norm: Some(NormParams {
                weight: 2 * width,
                bias: 3 * width,
                epsilon: hp.layer_norm_eps,
                padding: 0,
            }),
            shift: None,
            columns: hp.width,
            rounded: [false, false],
        };
        for part in &ends.output.parts {
            let encoding = ends.output.encoding;
            let job = job(encoding, part, hp.width, part.offset);
            let job = Job {
                output: part.first_row as u32,
                ..job
            };
            self.fused_products(operands, vec![encoding], *part, vec![job])?;
        }
        Ok(())
    }

    fn fused_outputs(
        &mut self,
        operands: Operands<'_>,
        layer: &Layer,
        outputs: &[Output<'_>],
    ) -> Result<(), Error> {
        let limit = operands.storage.largest_binding;
        let matrices = outputs.iter().map(|output| output.matrix);
        let range = together(matrices, limit).ok_or_else(|| thalweg_gpu::Error::Internal {
            doing: "planning the products of one token".to_owned(),
            message: "their matrices do not lie in one binding".to_owned(), // `fuses` has looked
        })?;
        let encodings = outputs.iter().map(|output| output.matrix.encoding);
        let jobs = outputs.iter().map(|output| {
            let part = &output.matrix.parts[0];
            let job = job(output.matrix.encoding, part, operands.columns, range.offset);
            Job {
                mix: output.mix.map_or(NO_MIX, |mix| layer.vec4(mix)),
                output: output.first as u32,
                epilogue: output.epilogue as u32,
                ..job
            }
        });
        self.fused_products(operands, encodings.collect(), range, jobs.collect())
    }

    /// The products of jobs with matrices of these encodings, which lie in a range of the storage.
    pub(super) fn fused_products(
        &mut self,
        operands: Operands<'_>,
        encodings: Vec<Encoding>,
        range: Part,
        jobs: Vec<Job>,
    ) -> Result<(), Error> {
        let [is_rounded, rounds_output] = operands.rounded;
        let input = match (operands.norm, operands.shift) {
            (None, _) if is_rounded => FusedInput::Rounded,
            (None, _) => FusedInput::Plain,
            (Some(_), None) => FusedInput::Norm,
            (Some(_), Some(_)) => FusedInput::NormShift,
        };
        let matrices = encodings
            .iter()
            .zip(&jobs)
            .map(|(encoding, job)| FusedMatrix {
                encoding: *encoding,
                rows: job.rows,
            });
        let kernel = FusedMatvec {
            rounds_output,
            ..self.fused(matrices.collect(), operands.columns, input)
        };
        let workgroups = kernel.workgroups();
        let padded = pad_jobs(&jobs);
        let mut bindings = vec![
            operands.rows,
            Binding::Uniform(bytes_of(&padded)),
            operands.vectors,
            operands.storage.binding(&range),
            Binding::Buffer(operands.input),
            Binding::Buffer(operands.output),
        ];
        bindings.extend(
            operands
                .norm
                .as_ref()
                .map(|norm| Binding::Uniform(bytes_of(norm))),
        );
        bindings.extend(operands.shift.into_iter().flatten());
        let work = product_work(&jobs, 1);
        let operation = Operation::FusedMatvec(kernel);
        self.dispatch(operation, &bindings, Workgroups::Linear(workgroups), work)
    }

    /// The kernel for matrices of so many columns and, in all, rows.
    fn fused(&self, matrices: Vec<FusedMatrix>, columns: usize, input: FusedInput) -> FusedMatvec {
        let spans = padded(columns) as u32 / 32;
        let RowSharing {
            lanes,
            rows,
            workgroup,
            depth,
        } = match input {
            FusedInput::Norm => self.tuning.head,
            FusedInput::NormShift if matrices.len() > 1 => self.tuning.projections,
            FusedInput::NormShift => self.tuning.ffn_key,
            _ if matrices[0].rows as usize == columns => self.tuning.output,
            _ => self.tuning.ffn_value,
        };
        let [smallest, _] = self.context().adapter().subgroup_sizes;
        // Smaller subgroups than these had better leave it to workgroup memory.
        let shuffled = if self.has_subgroups(8) {
            smallest.min(32)
        } else {
            0
        };
        let floats = FusedMatvec {
            matrices,
            spans,
            input,
            shuffled,
            lanes,
            rows,
            workgroup,
            depth,
            integers: false,
            rounds_output: false,
        };
        let integers = FusedMatvec {
            integers: true,
            ..floats.clone()
        };
        let fits = integers.workgroup_bytes() <= self.context().limits().workgroup_bytes;
        match self.meets_integers() && fits {
            true => integers,
            false => floats,
        }
    }

    /// Whether matrices of integers meet integers.
    fn meets_integers(&self) -> bool {
        self.activations == model::Activations::Q8 && self.context().has(Feature::Dot4)
    }

    /// Whether the input of the output matrix is rounded where it is made, instead of by every workgroup that reads it.
    fn rounds_gated(&self, layer: &Layer) -> bool {
        self.meets_integers() && layer.output.encoding.has_integers()
    }

    /// Whether the input of the last product of channel mixing is rounded where it is made.
    fn rounds_ffn_hidden(&self, hp: &Hyperparameters, layer: &Layer) -> bool {
        let key = FusedMatrix {
            encoding: layer.ffn_key.encoding,
            rows: hp.ffn as u32,
        };
        let key = self.fused(vec![key], hp.width, FusedInput::NormShift);
        self.meets_integers() && layer.ffn_value.encoding.has_integers() && key.can_round_output()
    }

    /// The kernel between a layer's first products and its last.
    fn time_mix_step(&self, index: usize, layer: &Layer) -> TimeMixStep {
        let pairs = low_rank_pairs(index, layer);
        TimeMixStep {
            encodings: pairs.map(|pair| pair.map_or(Encoding::F32, |pair| pair.up.encoding)),
            spans: pairs
                .map(|pair| pair.map_or(0, |pair| pair.up.encoding.spans(pair.up.columns) as u32)),
            first_layer: index == 0,
            subgroup: self.step_subgroups(),
            rounds_output: self.rounds_gated(layer),
        }
    }

    /// Whether the step of time mixing runs on subgroups: it has workgroups of 512 there.
    fn step_subgroups(&self) -> bool {
        self.has_subgroups(TimeMixStep::LANES)
            && self.context().limits().workgroup_invocations >= 64 * TimeMixStep::LANES
    }
}

/// The low-rank pairs in the order of their hidden vectors. The first layer's values are blended towards nothing.
fn low_rank_pairs(index: usize, layer: &Layer) -> [Option<&LowRank>; 4] {
    [
        Some(&layer.decay),
        Some(&layer.iclr),
        layer.value_residual.as_ref().filter(|_| index > 0),
        Some(&layer.gate),
    ]
}

/// The bytes that hold all of the matrices, if one binding can.
fn together<'m>(matrices: impl IntoIterator<Item = &'m Matrix>, limit: u64) -> Option<Part> {
    let mut range: Option<Part> = None;
    for matrix in matrices {
        let [part] = matrix.parts.as_slice() else {
            return None;
        };
        range = Some(match range {
            None => *part,
            Some(range) => range.joined(part)?,
        });
    }
    range.filter(|range| range.bytes <= limit)
}

/// The product with a part, in a binding that begins at `binding_offset`.
pub(super) fn job(encoding: Encoding, part: &Part, columns: usize, binding_offset: u64) -> Job {
    Job {
        weights: ((part.offset - binding_offset) / VEC4_BYTES as u64) as u32,
        weights_stride: (encoding.row_bytes(columns) / VEC4_BYTES) as u32,
        rows: part.rows as u32,
        spans: encoding.spans(columns) as u32,
        mix: NO_MIX,
        ..Job::zeroed()
    }
}

impl TokenStep<'_> {
    /// Adds the layer's dispatches.
    pub(super) fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        self.projections(recorder)?;
        self.time_mix(recorder)?;
        let (buffers, weights) = (self.buffers, self.weights);
        let gated = Operands {
            rounded: [recorder.rounds_gated(weights), false],
            ..self.operands(&buffers.gated, &buffers.x, self.hp.width)
        };
        self.add_product(recorder, gated, &weights.output)?;
        self.channel_mix_key(recorder)?;
        let hidden = Operands {
            rounded: [recorder.rounds_ffn_hidden(self.hp, weights), false],
            ..self.operands(&buffers.ffn_hidden, &buffers.x, padded(self.hp.ffn))
        };
        self.add_product(recorder, hidden, &weights.ffn_value)
    }

    /// Norm, token shift, and the products with r, k, v and the first halves of the low-rank pairs.
    fn projections(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let (weights, width) = (self.weights, self.hp.width);
        let square = |matrix, mix, slot: Slot| Output {
            matrix,
            mix: Some(mix),
            first: slot as usize * width,
            epilogue: Epilogue::Store,
        };
        let value_slot = match self.index {
            0 => Slot::FirstValue,
            _ => Slot::Value,
        };
        let mut outputs = vec![
            square(&weights.receptance, Vector::MixReceptance, Slot::Receptance),
            square(&weights.key, Vector::MixKey, Slot::Key),
            square(&weights.value, Vector::MixValue, value_slot),
        ];
        let kinds = [
            (Vector::MixDecay, Epilogue::Tanh),
            (Vector::MixIclr, Epilogue::Store),
            (Vector::MixValue, Epilogue::Store),
            (Vector::MixGate, Epilogue::Sigmoid),
        ];
        let pairs = low_rank_pairs(self.index, self.weights)
            .into_iter()
            .zip(kinds)
            .zip(self.hidden());
        outputs.extend(pairs.filter_map(|((pair, (mix, epilogue)), first)| {
            Some(Output {
                matrix: &pair?.down,
                mix: Some(mix),
                first,
                epilogue,
            })
        }));
        let shift = [
            self.state.att_shift(self.index),
            self.state.next_att_shift(self.index),
        ];
        let norm = [Vector::AttNormWeight, Vector::AttNormBias];
        let operands = Operands {
            norm: Some(self.norm(norm)),
            shift: Some(shift),
            ..self.operands(&self.buffers.x, &self.buffers.mixed, width)
        };
        recorder.fused_outputs(operands, weights, &outputs)
    }

    /// The second halves of the low-rank pairs, the recurrence, the readout.
    fn time_mix(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let storage = &self.weights.storage;
        let ups = self.weights.pairs().map(|pair| &pair.up);
        let range =
            together(ups, storage.largest_binding).ok_or_else(|| thalweg_gpu::Error::Internal {
                doing: "planning the time mixing of one token".to_owned(),
                message: "the low-rank matrices do not lie in one binding".to_owned(), // `fuses` has looked
            })?;
        let pairs = low_rank_pairs(self.index, self.weights);
        let hidden = self.hidden();
        let low_rank = |index: usize| match pairs[index] {
            None => LowRankParams::zeroed(),
            Some(LowRank { up, .. }) => LowRankParams {
                weights: ((up.parts[0].offset - range.offset) / VEC4_BYTES as u64) as u32,
                stride: (up.encoding.row_bytes(up.columns) / VEC4_BYTES) as u32,
                hidden: hidden[index] as u32 / 4,
                padding: 0,
            },
        };
        let element = |vector| self.weights.element(vector);
        let params = TimeMixStepParams {
            pairs: std::array::from_fn(low_rank),
            slot_stride: self.hp.width as u32 / 4,
            decay_bias: element(Vector::DecayBias),
            iclr_bias: element(Vector::IclrBias),
            value_bias: element(Vector::ValueBias),
            k_k: element(Vector::RemovalKey),
            k_a: element(Vector::KeyScale),
            r_k: element(Vector::Bonus),
            norm_weight: element(Vector::GroupNormWeight),
            norm_bias: element(Vector::GroupNormBias),
            padding: [0; 3],
        };
        let kernel = recorder.time_mix_step(self.index, self.weights);
        let bindings = [
            Binding::Uniform(bytes_of(&params)),
            self.weights.vectors(),
            storage.binding(&range),
            Binding::Buffer(&self.buffers.mixed),
            self.state.wkv(self.index),
            Binding::Buffer(&self.buffers.gated),
        ];
        let state_numbers = (self.hp.width * self.hp.head_size) as f64;
        let work = Work {
            flops: 10.0 * state_numbers,
            bytes: 8.0 * state_numbers + range.bytes as f64,
        };
        let grid = Workgroups::Grid(kernel.workgroups(self.hp.heads as u32));
        recorder.dispatch(Operation::TimeMixStep(kernel), &bindings, grid, work)
    }

    fn channel_mix_key(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let output = Output {
            matrix: &self.weights.ffn_key,
            mix: Some(Vector::MixFfn),
            first: 0,
            epilogue: Epilogue::ReluSquared,
        };
        let shift = [
            self.state.ffn_shift(self.index),
            self.state.next_ffn_shift(self.index),
        ];
        let norm = [Vector::FfnNormWeight, Vector::FfnNormBias];
        let operands = Operands {
            norm: Some(self.norm(norm)),
            shift: Some(shift),
            rounded: [false, recorder.rounds_ffn_hidden(self.hp, self.weights)],
            ..self.operands(&self.buffers.x, &self.buffers.ffn_hidden, self.hp.width)
        };
        recorder.fused_outputs(operands, self.weights, &[output])
    }

    /// Adds a product to the residual stream.
    fn add_product(
        &self,
        recorder: &mut Recorder<'_>,
        operands: Operands<'_>,
        matrix: &Matrix,
    ) -> Result<(), Error> {
        let output = Output {
            matrix,
            mix: None,
            first: 0,
            epilogue: Epilogue::Add,
        };
        recorder.fused_outputs(operands, self.weights, &[output])
    }

    fn operands<'b>(
        &'b self,
        input: &'b Buffer,
        output: &'b Buffer,
        columns: usize,
    ) -> Operands<'b> {
        Operands {
            rows: self.buffers.rows(),
            storage: &self.weights.storage,
            vectors: self.weights.vectors(),
            input,
            output,
            norm: None,
            shift: None,
            columns,
            rounded: [false, false],
        }
    }

    fn norm(&self, [weight, bias]: [Vector; 2]) -> NormParams {
        NormParams {
            weight: self.weights.vec4(weight),
            bias: self.weights.vec4(bias),
            epsilon: self.hp.layer_norm_eps,
            padding: 0,
        }
    }

    /// Where the hidden vectors of one token lie: behind the slots, in the same buffer.
    fn hidden(&self) -> [usize; 4] {
        let behind_slots = Slot::COUNT as usize * self.hp.width;
        self.buffers
            .hidden_of_one_token()
            .map(|first| behind_slots + first)
    }
}
