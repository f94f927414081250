//! Sums in a fixed order: eight running sums side by side in vector registers, added at the end.
//!
//! Eight partial sums are also more accurate than one: each meets an eighth of the roundings. Products are rounded
//! before they are added, on every machine.

use wide::f32x8;

/// Running sums of one reduction.
pub(super) const LANES: usize = 8;

/// Sum of `term(x[i])`.
#[inline(always)]
pub(super) fn sum_of(x: &[f32], term: impl Fn(f32x8) -> f32x8) -> f32 {
    let (blocks, tail) = x.as_chunks();
    let sums = blocks
        .iter()
        .map(|&block| term(f32x8::new(block)))
        .fold(f32x8::ZERO, |sums, terms| sums + terms);
    let tail = tail
        .iter()
        .map(|&value| term(f32x8::splat(value)).to_array()[0])
        .sum::<f32>();
    sums.reduce_add() + tail
}

/// Sum of `a[i] * b[i]`.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    dots([a], b)[0]
}

/// Dot product of each row with x; all have the same length.
#[inline(always)]
pub(super) fn dots<const ROWS: usize>(rows: [&[f32]; ROWS], x: &[f32]) -> [f32; ROWS] {
    let (x_blocks, x_tail) = x.as_chunks::<LANES>();
    let blocks = rows.map(|row| &row.as_chunks::<LANES>().0[..x_blocks.len()]);
    let mut sums = [f32x8::ZERO; ROWS];
    for (at, &x) in x_blocks.iter().enumerate() {
        let x = f32x8::new(x);
        for (sum, blocks) in sums.iter_mut().zip(blocks) {
            *sum += f32x8::new(blocks[at]) * x;
        }
    }
    std::array::from_fn(|row| {
        let tail = &rows[row][LANES * x_blocks.len()..];
        sums[row].reduce_add() + tail.iter().zip(x_tail).map(|(w, x)| w * x).sum::<f32>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_include_the_tail() {
        for n in 0..40usize {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let squares = (0..n).map(|i| (i * i) as f32).sum::<f32>();
            assert_eq!(sum_of(&x, |v| v * v), squares, "n = {n}");
            assert_eq!(dot(&x, &x), squares, "n = {n}");
        }
    }
}
