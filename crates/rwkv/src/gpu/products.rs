//! Products with weight matrices: as few dispatches as encodings and bindings allow.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Buffer, Feature, Work, Workgroups};
use thalweg_shaders::kernels::{
    AddParts, AddPartsParams, Epilogue, Job, MAX_JOBS, Matmul, MatmulCoop, MatmulDot4, Matvec,
    NO_MIX, Number, pad_jobs,
};
use thalweg_shaders::{Encoding, SPAN, VEC4_BYTES};

use super::model;
use super::recorder::{MatmulKind, Operation, Recorder, Shape};
use super::storage::{Matrix, Part, Storage};
use crate::Error;

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

/// Jobs that one dispatch can do.
struct Group {
    encoding: Encoding,
    lanes: u32,
    /// The bytes of the storage that hold the matrices.
    range: Part,
    jobs: Vec<(u64, Job)>,
    /// The first of the jobs whose matrices are in F16 instead of the encoding.
    halves_from: Option<usize>,
}

/// A second output.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) stored_as: Number,
}

impl Group {
    /// The jobs of both in one dispatch on cooperative matrices, if these are integers and those F16, and lie in one binding.
    fn with_halves(mut self, halves: Group, limit: u64) -> Option<Group> {
        let range = self.range.joined(&halves.range)?;
        let fits = self.encoding.has_integers()
            && halves.encoding == Encoding::F16
            && range.bytes <= limit;
        self.halves_from = Some(self.jobs.len());
        self.jobs.extend(halves.jobs);
        self.range = range;
        fits.then_some(self)
    }

    /// How the matrix of a job is encoded.
    fn encoding_of(&self, job: usize) -> Encoding {
        match self.halves_from {
            Some(first) if job >= first => Encoding::F16,
            _ => self.encoding,
        }
    }

    /// The jobs, which know where their matrices are in the group's binding.
    fn placed(&self) -> Vec<Job> {
        let placed = |(offset, job): &(u64, Job)| {
            let weights = ((offset - self.range.offset) / VEC4_BYTES as u64) as u32;
            Job { weights, ..*job }
        };
        self.jobs.iter().map(placed).collect()
    }

    fn bindings<'b>(&self, operands: Operands<'b>, jobs: Binding<'b>) -> [Binding<'b>; 6] {
        [
            operands.rows,
            jobs,
            operands.vectors,
            operands.storage.binding(&self.range),
            Binding::Buffer(operands.input),
            Binding::Buffer(operands.output),
        ]
    }
}

/// The products of one dispatch, made in parts along their columns.
struct Divided<'a> {
    operands: Operands<'a>,
    group: &'a Group,
    jobs: Vec<Job>,
    parts: u32,
}

impl Divided<'_> {
    /// Rows of all matrices.
    fn rows(&self) -> u32 {
        self.jobs.iter().map(|job| job.rows).sum()
    }

    /// The jobs, with the place of their first parts in `[parts, jobs, tokens, rows]` as input.
    fn sums(&self, tokens: u32) -> Vec<Job> {
        let mut first = 0;
        let sum = |job: &Job| {
            let input = first;
            first += tokens * job.rows;
            Job {
                input,
                input_stride: job.rows,
                ..*job
            }
        };
        self.jobs.iter().map(sum).collect()
    }

    /// The parts of all jobs, each a job of its own.
    fn partial(&self, tokens: u32) -> Vec<Job> {
        let mut partial = Vec::new();
        for (index, (job, sum)) in self.jobs.iter().zip(self.sums(tokens)).enumerate() {
            let encoding = self.group.encoding_of(index);
            for part in 0..self.parts {
                let spans = job.spans / self.parts;
                let columns = (spans * part) as usize * SPAN;
                partial.push(Job {
                    weights: job.weights + (encoding.row_bytes(columns) / VEC4_BYTES) as u32,
                    spans,
                    input: job.input + columns as u32 / 4,
                    output: sum.input + part * tokens * self.rows(),
                    output_stride: job.rows,
                    epilogue: Epilogue::Store as u32,
                    ..*job
                });
            }
        }
        partial
    }
}

