//! Rounded numbers as kernels leave them to each other.

use thalweg_shaders::kernels::ROUNDED_SPAN_VEC4S;

const SPAN_WORDS: usize = 4 * ROUNDED_SPAN_VEC4S;
const LARGEST_INTEGER: f32 = 127.0;

/// `x` as a kernel stores it.
pub(crate) fn pack(x: &[f32]) -> Vec<u32> {
    let mut words = Vec::new();
    for span in x.chunks(32) {
        let mut steps = Vec::new();
        for sixteen in span.chunks(16) {
            let largest = sixteen.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let step = largest / LARGEST_INTEGER;
            let inverse = if largest < 1e-30 { 0.0 } else { 1.0 / step };
            let integers: Vec<i8> = sixteen
                .iter()
                .map(|x| (x * inverse).round_ties_even() as i8)
                .collect();
            let sum: i32 = integers.iter().map(|n| i32::from(*n)).sum();
            steps.extend([step.to_bits(), (step * sum as f32).to_bits()]);
            words.extend(
                integers
                    .chunks(4)
                    .map(|four| u32::from_le_bytes([0, 1, 2, 3].map(|i| four[i] as u8))),
            );
        }
        words.extend(steps);
    }
    words
}

/// Checks that the words which `found` is the bits of are `expected`, rounded.
pub(crate) fn assert_rounded(found: &[f32], expected: &[f32], what: &str) {
    let words: Vec<u32> = found.iter().map(|word| word.to_bits()).collect();
    assert_eq!(words.len(), expected.len() / 32 * SPAN_WORDS, "{what}");
    for (span, expected) in words.chunks(SPAN_WORDS).zip(expected.chunks(32)) {
        for (half, expected) in expected.chunks(16).enumerate() {
            let integers: Vec<f32> = span[4 * half..][..4]
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .map(|byte| f32::from(byte as i8))
                .collect();
            let [step, sum] = [0, 1].map(|i| f32::from_bits(span[8 + 2 * half + i]));
            let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let found = step * LARGEST_INTEGER;
            assert!(
                (found - largest).abs() <= 1e-4 * largest,
                "{what}: {found} for {largest}"
            );
            let of_integers = step * integers.iter().sum::<f32>();
            assert!(
                (sum - of_integers).abs() <= 1e-5 * largest,
                "{what}: the sum is {sum}"
            );
            for (integer, expected) in integers.iter().zip(expected) {
                // Half a step, and what the number itself may be off by.
                let error = (step * integer - expected).abs();
                assert!(
                    error <= 0.51 * step,
                    "{what}: {integer} x {step} for {expected}"
                );
            }
        }
    }
}
