//! Products with weight matrices: as few dispatches as encodings and bindings allow.

mod divided;
mod groups;

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Buffer, Feature, Work, Workgroups};
use thalweg_shaders::kernels::{
    AddParts, AddPartsParams, Epilogue, Job, Matmul, MatmulCoop, MatmulDot4, Matvec, NO_MIX,
    Number, pad_jobs,
};
use thalweg_shaders::{Encoding, VEC4_BYTES};

use super::model;
use super::recorder::{MatmulKind, Operation, Recorder, Shape};
use super::storage::{Matrix, Part, Storage};
use crate::Error;

use divided::Divided;
use groups::{Group, groups};

pub(super) use divided::MOST_PARTS;

/// One product: where its input comes from, where its output goes, what happens on the way. Rows of the input and the
/// output are numbered from `first` elements on, `stride` elements apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) matrix: &'a Matrix,
    pub(super) input: Rows,
    pub(super) output: Rows,
    pub(super) epilogue: Epilogue,
    /// First element in vectors of the epilogue's bias.
    pub(super) bias: u32,
    /// First element in the output of the first layer's values.
    pub(super) first_value: usize,
}

/// Rows within a buffer, in elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) stride: usize,
}

impl<'a> Product<'a> {
    /// The plain product.
    pub(super) fn new(matrix: &'a Matrix, input: Rows, output: Rows) -> Product<'a> {
        Product {
            matrix,
            input,
            output,
            epilogue: Epilogue::Store,
            bias: 0,
            first_value: 0,
        }
    }

    fn job(&self, part: &Part) -> Job {
        let encoding = self.matrix.encoding;
        Job {
            weights: 0, // known when the binding is
            weights_stride: (encoding.row_bytes(self.matrix.columns) / VEC4_BYTES) as u32,
            rows: part.rows as u32,
            spans: encoding.spans(self.matrix.columns) as u32,
            input: self.input.first as u32 / 4,
            input_stride: self.input.stride as u32 / 4,
            mix: NO_MIX,
            output: (self.output.first + part.first_row) as u32,
            output_stride: self.output.stride as u32,
            epilogue: self.epilogue as u32,
            bias: self.bias + part.first_row as u32,
            first_value: (self.first_value + part.first_row) as u32,
        }
    }
}

/// What all products of a step share.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) rows: Binding<'a>,
    pub(super) vectors: Binding<'a>,
    pub(super) storage: &'a Storage,
    pub(super) input: &'a Buffer,
    pub(super) output: &'a Buffer,
    /// What the output is stored as.
    pub(super) stored_as: Number,
    /// Room for products that are computed in parts.
    pub(super) parts: &'a Buffer,
}

/// A product that lies in parts, `[parts, tokens, rows]`, to be added up by whoever reads it next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) parts: u32,
    /// vec4s from part to part.
    pub(super) part_stride: u32,
}

/// A second output.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) stored_as: Number,
}

