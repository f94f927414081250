//! Activations as integers, for integer dot products.

/// Columns that share a step.
const BLOCK: usize = 16;

/// The largest magnitude of the integers.
const LARGEST_INTEGER: f32 = 127.0;

/// Each 16 elements as 8-bit multiples of a step, 1/127 of their largest magnitude; any shape of whole sixteens.
///
/// `x = step * round(x / step)`. An element moves by half a step at most, 2^-8 of the largest. Division and product add a
/// unit or two in the last place.
pub fn quantise(x: &mut [f32]) {
    for block in x.chunks_mut(BLOCK) {
        let largest = block.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        if largest < 1e-30 {
            block.fill(0.0);
            continue;
        }
        let inverse = LARGEST_INTEGER / largest;
        for x in block {
            *x = (*x * inverse).round_ties_even() * (largest / LARGEST_INTEGER);
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
        let mut rounded = x.clone();
        quantise(&mut rounded);
        for (x, rounded) in x.chunks(BLOCK).zip(rounded.chunks(BLOCK)) {
            let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            let half_step = largest / LARGEST_INTEGER / 2.0;
            for (x, rounded) in x.iter().zip(rounded) {
                let bound = half_step + 3e-7 * x.abs();
                assert!((x - rounded).abs() <= bound, "{x} became {rounded}");
            }
        }
    }

    #[test]
    fn zeros_and_the_largest_stay() {
        let mut x = [0.0; 32];
        x[20] = -3.5;
        let before = x;
        quantise(&mut x);
        assert!(x[..16] == before[..16] && (x[20] + 3.5).abs() < 1e-6);
    }
}
