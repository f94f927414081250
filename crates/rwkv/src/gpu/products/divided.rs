//! Products in parts along their columns: where matrices have few rows, whole ones would leave much of a large device without work.

use thalweg_shaders::kernels::{Epilogue, Job, MAX_JOBS, Matmul};
use thalweg_shaders::{SPAN, VEC4_BYTES};

use super::Operands;
use super::groups::Group;
use crate::gpu::recorder::{MatmulKind, Recorder, Shape};

/// More parts than that take longer to add up.
pub(in crate::gpu) const MOST_PARTS: u32 = 10;
/// Spans that a part has at least: shorter loops are not worth their beginning and end.
const LEAST_SPANS: u32 = 8;

/// The products of one dispatch, made in parts along their columns.
pub(super) struct Divided<'a> {
    pub(super) operands: Operands<'a>,
    pub(super) group: &'a Group,
    pub(super) jobs: Vec<Job>,
    pub(super) parts: u32,
}

impl Divided<'_> {
    /// Rows of all matrices.
    pub(super) fn rows(&self) -> u32 {
        self.jobs.iter().map(|job| job.rows).sum()
    }

    /// The jobs, with the place of their first parts in `[parts, jobs, tokens, rows]` as input.
    pub(super) fn sums(&self, tokens: u32) -> Vec<Job> {
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
    pub(super) fn partial(&self, tokens: u32) -> Vec<Job> {
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

impl Recorder<'_> {
    /// The products of a group in as many parts along the columns as it takes to keep a large device busy, if that is more than one.
    pub(super) fn divided<'a>(
        &self,
        operands: Operands<'a>,
        group: &'a Group,
    ) -> Option<Divided<'a>> {
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
}