impl Recorder<'_> {
    /// Adds the products, which must not depend on one another.
    pub(super) fn products(
        &mut self,
        operands: Operands<'_>,
        products: &[Product<'_>],
    ) -> Result<(), Error> {
        groups(operands, products)
            .iter()
            .try_for_each(|group| self.product_group(operands, group))
    }

    /// Adds the products, and others beside them with an output of their own, none of which depends on another. Where the others'
    /// matrices are in F16 and all are made in parts on cooperative matrices, that takes one dispatch, and one to add up.
    pub(super) fn products_beside(
        &mut self,
        operands: Operands<'_>,
        products: &[Product<'_>],
        output: Output<'_>,
        beside: &[Product<'_>],
    ) -> Result<(), Error> {
        if let Some(group) = self.together(operands, products, beside)
            && let Some(divided) = self.divided(operands, &group)
        {
            self.partial_products(&divided)?;
            return self.add_parts(&divided, Some(output));
        }
        self.products(operands, products)?;
        let operands = Operands {
            output: output.buffer,
            stored_as: output.stored_as,
            ..operands
        };
        self.products(operands, beside)
    }

    /// All of the products in one dispatch, if there is a kernel for it.
    fn together(
        &self,
        operands: Operands<'_>,
        products: &[Product<'_>],
        beside: &[Product<'_>],
    ) -> Option<Group> {
        let Shape::Many {
            matmul: MatmulKind::Coop { .. },
            ..
        } = self.shape
        else {
            return None;
        };
        let [group] = <[Group; 1]>::try_from(groups(operands, products)).ok()?;
        let [beside] = <[Group; 1]>::try_from(groups(operands, beside)).ok()?;
        group.with_halves(beside, operands.storage.largest_binding)
    }

    /// Adds the product. If that is made in parts, they are left as they are, and nothing becomes of the epilogue.
    pub(super) fn pending_product(
        &mut self,
        operands: Operands<'_>,
        product: Product<'_>,
    ) -> Result<Option<Pending>, Error> {
        let groups = groups(operands, &[product]);
        if let [group] = &groups[..]
            && let Some(divided) = self.divided(operands, group)
            && let [job] = divided.jobs[..]
        {
            self.partial_products(&divided)?;
            return Ok(Some(Pending {
                parts: divided.parts,
                part_stride: self.shape.tokens() * job.rows / 4,
            }));
        }
        let made = groups
            .iter()
            .try_for_each(|group| self.product_group(operands, group));
        made.map(|()| None)
    }

    fn product_group(&mut self, operands: Operands<'_>, group: &Group) -> Result<(), Error> {
        if let Some(divided) = self.divided(operands, group) {
            self.partial_products(&divided)?;
            return self.add_parts(&divided, None);
        }
        let jobs = group.placed();
        let padded = pad_jobs(&jobs);
        let bindings = group.bindings(operands, Binding::Uniform(bytes_of(&padded)));
        let kernel = (group.encoding, group.lanes, operands.stored_as);
        let (operation, workgroups) = self.product_operation(kernel, &jobs);
        let work = product_work(&jobs, self.shape.tokens());
        self.dispatch(operation, &bindings, workgroups, work)
    }

    /// Computes products in parts, each over some of the columns: `[parts, jobs, tokens, rows]`.
    fn partial_products(&mut self, divided: &Divided<'_>) -> Result<(), Error> {
        let Divided {
            operands,
            group,
            parts,
            ..
        } = *divided;
        let partial = divided.partial(self.shape.tokens());
        let padded = pad_jobs(&partial);
        let mut bindings = group.bindings(operands, Binding::Uniform(bytes_of(&padded)));
        bindings[5] = Binding::Buffer(operands.parts);
        let kernel = (group.encoding, group.lanes, Number::F32);
        let (mut operation, workgroups) = self.product_operation(kernel, &partial);
        if let Operation::MatmulCoop(matmul) = &mut operation {
            matmul.halves_from = group.halves_from.map(|first| first as u32 * parts);
        }
        let work = product_work(&divided.jobs, self.shape.tokens());
        self.dispatch(operation, &bindings, workgroups, work)
    }

    /// Adds up what [`Self::partial_products`] has left; the sums of matrices in F16 beside others go to an output of their own.
    fn add_parts(
        &mut self,
        divided: &Divided<'_>,
        beside: Option<Output<'_>>,
    ) -> Result<(), Error> {
        let Divided {
            operands,
            group,
            parts,
            ..
        } = *divided;
        let tokens = self.shape.tokens();
        let sums = divided.sums(tokens);
        let padded = pad_jobs(&sums);
        let params = AddPartsParams {
            part_stride: tokens * divided.rows(),
            first_beside: group.halves_from.unwrap_or(sums.len()) as u32,
            padding: [0; 2],
        };
        let kernel = AddParts {
            parts,
            output: operands.stored_as,
            beside: beside.map(|output| output.stored_as),
        };
        let mut bindings = vec![
            operands.rows,
            Binding::Uniform(bytes_of(&padded)),
            operands.vectors,
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(operands.parts),
            Binding::Buffer(operands.output),
        ];
        bindings.extend(beside.map(|output| Binding::Buffer(output.buffer)));
        let rows = sums.iter().map(|job| job.rows).max().unwrap_or_default();
        let grid = Workgroups::Grid(kernel.workgroups(sums.len() as u32, rows, tokens));
        let work = self.row_work((parts * divided.rows()) as usize);
        self.dispatch(Operation::AddParts(kernel), &bindings, grid, work)
    }

    /// Whether inputs of such matrices are rounded to integers.
    fn rounds_inputs_of(&self, encoding: Encoding) -> bool {
        self.activations == model::Activations::Q8
            && encoding.has_integers()
            && self.context().has(Feature::Dot4)
    }

    fn product_operation(
        &self,
        (encoding, lanes, output): (Encoding, u32, Number),
        jobs: &[Job],
    ) -> (Operation, Workgroups) {
        let count = jobs.len() as u32;
        let rows = jobs.iter().map(|job| job.rows).max().unwrap_or_default();
        match self.shape {
            Shape::Few { columns } => {
                let limit = self.context().limits().workgroups_per_dimension;
                let matvec = Matvec {
                    encoding,
                    columns,
                    lanes,
                };
                let workgroups = matvec.workgroups(rows);
                let folds = workgroups.div_ceil(limit);
                let grid = [workgroups.div_ceil(folds), folds, count];
                (Operation::Matvec(matvec), Workgroups::Grid(grid))
            }
            Shape::Many {
                tokens,
                matmul: MatmulKind::Exact { block_size } | MatmulKind::Half { block_size },
            } => {
                let matmul = Matmul {
                    encoding,
                    block_size,
                    operand: self.shape.operand(),
                    output,
                };
                let grid = matmul.workgroups(count, rows, tokens);
                let operation = match self.rounds_inputs_of(encoding) {
                    true => Operation::MatmulDot4(MatmulDot4 {
                        encoding,
                        block_size,
                        input: self.shape.operand(),
                        output,
                    }),
                    false => Operation::Matmul(matmul),
                };
                (operation, Workgroups::Grid(grid))
            }
            Shape::Many {
                tokens,
                matmul: MatmulKind::Coop { size, subgroup },
            } => {
                let matmul = MatmulCoop {
                    encoding,
                    halves_from: None,
                    size,
                    subgroup,
                    tile: self.tuning.tile(tokens),
                    output,
                };
                let grid = matmul.workgroups(count, rows, tokens);
                (Operation::MatmulCoop(matmul), Workgroups::Grid(grid))
            }
        }
    }
}

pub(super) fn product_work(jobs: &[Job], tokens: u32) -> Work {
    let tokens = f64::from(tokens);
    let weights: f64 = jobs
        .iter()
        .map(|job| f64::from(job.rows) * f64::from(job.spans) * 32.0)
        .sum();
    let weight_bytes: f64 = jobs
        .iter()
        .map(|job| f64::from(job.rows) * f64::from(job.weights_stride) * VEC4_BYTES as f64)
        .sum();
    Work {
        flops: 2.0 * weights * tokens,
        bytes: weight_bytes,
    }
}
