//! Token shift: each channel looks a part of the way back to the previous token.

use super::parallel::for_each_row;

/// `out[t] = x[t] + (x[t - 1] - x[t]) * mu`. Shapes: x and out `[tokens, width]`, previous and mu `[width]`.
///
/// `previous` stands in for `x[-1]`: the row before the chunk, kept in the state (zeros at the start of a sequence).
///
/// # Panics
/// If the lengths disagree.
pub fn token_shift(x: &[f32], previous: &[f32], mu: &[f32], out: &mut [f32]) {
    let width = mu.len();
    assert_eq!((x.len(), previous.len()), (out.len(), width));
    for_each_row(out, width, width, |token, out| {
        let now = &x[token * width..][..width];
        let before = if token == 0 {
            previous
        } else {
            &x[(token - 1) * width..][..width]
        };
        for (((out, now), before), mu) in out.iter_mut().zip(now).zip(before).zip(mu) {
            *out = now + (before - now) * mu;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_with_the_token_before() {
        let mut out = [0.0; 4];
        token_shift(&[1.0, 2.0, 3.0, 6.0], &[9.0, 0.0], &[0.5, 1.0], &mut out);
        assert_eq!(out, [5.0, 0.0, 2.0, 2.0]);
    }
}
