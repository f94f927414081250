//! Products that share a dispatch.

use thalweg_gpu::Binding;
use thalweg_shaders::kernels::{Job, MAX_JOBS, Matvec};
use thalweg_shaders::{Encoding, VEC4_BYTES};

use super::{Operands, Product};
use crate::gpu::storage::Part;

/// Jobs that one dispatch can do.
pub(super) struct Group {
    pub(super) encoding: Encoding,
    pub(super) lanes: u32,
    /// The bytes of the storage that hold the matrices.
    range: Part,
    /// With the place of each one's matrix in the storage.
    jobs: Vec<(u64, Job)>,
    /// The first of the jobs whose matrices are in F16 instead of the encoding.
    pub(super) halves_from: Option<usize>,
}

impl Group {
    /// The jobs of both in one dispatch on cooperative matrices, if these are integers and those F16, and lie in one binding.
    pub(super) fn with_halves(mut self, halves: Group, limit: u64) -> Option<Group> {
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
    pub(super) fn encoding_of(&self, job: usize) -> Encoding {
        match self.halves_from {
            Some(first) if job >= first => Encoding::F16,
            _ => self.encoding,
        }
    }

    /// The jobs, which know where their matrices are in the group's binding.
    pub(super) fn placed(&self) -> Vec<Job> {
        let placed = |(offset, job): &(u64, Job)| {
            let weights = ((offset - self.range.offset) / VEC4_BYTES as u64) as u32;
            Job { weights, ..*job }
        };
        self.jobs.iter().map(placed).collect()
    }

    pub(super) fn bindings<'b>(
        &self,
        operands: Operands<'b>,
        jobs: Binding<'b>,
    ) -> [Binding<'b>; 6] {
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
pub(super) fn groups(operands: Operands<'_>, products: &[Product<'_>]) -> Vec<Group> {
    let limit = operands.storage.largest_binding;
    let mut groups: Vec<Group> = Vec::new();
    for product in products {
        for part in &product.matrix.parts {
            add(&mut groups, product, part, limit);
        }
    }
    groups
}

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
