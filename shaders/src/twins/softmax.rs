//! Softmax: rows of numbers become probabilities. A model needs none, as the sampler weighs tokens by integers; it is
//! what kernels of this size are compared by.

use super::parallel::for_each_row;
use super::reduce::sum_of;

/// `x = exp(x - max) / sum of these`, of each row in place. Shape: x `[rows, width]`, of finite numbers.
///
/// # Panics
/// If x is not whole rows.
pub fn softmax(x: &mut [f32], width: usize) {
    assert_eq!(x.len() % width, 0);
    for_each_row(x, width, 16 * width, |_, x| {
        let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        x.iter_mut().for_each(|x| *x = (*x - largest).exp());
        let sum = sum_of(x, |x| x);
        x.iter_mut().for_each(|x| *x /= sum);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_becomes_probabilities_however_large_its_numbers() {
        // exp(0), exp(ln 3) and the same a thousand higher.
        let mut x = [0.0, 3f32.ln(), 1000.0, 1000.0 + 3f32.ln()];
        softmax(&mut x, 2);
        for (found, expected) in x.into_iter().zip([0.25, 0.75, 0.25, 0.75]) {
            assert!((found - expected).abs() < 1e-4, "{x:?}");
        }
    }
}
