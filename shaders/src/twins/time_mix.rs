//! What becomes of the projections of time mixing before they enter the recurrence.
//!
//! Each takes the raw output of a projection or low-rank pair and works in place.

use super::activation::logistic;
use super::parallel::for_each_row;

/// exp(-1/2), which sets the fastest decay: `w` is never below exp(-exp(-1/2)) = 0.545.
const DECAY_SCALE: f32 = 0.606_530_66;

/// Decay factors: `x = exp(-exp(-1/2) * sigmoid(w0 + x))`. Shapes: x `[tokens, width]`, w0 `[width]`.
///
/// On entry x is `W2 tanh(W1 xw)`, on return `w`, between 0.545 and 1.
///
/// # Panics
/// If x is not whole rows.
pub fn decay(x: &mut [f32], w0: &[f32]) {
    per_channel(x, w0, |x, w0| (-DECAY_SCALE * logistic(w0 + x)).exp());
}

/// In-context learning rate: `x = sigmoid(a0 + x)`. Shapes: x `[tokens, width]`, a0 `[width]`.
///
/// On entry x is `A2 A1 xa`, on return `a`, between 0 and 1.
///
/// # Panics
/// If x is not whole rows.
pub fn iclr(x: &mut [f32], a0: &[f32]) {
    per_channel(x, a0, |x, a0| logistic(a0 + x));
}

/// Value residual: `v = v + (v_first - v) * sigmoid(v0 + x)`. Shapes: v, v_first and x `[tokens, width]`, v0 `[width]`.
///
/// x is `V2 V1 xv`; v_first the values of layer 0 for the same tokens. Layer 0 itself has no such step.
///
/// # Panics
/// If the lengths disagree.
pub fn value_residual(v: &mut [f32], v_first: &[f32], x: &[f32], v0: &[f32]) {
    let width = v0.len();
    assert_eq!((v.len(), v.len()), (v_first.len(), x.len()));
    for_each_row(v, width, 16 * width, |token, v| {
        let v_first = &v_first[token * width..][..width];
        let x = &x[token * width..][..width];
        for (((v, first), x), v0) in v.iter_mut().zip(v_first).zip(x).zip(v0) {
            *v += (first - *v) * logistic(v0 + x);
        }
    });
}

/// Key scaling: `k = k * (1 + (a - 1) * k_a)`. Shapes: k and a `[tokens, width]`, k_a `[width]`.
///
/// Comes after [`removal_key`](super::removal_key), which wants the raw k.
///
/// # Panics
/// If the lengths disagree.
pub fn scale_key(k: &mut [f32], a: &[f32], k_a: &[f32]) {
    let width = k_a.len();
    assert_eq!(k.len(), a.len());
    for_each_row(k, width, width, |token, k| {
        for ((k, a), k_a) in k.iter_mut().zip(&a[token * width..]).zip(k_a) {
            *k *= 1.0 + (a - 1.0) * k_a;
        }
    });
}

/// `x[t][c] = f(x[t][c], channel[c])`.
fn per_channel(x: &mut [f32], channel: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    assert_eq!(x.len() % channel.len(), 0);
    for_each_row(x, channel.len(), 16 * channel.len(), |_, x| {
        for (x, &channel) in x.iter_mut().zip(channel) {
            *x = f(*x, channel);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_spans_its_range() {
        let mut x = [-200.0, 200.0, -1.0, 0.0];
        decay(&mut x, &[0.0, 1.0]);
        assert_eq!(x[0], 1.0);
        assert!((x[1] - 0.545_239_2).abs() < 1e-6);
        // decay logits of -1 and 1, computed in f64
        assert!((x[2] - 0.849_488_2).abs() < 1e-6, "{x:?}");
        assert!((x[3] - 0.641_844_3).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn iclr_adds_the_bias_of_its_channel() {
        let mut x = [1.0, 0.0, 0.0, 0.0];
        iclr(&mut x, &[-1.0, 3f32.ln()]);
        assert!((x[1] - 0.75).abs() < 1e-6 && (x[3] - 0.75).abs() < 1e-6 && x[0] == 0.5);
    }

    #[test]
    fn values_move_towards_the_first_layers() {
        let mut v = [1.0, 1.0];
        value_residual(&mut v, &[3.0, 3.0], &[0.0, 100.0], &[0.0, 0.0]);
        assert_eq!(v, [2.0, 3.0]);
    }

    #[test]
    fn keys_scale_with_the_learning_rate() {
        let mut k = [2.0, 2.0, 2.0, 2.0];
        scale_key(&mut k, &[1.0, 0.5, 0.0, 0.5], &[1.0, 0.5]);
        assert_eq!(k, [2.0, 1.5, 0.0, 1.5]);
    }
}
