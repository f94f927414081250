//! Sums in a fixed order: eight running sums side by side in vector registers, over a block at a time; the blocks' sums
//! are added up apart, and the eight at the end.
//!
//! A sum meets the fewer roundings the shorter it is: over 10,240 columns each running sum meets 16 in its block and 80
//! after it, where a single one would meet 10,240. Products are rounded before they are added, on every machine.

use wide::f32x8;

/// Running sums of one reduction.
pub(super) const LANES: usize = 8;

/// Terms that a running sum takes up before it is added to the total.
const BLOCK: usize = 16;

/// Sum of `term(x[i])`.
#[inline(always)]
pub(super) fn sum_of(x: &[f32], term: impl Fn(f32x8) -> f32x8) -> f32 {
    let (vectors, tail) = x.as_chunks();
    let mut total = f32x8::ZERO;
    for block in vectors.chunks(BLOCK) {
        total += block
            .iter()
            .map(|&values| term(f32x8::new(values)))
            .fold(f32x8::ZERO, |sum, terms| sum + terms);
    }
    let tail = tail
        .iter()
        .map(|&value| term(f32x8::splat(value)).to_array()[0])
        .sum::<f32>();
    total.reduce_add() + tail
}

/// Sum of `a[i] * b[i]`.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    dots([a], b)[0]
}

/// Dot product of each row with x; all have the same length.
#[inline(always)]
pub(super) fn dots<const ROWS: usize>(rows: [&[f32]; ROWS], x: &[f32]) -> [f32; ROWS] {
    let (x_vectors, x_tail) = x.as_chunks::<LANES>();
    let vectors = rows.map(|row| &row.as_chunks::<LANES>().0[..x_vectors.len()]);
    let mut totals = [f32x8::ZERO; ROWS];
    for (index, x_block) in x_vectors.chunks(BLOCK).enumerate() {
        let blocks = vectors.map(|row| &row[index * BLOCK..][..x_block.len()]);
        let mut sums = [f32x8::ZERO; ROWS];
        for (at, &x) in x_block.iter().enumerate() {
            let x = f32x8::new(x);
            for (sum, block) in sums.iter_mut().zip(blocks) {
                *sum += f32x8::new(block[at]) * x;
            }
        }
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    std::array::from_fn(|row| {
        let tail = &rows[row][LANES * x_vectors.len()..];
        totals[row].reduce_add() + tail.iter().zip(x_tail).map(|(w, x)| w * x).sum::<f32>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_include_the_tail() {
        for n in (0..40usize).chain(120..150) {
            let x: Vec<f32> = (0..n).map(|i| (i % 11) as f32).collect();
            let squares = (0..n).map(|i| ((i % 11) * (i % 11)) as f32).sum::<f32>();
            assert_eq!(sum_of(&x, |v| v * v), squares, "n = {n}");
            assert_eq!(dot(&x, &x), squares, "n = {n}");
        }
    }
}
