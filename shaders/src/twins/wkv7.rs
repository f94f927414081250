//! The WKV-7 recurrence, one token after the other.

use super::parallel::min_rows;
use super::reduce::dot;
use rayon::prelude::*;

/// What enters the recurrence; each slice is `[tokens, heads, head_size]`.
#[derive(Clone, Copy, Debug)]
pub struct Wkv7Inputs<'a> {
    /// Receptance: what is read.
    pub r: &'a [f32],
    /// Decay factor of each key channel, see [`decay`](super::decay).
    pub w: &'a [f32],
    /// Key, after [`scale_key`](super::scale_key).
    pub k: &'a [f32],
    /// Value, after [`value_residual`](super::value_residual).
    pub v: &'a [f32],
    /// Removal key, see [`removal_key`](super::removal_key).
    pub kk: &'a [f32],
    /// In-context learning rate, see [`iclr`](super::iclr).
    pub a: &'a [f32],
}

impl<'a> Wkv7Inputs<'a> {
    /// Those of the first tokens, which have so many numbers in each.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn first(self, numbers: usize) -> Wkv7Inputs<'a> {
        let cut = |of_all: &'a [f32]| &of_all[..numbers];
        Wkv7Inputs {
            r: cut(self.r),
            w: cut(self.w),
            k: cut(self.k),
            v: cut(self.v),
            kk: cut(self.kk),
            a: cut(self.a),
        }
    }

    fn check(&self, y: &[f32]) {
        let Wkv7Inputs { r, w, k, v, kk, a } = self;
        assert_eq!([y.len(); 6], [r, w, k, v, kk, a].map(|x| x.len()));
    }
}

/// Advances the state by all tokens and reads it after each. Shapes: state `[heads, value, key]`, where value and key are
/// both `head_size`; y `[tokens, heads, head_size]`.
///
/// For each token and head, with i over the values and j over the keys:
///
/// ```text
/// removed[i] = sum_j S[i, j] * kk[j]                                  the old state, before its decay
/// S[i, j]    = S[i, j] * w[j] - removed[i] * kk[j] * a[j] + v[i] * k[j]
/// y[i]       = sum_j S[i, j] * r[j]                                   the new state
/// ```
///
/// Rows of the state (fixed head and i) are independent of one another.
///
/// # Panics
/// If the lengths disagree.
pub fn wkv7(inputs: Wkv7Inputs<'_>, head_size: usize, state: &mut [f32], y: &mut [f32]) {
    let head_len = head_size * head_size;
    let width = state.len() / head_size;
    inputs.check(y);
    let outputs: Vec<Vec<f32>> = state
        .par_chunks_exact_mut(head_len)
        .with_min_len(min_rows(4 * head_len * (y.len() / width)))
        .enumerate()
        .map(|(head, state)| advance_head(inputs, width, head * head_size, head_size, state))
        .collect();
    put_heads(&outputs, head_size, y);
}

/// What [`wkv7`] reads, without the state being advanced.
///
/// # Panics
/// If the lengths disagree.
pub fn wkv7_ahead(inputs: Wkv7Inputs<'_>, head_size: usize, state: &[f32], y: &mut [f32]) {
    let head_len = head_size * head_size;
    let width = state.len() / head_size;
    inputs.check(y);
    let outputs: Vec<Vec<f32>> = state
        .par_chunks_exact(head_len)
        .with_min_len(min_rows(4 * head_len * (y.len() / width)))
        .enumerate()
        .map(|(head, state)| {
            let mut state = state.to_vec(); // one head's, which is thrown away
            advance_head(inputs, width, head * head_size, head_size, &mut state)
        })
        .collect();
    put_heads(&outputs, head_size, y);
}

/// The heads of y interleave, so each head's part is made apart and then put in its place.
fn put_heads(outputs: &[Vec<f32>], head_size: usize, y: &mut [f32]) {
    let width = outputs.len() * head_size;
    for (head, output) in outputs.iter().enumerate() {
        for (y, output) in y
            .chunks_exact_mut(width)
            .zip(output.chunks_exact(head_size))
        {
            y[head * head_size..][..head_size].copy_from_slice(output);
        }
    }
}

