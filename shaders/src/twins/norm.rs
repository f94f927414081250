//! Layer norm over the width and group norm over the heads. Both use the population variance.

use super::parallel::for_each_row;
use super::reduce::sum_of;

/// Added to the variance by the group norm behind the recurrence. RWKV-7 fixes it; files do not carry it.
pub const GROUP_NORM_EPS: f32 = 64e-5;

/// Layer norm of each token. Shapes: x and out `[tokens, width]`, weight and bias `[width]`.
///
/// `out = (x - mean) / sqrt(variance + eps) * weight + bias`, mean and variance over the width.
///
/// # Panics
/// If the lengths disagree.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    assert_eq!(x.len(), out.len());
    for_each_row(out, width, 16 * width, |token, out| {
        out.copy_from_slice(&x[token * width..][..width]);
        normalise(out, eps);
        scale_and_shift(out, weight, bias);
    });
}

/// Group norm of each token, in place: each head is normalised apart. Shapes: y `[tokens, heads, head_size]`, weight and
/// bias `[heads, head_size]`.
///
/// As [`layer_norm`], but mean and variance over the head and eps fixed to [`GROUP_NORM_EPS`].
///
/// # Panics
/// If the lengths disagree.
pub fn group_norm(y: &mut [f32], weight: &[f32], bias: &[f32], head_size: usize) {
    let width = weight.len();
    for_each_row(y, width, 16 * width, |_, y| {
        for head in y.chunks_exact_mut(head_size) {
            normalise(head, GROUP_NORM_EPS);
        }
        scale_and_shift(y, weight, bias);
    });
}

/// Mean 0, variance 1 (nearly: eps keeps a constant row finite).
fn normalise(x: &mut [f32], eps: f32) {
    let count = x.len() as f32;
    let mean = sum_of(x, |v| v) / count;
    let variance = sum_of(x, |v| (v - mean) * (v - mean)) / count;
    let scale = 1.0 / (variance + eps).sqrt();
    for v in x {
        *v = (*v - mean) * scale;
    }
}

fn scale_and_shift(x: &mut [f32], weight: &[f32], bias: &[f32]) {
    assert_eq!((x.len(), x.len()), (weight.len(), bias.len()));
    for ((v, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
        *v = *v * weight + bias;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_norm_uses_the_population_variance() {
        // mean 2, variance 1 (the sample variance would be 4/3)
        let mut out = [0.0; 4];
        layer_norm(
            &[1.0, 3.0, 1.0, 3.0],
            &[2.0, 2.0, 2.0, 10.0],
            &[0.0, 0.0, 0.5, 0.0],
            0.0,
            &mut out,
        );
        assert_eq!(out, [-2.0, 2.0, -1.5, 10.0]);
    }

    #[test]
    fn layer_norm_adds_eps_to_the_variance() {
        let mut out = [0.0; 2];
        layer_norm(&[-1.0, 1.0], &[1.0; 2], &[0.0; 2], 3.0, &mut out);
        assert_eq!(out, [-0.5, 0.5]);
    }

    #[test]
    fn group_norm_treats_each_head_apart() {
        let mut y = [0.0, 200.0, 1.0, 1.0];
        group_norm(&mut y, &[1.0; 4], &[0.25; 4], 2);
        assert!(
            (y[0] - -0.75).abs() < 1e-5 && (y[1] - 1.25).abs() < 1e-5,
            "{y:?}"
        );
        assert_eq!(y[2..], [0.25, 0.25]);
    }
}
