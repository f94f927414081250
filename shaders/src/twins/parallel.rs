//! How the twins share work among threads: by whole rows of the output, never within a sum.

use rayon::prelude::*;

/// Multiply-adds below which handing work to another thread costs more than it saves.
const MIN_JOB: usize = 32 * 1024;

/// Rows a thread should take at least, when one row costs `row_cost` multiply-adds, to the nearest power of ten or so.
pub(super) fn min_rows(row_cost: usize) -> usize {
    MIN_JOB.div_ceil(row_cost.max(1))
}

/// Calls `job(index, row)` for each `row_len` long row of `out`, on several threads when the rows are many or costly.
pub(super) fn for_each_row(
    out: &mut [f32],
    row_len: usize,
    row_cost: usize,
    job: impl Fn(usize, &mut [f32]) + Sync,
) {
    out.par_chunks_mut(row_len)
        .with_min_len(min_rows(row_cost))
        .enumerate()
        .for_each(|(index, row)| job(index, row));
}
