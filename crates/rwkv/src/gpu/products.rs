//! Products with weight matrices: as few dispatches as encodings and bindings allow.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Buffer, Feature, Work, Workgroups};
use thalweg_shaders::kernels::{
    AddParts, AddPartsParams, Epilogue, Job, MAX_JOBS, Matmul, MatmulCoop, MatmulDot4, Matvec,
    NO_MIX, Number, pad_jobs,
};
use thalweg_shaders::{Encoding, SPAN, VEC4_BYTES};

use super::activations::PARTS_NUMBERS;
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
}

impl Group {
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

    /// Adds the product. If that is made in parts, they are left as they are, and nothing becomes of the epilogue.
    pub(super) fn pending_product(
        &mut self,
        operands: Operands<'_>,
        product: Product<'_>,
    ) -> Result<Option<Pending>, Error> {
        let groups = groups(operands, &[product]);
        if let [group] = &groups[..]
            && let [job] = group.placed()[..]
            && let parts @ 2.. = self.parts(group.encoding, &[job])
        {
            self.partial_products(operands, group, parts)?;
            let part_stride = self.shape.tokens() * job.rows / 4;
            return Ok(Some(Pending { parts, part_stride }));
        }
        let made = groups
            .iter()
            .try_for_each(|group| self.product_group(operands, group));
        made.map(|()| None)
    }

    fn product_group(&mut self, operands: Operands<'_>, group: &Group) -> Result<(), Error> {
        let jobs = group.placed();
        let parts = self.parts(group.encoding, &jobs);
        if parts > 1 {
            self.partial_products(operands, group, parts)?;
            return self.add_parts(operands, &jobs, parts);
        }
        let padded = pad_jobs(&jobs);
        let bindings = group.bindings(operands, Binding::Uniform(bytes_of(&padded)));
        let kernel = (group.encoding, group.lanes, operands.stored_as);
        let (operation, workgroups) = self.product_operation(kernel, &jobs);
        let work = product_work(&jobs, self.shape.tokens());
        self.dispatch(operation, &bindings, workgroups, work)
    }

    /// Computes products in parts, each over some of the columns: `[parts, jobs, tokens, rows]`.
    fn partial_products(
        &mut self,
        operands: Operands<'_>,
        group: &Group,
        parts: u32,
    ) -> Result<(), Error> {
        let tokens = self.shape.tokens();
        let jobs = group.placed();
        let all_rows: u32 = jobs.iter().map(|job| job.rows).sum();
        let mut first_row = 0;
        let mut partial = Vec::new();
        for job in &jobs {
            for part in 0..parts {
                let spans = job.spans / parts;
                let columns = (spans * part) as usize * SPAN;
                partial.push(Job {
                    weights: job.weights + (group.encoding.row_bytes(columns) / VEC4_BYTES) as u32,
                    spans,
                    input: job.input + columns as u32 / 4,
                    output: tokens * (part * all_rows + first_row),
                    output_stride: job.rows,
                    epilogue: Epilogue::Store as u32,
                    ..*job
                });
            }
            first_row += job.rows;
        }
        let padded = pad_jobs(&partial);
        let mut bindings = group.bindings(operands, Binding::Uniform(bytes_of(&padded)));
        bindings[5] = Binding::Buffer(operands.parts);
        let kernel = (group.encoding, group.lanes, Number::F32);
        let (operation, workgroups) = self.product_operation(kernel, &partial);
        let work = product_work(&jobs, tokens);
        self.dispatch(operation, &bindings, workgroups, work)
    }

    /// Adds up what [`Self::partial_products`] has left.
    fn add_parts(&mut self, operands: Operands<'_>, jobs: &[Job], parts: u32) -> Result<(), Error> {
        let tokens = self.shape.tokens();
        let mut all_rows = 0;
        let mut sums = Vec::new();
        for job in jobs {
            sums.push(Job {
                input: tokens * all_rows,
                input_stride: job.rows,
                ..*job
            });
            all_rows += job.rows;
        }
        let padded = pad_jobs(&sums);
        let params = AddPartsParams {
            part_stride: tokens * all_rows,
            padding: [0; 3],
        };
        let kernel = AddParts {
            parts,
            output: operands.stored_as,
        };
        let bindings = [
            operands.rows,
            Binding::Uniform(bytes_of(&padded)),
            operands.vectors,
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(operands.parts),
            Binding::Buffer(operands.output),
        ];
        let rows = jobs.iter().map(|job| job.rows).max().unwrap_or_default();
        let grid = Workgroups::Grid(kernel.workgroups(jobs.len() as u32, rows, tokens));
        let work = self.row_work((parts * all_rows) as usize);
        self.dispatch(Operation::AddParts(kernel), &bindings, grid, work)
    }

    /// Into how many parts along the columns products are divided: as many as it takes to keep a large device busy.
    fn parts(&self, encoding: Encoding, jobs: &[Job]) -> u32 {
        let Shape::Many { tokens, matmul } = self.shape else {
            return 1;
        };
        let Some(block) = encoding.contiguous_columns() else {
            return 1;
        };
        let rows: u32 = jobs.iter().map(|job| job.rows).sum();
        let [tile_rows, tile_tokens] = match matmul {
            MatmulKind::Exact { block_size } | MatmulKind::Half { block_size } => {
                Matmul::tile(block_size)
            }
            MatmulKind::Coop { size, .. } => self.tuning.tile(tokens).extent(size),
        };
        let row_tiles: u32 = jobs.iter().map(|job| job.rows.div_ceil(tile_rows)).sum();
        let workgroups = row_tiles * tokens.div_ceil(tile_tokens);
        let block = (block / SPAN) as u32;
        let fits = |parts: u32| {
            jobs.iter().all(|job| {
                job.spans.is_multiple_of(parts * block) && job.spans / parts >= LEAST_SPANS
            }) && jobs.len() as u32 * parts <= MAX_JOBS as u32
                && (parts * rows * tokens) as usize <= PARTS_NUMBERS
        };
        let busy = self.tuning.division(tokens).busy_workgroups;
        let wanted = busy.div_ceil(workgroups.max(1));
        (1..=wanted.min(MOST_PARTS))
            .rev()
            .find(|parts| fits(*parts))
            .unwrap_or(1)
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
    let end = part.offset + part.bytes;
    let joined = groups.iter_mut().find_map(|group| {
        let offset = group.range.offset.min(part.offset);
        let bytes = (group.range.offset + group.range.bytes).max(end) - offset;
        let fits = (group.encoding, group.lanes, group.range.buffer)
            == (encoding, lanes, part.buffer)
            && bytes <= limit
            && group.jobs.len() < MAX_JOBS;
        fits.then_some((
            Part {
                offset,
                bytes,
                ..group.range
            },
            group,
        ))
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
