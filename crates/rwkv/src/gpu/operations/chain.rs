//! The dispatches of operations, fused and unfused.

use bytemuck::{Zeroable, bytes_of};
use thalweg_gpu::{Binding, Buffer, Work, Workgroups};
use thalweg_shaders::kernels::{
    AddParts, AddPartsParams, Epilogue, Job, NO_MIX, NormMix, NormMixParams, NormParams, NormRows,
    Number, Slot, TimeMixParams, Unfused, UnfusedOperation, UnfusedParams, pad_jobs,
};

use super::super::activations::padded;
use super::super::decode;
use super::super::products::{Operands, Product, Rows};
use super::super::recorder::{self, Recorder, Shape};
use super::super::storage::Matrix;
use super::room::{Room, Vector, Weights};
use crate::Error;
use crate::operations::{Form, Kind, SOFTMAX_WIDTH, Sizes, Weight};

/// Mixtures of time mixing.
const MIXES: u32 = 6;

/// What the dispatches of one repetition bind.
pub(super) struct Chain<'a> {
    pub(super) sizes: &'a Sizes,
    pub(super) room: &'a Room,
    pub(super) weights: &'a Weights,
}

/// What happens to the row before a product of one token, in the same dispatch.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Norm,
    NormShift,
}

impl Chain<'_> {
    /// Adds the dispatches of the operation.
    pub(super) fn record(
        &self,
        recorder: &mut Recorder<'_>,
        kind: Kind,
        form: Form,
    ) -> Result<(), Error> {
        let room = self.room;
        let [first, second] = &room.between;
        let fused = form == Form::Fused;
        match kind {
            Kind::Nothing => self.step(recorder),
            Kind::Softmax => self.softmax(recorder),
            Kind::LayerNorm => self.layer_norm(recorder),
            Kind::GroupNorm => {
                let buffers = [&room.x, first];
                self.of_readout(recorder, UnfusedOperation::GroupNorm, Number::F32, buffers)
            }
            Kind::TokenShift => self.token_shift(recorder, &room.x, 0),
            Kind::NormShifts if fused => self.norm_mix(recorder),
            Kind::NormShifts => {
                self.layer_norm(recorder)?;
                (0..MIXES).try_for_each(|index| self.token_shift(recorder, first, index))
            }
            Kind::Readout if fused => {
                let buffers = [&room.x, &room.mixtures];
                self.by_heads(
                    recorder,
                    recorder::Operation::Readout,
                    [true, true],
                    buffers,
                )
            }
            Kind::Readout => {
                use UnfusedOperation::{Bonus, Gate, GroupNorm};
                let output = recorder.shape.operand();
                self.of_readout(recorder, GroupNorm, Number::F32, [&room.x, first])?;
                self.of_readout(recorder, Bonus, Number::F32, [first, second])?;
                self.of_readout(recorder, Gate, output, [second, &room.mixtures])
            }
            Kind::LowRank(_) => self.low_rank(recorder, fused),
            Kind::Product(weight) => {
                self.product(recorder, weight, &room.operands, &room.out, Epilogue::Store)
            }
            Kind::ProductAdd if fused => {
                let (weight, to) = (Weight::FfnValue, &room.residual);
                self.product(recorder, weight, &room.operands, to, Epilogue::Add)
            }
            Kind::ProductAdd => {
                let weight = Weight::FfnValue;
                self.product(recorder, weight, &room.operands, first, Epilogue::Store)?;
                let rows = self.sizes.hp.width;
                self.finish(recorder, rows, [first, &room.residual], Epilogue::Add)
            }
            Kind::ChannelMixKey if fused => {
                let before = Before::NormShift;
                self.product_of_one(
                    recorder,
                    before,
                    [&room.x, &room.out],
                    Epilogue::ReluSquared,
                )
            }
            Kind::ChannelMixKey => {
                self.layer_norm(recorder)?;
                self.token_shift(recorder, first, 0)?;
                let weight = Weight::FfnKey;
                self.product(recorder, weight, &room.mixtures, second, Epilogue::Store)?;
                let rows = self.sizes.hp.ffn;
                self.finish(recorder, rows, [second, &room.out], Epilogue::ReluSquared)
            }
            Kind::Head if fused => {
                let buffers = [&room.x, &room.out];
                self.product_of_one(recorder, Before::Norm, buffers, Epilogue::Store)
            }
            Kind::Head => {
                self.layer_norm(recorder)?;
                self.product(recorder, Weight::Head, first, &room.out, Epilogue::Store)
            }
        }
    }

    fn step(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let bindings = [Binding::Buffer(&self.room.out)];
        let grid = Workgroups::Linear(1);
        recorder.dispatch(recorder::Operation::Step, &bindings, grid, Work::default())
    }

    fn softmax(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let params = UnfusedParams {
            width: SOFTMAX_WIDTH as u32 / 4,
            mix: 0,
            padding: [0; 2],
        };
        let bindings = [
            self.rows(),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&self.room.x),
            Binding::Buffer(&self.room.out),
        ];
        let kernel = Unfused {
            operation: UnfusedOperation::Softmax,
            output: Number::F32,
        };
        self.unfused(recorder, kernel, &bindings)
    }

    /// From x to the first buffer between.
    fn layer_norm(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let norm = (self.vectors(), self.vec4(Vector::NormWeight));
        let buffers = [&self.room.x, &self.room.between[0]];
        recorder.layer_norm(&self.sizes.hp, self.rows(), norm, buffers)
    }

    /// From a buffer to one of the mixtures.
    fn token_shift(
        &self,
        recorder: &mut Recorder<'_>,
        from: &Buffer,
        index: u32,
    ) -> Result<(), Error> {
        let width = self.sizes.hp.width as u32 / 4;
        let operand = recorder.shape.operand();
        let bytes = match operand {
            Number::F32 => 16,
            Number::F16 => 8,
        } * u64::from(self.room.tokens as u32 * width);
        let params = UnfusedParams {
            width,
            mix: self.vec4(Vector::Mixes) + index * width,
            padding: [0; 2],
        };
        let bindings = [
            self.rows(),
            Binding::Uniform(bytes_of(&params)),
            self.vectors(),
            Binding::Buffer(from),
            Binding::Buffer(&self.room.shifts[0]),
            Binding::Part {
                buffer: &self.room.mixtures,
                offset: u64::from(index) * bytes,
                bytes,
            },
        ];
        let kernel = Unfused {
            operation: UnfusedOperation::TokenShift,
            output: operand,
        };
        self.unfused(recorder, kernel, &bindings)
    }

    /// Layer norm and six token shifts in one dispatch.
    fn norm_mix(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let width = self.sizes.hp.width as u32 / 4;
        let params = NormMixParams {
            weight: self.vec4(Vector::NormWeight),
            bias: self.vec4(Vector::NormBias),
            epsilon: self.sizes.hp.layer_norm_eps,
            mixes: self.vec4(Vector::Mixes),
            mix_stride: self.room.tokens as u32 * width,
            shift: 0,
            slot_stride: width,
            part_stride: 0,
            part_scale: 1.0,
            padding: [0; 3],
        };
        let bindings = [
            self.rows(),
            Binding::Uniform(bytes_of(&params)),
            self.vectors(),
            Binding::Buffer(&self.room.x),
            Binding::Buffer(&self.room.mixtures),
            Binding::Buffer(&self.room.shifts[0]),
            Binding::Buffer(&self.room.links),
        ];
        let kernel = NormMix {
            width,
            mixes: MIXES,
            output: recorder.shape.operand(),
            rows: NormRows::Any,
            workgroup: recorder.row_workgroup(width),
        };
        let grid = Workgroups::Grid(kernel.workgroups(recorder.shape.tokens()));
        let work = recorder.row_work(self.sizes.hp.width * (1 + MIXES as usize));
        recorder.dispatch(recorder::Operation::NormMix(kernel), &bindings, grid, work)
    }

    /// One of the parts of the readout.
    fn of_readout(
        &self,
        recorder: &mut Recorder<'_>,
        operation: UnfusedOperation,
        output: Number,
        buffers: [&Buffer; 2],
    ) -> Result<(), Error> {
        let kernel = Unfused { operation, output };
        let [vectors, mixed] = [
            operation != UnfusedOperation::Gate,
            operation != UnfusedOperation::GroupNorm,
        ];
        let operation = recorder::Operation::Unfused(kernel);
        self.by_heads(recorder, operation, [vectors, mixed], buffers)
    }

    /// A kernel of which 64 invocations take four heads, and whether it reads vectors and what was mixed.
    fn by_heads(
        &self,
        recorder: &mut Recorder<'_>,
        operation: recorder::Operation,
        [vectors, mixed]: [bool; 2],
        buffers: [&Buffer; 2],
    ) -> Result<(), Error> {
        let width = self.sizes.hp.width;
        let params = TimeMixParams {
            slot_stride: (self.room.tokens * width) as u32 / 4,
            width: width as u32 / 4,
            value_slot: Slot::Value as u32,
            k_k: 0,
            k_a: 0,
            r_k: self.vec4(Vector::Bonus),
            norm_weight: self.vec4(Vector::GroupNormWeight),
            norm_bias: self.vec4(Vector::GroupNormBias),
        };
        let mut bindings = vec![self.rows(), Binding::Uniform(bytes_of(&params))];
        bindings.extend(vectors.then(|| self.vectors()));
        bindings.extend(mixed.then_some(Binding::Buffer(&self.room.mixed)));
        bindings.extend(buffers.map(Binding::Buffer));
        let tokens = recorder.shape.tokens();
        let grid = recorder.readout().workgroups(width as u32, tokens);
        let work = recorder.row_work(width);
        recorder.dispatch(operation, &bindings, Workgroups::Grid(grid), work)
    }

    fn unfused(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: Unfused,
        bindings: &[Binding<'_>],
    ) -> Result<(), Error> {
        let width = self.sizes.hp.width;
        let grid = kernel.workgroups(width as u32, recorder.shape.tokens());
        let (operation, work) = (
            recorder::Operation::Unfused(kernel),
            recorder.row_work(width),
        );
        recorder.dispatch(operation, bindings, Workgroups::Grid(grid), work)
    }

    /// Down, tanh and up: tanh as the first product is stored, or apart.
    fn low_rank(&self, recorder: &mut Recorder<'_>, fused: bool) -> Result<(), Error> {
        let room = self.room;
        let [raw, hidden] = &room.between;
        let [down, up] = [0, 1].map(|index| &self.weights.matrices[index]);
        match fused {
            true => self.products(recorder, down, [&room.x, hidden], Epilogue::Tanh)?,
            false => {
                self.products(recorder, down, [&room.x, raw], Epilogue::Store)?;
                self.finish(recorder, up.columns, [raw, hidden], Epilogue::Tanh)?;
            }
        }
        self.products(recorder, up, [hidden, &room.out], Epilogue::Store)
    }

    /// A product without a norm before it. For one token a plan that fuses has a kernel of its own for those that add to the residual
    /// stream; the others it has with their norms only, so what plans that do not fuse have stands in.
    fn product(
        &self,
        recorder: &mut Recorder<'_>,
        weight: Weight,
        from: &Buffer,
        to: &Buffer,
        epilogue: Epilogue,
    ) -> Result<(), Error> {
        let adds = matches!(weight, Weight::Output | Weight::FfnValue);
        match recorder.shape {
            Shape::Few { .. } if adds => {
                self.product_of_one(recorder, Before::Nothing, [from, to], epilogue)
            }
            _ => self.products(recorder, &self.weights.matrices[0], [from, to], epilogue),
        }
    }

    fn products(
        &self,
        recorder: &mut Recorder<'_>,
        matrix: &Matrix,
        [input, output]: [&Buffer; 2],
        epilogue: Epilogue,
    ) -> Result<(), Error> {
        let rows = |stride| Rows { first: 0, stride };
        let matrix_rows = matrix.parts.iter().map(|part| part.rows).sum();
        let product = Product {
            epilogue,
            ..Product::new(matrix, rows(padded(matrix.columns)), rows(matrix_rows))
        };
        let operands = Operands {
            rows: self.rows(),
            vectors: self.vectors(),
            storage: &self.weights.storage,
            input,
            output,
            stored_as: Number::F32,
            parts: &self.room.parts,
        };
        recorder.products(operands, &[product])
    }

    /// A product by the kernel of plans for one token that fuse.
    fn product_of_one(
        &self,
        recorder: &mut Recorder<'_>,
        before: Before,
        [input, output]: [&Buffer; 2],
        epilogue: Epilogue,
    ) -> Result<(), Error> {
        let matrix = &self.weights.matrices[0];
        let norm = NormParams {
            weight: self.vec4(Vector::NormWeight),
            bias: self.vec4(Vector::NormBias),
            epsilon: self.sizes.hp.layer_norm_eps,
            padding: 0,
        };
        let [previous, next] = &self.room.shifts;
        let shifts = before == Before::NormShift;
        let operands = decode::Operands {
            rows: self.rows(),
            storage: &self.weights.storage,
            vectors: self.vectors(),
            input,
            output,
            norm: (before != Before::Nothing).then_some(norm),
            shift: shifts.then_some([previous, next].map(Binding::Buffer)),
            columns: padded(matrix.columns),
            rounded: [false, false],
        };
        for part in &matrix.parts {
            let job = Job {
                mix: match shifts {
                    true => self.vec4(Vector::Mixes),
                    false => NO_MIX,
                },
                output: part.first_row as u32,
                epilogue: epilogue as u32,
                ..decode::job(matrix.encoding, part, matrix.columns, part.offset)
            };
            recorder.fused_products(operands, vec![matrix.encoding], *part, vec![job])?;
        }
        Ok(())
    }

    /// What becomes of a product, apart from it: by the kernel that adds up parts, of which there is one.
    fn finish(
        &self,
        recorder: &mut Recorder<'_>,
        rows: usize,
        [from, to]: [&Buffer; 2],
        epilogue: Epilogue,
    ) -> Result<(), Error> {
        let job = Job {
            rows: rows as u32,
            input_stride: rows as u32,
            output_stride: rows as u32,
            epilogue: epilogue as u32,
            ..Job::zeroed()
        };
        let jobs = pad_jobs(&[job]);
        let params = AddPartsParams::default();
        let bindings = [
            self.rows(),
            Binding::Uniform(bytes_of(&jobs)),
            self.vectors(),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(from),
            Binding::Buffer(to),
        ];
        let kernel = AddParts {
            parts: 1,
            output: Number::F32,
            beside: None,
        };
        let grid = kernel.workgroups(1, rows as u32, recorder.shape.tokens());
        let (operation, work) = (
            recorder::Operation::AddParts(kernel),
            recorder.row_work(rows),
        );
        recorder.dispatch(operation, &bindings, Workgroups::Grid(grid), work)
    }

    fn rows(&self) -> Binding<'_> {
        Binding::Buffer(&self.room.rows)
    }

    fn vectors(&self) -> Binding<'_> {
        Binding::Buffer(&self.room.vectors)
    }

    /// First vec4 of a vector.
    fn vec4(&self, vector: Vector) -> u32 {
        (vector as usize * self.sizes.hp.width) as u32 / 4
    }
}
