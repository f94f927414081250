//! Activations as integers, for integer dot products.

/// Columns that share a step.
const BLOCK: usize = 16;

/// The largest integer of so many bytes: its first byte 127, the others 0, so that rounding them never carries out of it.
pub(crate) fn largest_integer(digits: u32) -> u32 {
    127 << (8 * (digits - 1))
}

/// Each 16 elements as multiples of a step, 1 / (127 * 256^(digits - 1)) of their largest magnitude; any shape of whole
/// sixteens.
///
/// `x = step * round(x / step)`, with integers of as many bytes as `digits`, 1 to 3. An element moves by half a step at
/// most: 2^-8 of the largest for one digit, 2^-24 for three, which is what an f32 of that size is rounded by. Division and
/// product add a unit or two in the last place of each element.
pub fn quantise(x: &mut [f32], digits: u32) {
    let largest_integer = largest_integer(digits) as f32;
    for block in x.chunks_mut(BLOCK) {
        let largest = block.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        if largest < 1e-30 {
            block.fill(0.0);
            continue;
        }
        let inverse = largest_integer / largest;
        for x in block {
            *x = (*x * inverse).round_ties_even() * (largest / largest_integer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of all signs and sizes up to 1000.
    fn numbers() -> Vec<f32> {
        (1..=320)
            .map(|i| (i as f32 * 0.7).sin() * 10f32.powi(i % 7 - 3))
            .collect()
    }

    #[test]
    fn elements_move_by_half_a_step() {
        let x = numbers();
        for digits in 1..=3 {
            let mut rounded = x.clone();
            quantise(&mut rounded, digits);
            for (x, rounded) in x.chunks(BLOCK).zip(rounded.chunks(BLOCK)) {
                let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                let half_step = largest / largest_integer(digits) as f32 / 2.0;
                for (x, rounded) in x.iter().zip(rounded) {
                    let bound = half_step + 3e-7 * x.abs();
                    assert!((x - rounded).abs() <= bound, "{x} became {rounded}");
                }
            }
        }
    }

    #[test]
    fn zeros_and_the_largest_stay() {
        let mut x = [0.0; 32];
        x[20] = -3.5;
        let before = x;
        quantise(&mut x, 1);
        assert!(x[..16] == before[..16] && (x[20] + 3.5).abs() < 1e-6);
    }
}
