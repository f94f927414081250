//! Sums in a fixed order: eight running sums, which the compiler keeps in vector registers, added at the end.
//!
//! Eight partial sums are also more accurate than one: each meets an eighth of the roundings.

/// Running sums of one reduction.
pub(super) const LANES: usize = 8;

/// Adds the running sums pairwise.
#[inline(always)]
pub(super) fn add_lanes(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Sum of `term(x[i])`.
#[inline(always)]
pub(super) fn sum_of(x: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (blocks, tail) = x.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane += term(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(tail) {
        *lane += term(value);
    }
    add_lanes(lanes)
}

/// Sum of `a[i] * b[i]`.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *lane += a * b;
    }
    add_lanes(lanes)
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