/// One head whose channels begin at `offset` of each token. Returns y as `[tokens, head_size]`.
fn advance_head(
    inputs: Wkv7Inputs<'_>,
    width: usize,
    offset: usize,
    head_size: usize,
    state: &mut [f32],
) -> Vec<f32> {
    let tokens = inputs.r.len() / width;
    let mut y = vec![0.0; tokens * head_size];
    let mut kk_a = vec![0.0; head_size];
    for (token, y) in y.chunks_exact_mut(head_size).enumerate() {
        let [r, w, k, v, kk, a] = [inputs.r, inputs.w, inputs.k, inputs.v, inputs.kk, inputs.a]
            .map(|x| &x[token * width + offset..][..head_size]);
        for ((kk_a, kk), a) in kk_a.iter_mut().zip(kk).zip(a) {
            *kk_a = kk * a;
        }
        for ((row, &v), y) in state.chunks_exact_mut(head_size).zip(v).zip(y) {
            let removed = dot(row, kk);
            for (((s, w), kk_a), k) in row.iter_mut().zip(w).zip(&kk_a).zip(k) {
                *s = *s * w - removed * kk_a + v * k;
            }
            *y = dot(row, r);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_by_hand() {
        let mut state = [1.0, 2.0, 3.0, 4.0];
        let mut y = [0.0; 2];
        let inputs = Wkv7Inputs {
            r: &[1.0, 10.0],
            w: &[0.5, 1.0],
            k: &[1.0, 2.0],
            v: &[1.0, -1.0],
            kk: &[1.0, 0.0],
            a: &[0.25, 1.0],
        };
        wkv7(inputs, 2, &mut state, &mut y);
        // row 0: removed 1: [0.5 - 0.25 + 1, 2 + 2]; row 1: removed 3: [1.5 - 0.75 - 1, 4 - 2]
        assert_eq!(state, [1.25, 4.0, -0.25, 2.0]);
        assert_eq!(y, [41.25, 19.75]);
    }

    #[test]
    fn looking_ahead_reads_the_same_and_leaves_the_state() {
        let x: Vec<f32> = (0..3 * 8)
            .map(|i| (i * 7919 % 101) as f32 / 101.0)
            .collect();
        let inputs = Wkv7Inputs {
            r: &x,
            w: &x,
            k: &x,
            v: &x,
            kk: &x,
            a: &x,
        };
        let mut state: Vec<f32> = (0..2 * 16).map(|i| i as f32 / 32.0).collect();
        let (before, [mut ahead, mut y]) = (state.clone(), [vec![0.0; 24], vec![0.0; 24]]);
        wkv7_ahead(inputs, 4, &state, &mut ahead);
        assert_eq!(state, before);
        wkv7(inputs, 4, &mut state, &mut y);
        assert_eq!(ahead, y);
        let mut after_two = before;
        wkv7(inputs.first(16), 4, &mut after_two, &mut y[..16]);
        assert_eq!(ahead[..16], y[..16]);
    }

    #[test]
    fn splitting_the_tokens_changes_no_bit() {
        let (heads, head_size, tokens) = (3, 4, 10);
        let width = heads * head_size;
        let noise = |seed: usize| -> Vec<f32> {
            (0..tokens * width)
                .map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0)
                .collect()
        };
        let x: Vec<Vec<f32>> = (0..6).map(noise).collect();
        let run = |from: usize, to: usize, state: &mut Vec<f32>| {
            let part = |i: usize| &x[i][from * width..to * width];
            let inputs = Wkv7Inputs {
                r: part(0),
                w: part(1),
                k: part(2),
                v: part(3),
                kk: part(4),
                a: part(5),
            };
            let mut y = vec![0.0; (to - from) * width];
            wkv7(inputs, head_size, state, &mut y);
            y
        };
        let zeros = vec![0.0; width * head_size];
        let (mut whole, mut split) = (zeros.clone(), zeros);
        let y = run(0, tokens, &mut whole);
        let parts = [
            run(0, 1, &mut split),
            run(1, 7, &mut split),
            run(7, tokens, &mut split),
        ]
        .concat();
        assert_eq!((y, whole), (parts, split));
    }
}