/// The products in as few dispatches as possible.
fn groups(operands: Operands<'_>, products: &[Product<'_>]) -> Vec<Group> {
    let limit = operands.storage.largest_binding;
    let mut groups: Vec<Group> = Vec::new();
    for product in products {
        for part in &product.matrix.parts {
            add(&mut groups, product, part, limit);
        }
    }
    groups
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

    /// The products of a group in as many parts along the columns as it takes to keep a large device busy, if that is more than one.
    fn divided<'a>(&self, operands: Operands<'a>, group: &'a Group) -> Option<Divided<'a>> {
        let Shape::Many { tokens, matmul } = self.shape else {
            return None;
        };
        let ([tile_rows, tile_tokens], busy) = match matmul {
            MatmulKind::Exact { block_size } | MatmulKind::Half { block_size } => {
                let busy = self.tuning.division(tokens).busy_workgroups;
                (Matmul::tile(block_size), busy)
            }
            MatmulKind::Coop { size, .. } => {
                let busy = self.tuning.busy_workgroups(tokens);
                (self.tuning.tile(tokens).extent(size), busy)
            }
        };
        let jobs = group.placed();
        let rows: u32 = jobs.iter().map(|job| job.rows).sum();
        let row_tiles: u32 = jobs.iter().map(|job| job.rows.div_ceil(tile_rows)).sum();
        let workgroups = row_tiles * tokens.div_ceil(tile_tokens);
        let room = operands.parts.bytes() / size_of::<f32>() as u64;
        let fits = |parts: &u32| {
            let divides = |(index, job): (usize, &Job)| {
                let block = group.encoding_of(index).contiguous_columns();
                block.is_some_and(|block| {
                    job.spans.is_multiple_of(parts * (block / SPAN) as u32)
                        && job.spans / parts >= LEAST_SPANS
                })
            };
            jobs.iter().enumerate().all(divides)
                && jobs.len() as u32 * parts <= MAX_JOBS as u32
                && u64::from(parts * rows) * u64::from(tokens) <= room
        };
        let wanted = busy.div_ceil(workgroups.max(1)).min(MOST_PARTS);
        let parts = (2..=wanted).rev().find(fits)?;
        Some(Divided {
            operands,
            group,
            jobs,
            parts,
        })
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

/// More parts than that take longer to add up.
pub(super) const MOST_PARTS: u32 = 10;
/// Spans that a part has at least: shorter loops are not worth their beginning and end.
const LEAST_SPANS: u32 = 8;

/// Adds one part of a product to a group that can take it, or to a new one.
fn add(groups: &mut Vec<Group>, product: &Product<'_>, part: &Part, limit: u64) {
    let (encoding, job) = (product.matrix.encoding, product.job(part));
    let lanes = lanes(job.rows, job.spans);
    let joined = groups.iter_mut().find_map(|group| {
        let range = group.range.joined(part)?;
        let fits = (group.encoding, group.lanes) == (encoding, lanes)
            && range.bytes <= limit
            && group.jobs.len() < MAX_JOBS;
        fits.then_some((range, group))
    });
    match joined {
        Some((range, group)) => {
            group.range = range;
            group.jobs.push((part.offset, job));
        }
        None => groups.push(Group {
            encoding,
            lanes,
            range: *part,
            jobs: vec![(part.offset, job)],
            halves_from: None,
        }),
    }
}

/// Invocations that share a row in a matvec: few for short rows, which have no work for many, and more than usual for few
/// long rows, which would else keep few invocations busy for long.
fn lanes(rows: u32, spans: u32) -> u32 {
    if spans <= 16 {
        return 8;
    }
    let mut lanes = Matvec::DEFAULT_LANES;
    while lanes < Matvec::MOST_LANES && 2 * lanes <= spans && lanes * rows < BUSY_LANES {
        lanes *= 2;
    }
    lanes
}

/// Invocations that keep a large device busy if each of them has two rows to share.
const BUSY_LANES: u32 = 300_000;

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

#[cfg(test)]
mod tests {
    use super::lanes;

    #[test]
    fn few_long_rows_are_shared_by_many() {
        // 2.9B: low ranks, square, channel mixing there and back, the head; and the demo model's square.
        let shapes = [
            (2560, 3),
            (2560, 80),
            (10_240, 80),
            (2560, 320),
            (65_536, 80),
            (512, 16),
        ];
        let expected = [8, 64, 32, 128, 32, 8];
        assert_eq!(shapes.map(|(rows, spans)| lanes(rows, spans)), expected);
    }
}
