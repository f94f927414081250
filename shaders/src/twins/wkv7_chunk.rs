//! What the recurrence does in a chunk of tokens, apart from the state it starts with.
//!
//! Let S be the state, `[values, keys]`, before the chunk, and per token b = kk * a, u = -S kk with the state as the token
//! finds it. Then the state is a decayed sum of terms `u b^T + v k^T`, and the only unknowns are the u. With a row for each
//! token, and D(t, s) the product of the decays of the tokens after s up to t:
//!
//! ```text
//! A[t] = -kk[t] * D(t - 1, start)         R[t] = r[t] * D(t, start)
//! Lab[t, s] = sum -kk[t] b[s] D(t - 1, s)   for s < t;  Lak likewise with k for b
//! Mrb[t, s] = sum  r[t]  b[s] D(t, s)       for s <= t; Mrk likewise with k for b
//! (I - Lab) U = A S^T + Lak V             U = P S^T + Q with P = X A, Q = X Lak V, X = (I - Lab)^-1
//! Y = R S^T + Mrb U + Mrk V
//! S after = S D(end, start) + U^T B + V^T K      where B[s] = b[s] * D(end, s), K[s] = k[s] * D(end, s)
//! ```
//!
//! This is the chunk form of a state that decays by a diagonal and changes by one rank a token, known from DeltaNet and its
//! kin. A decay of RWKV-7 is never below 0.545, so that products over 128 tokens and their reciprocals still are ordinary
//! f32s. The decays are multiplied, never added as logarithms: near 1, where they mean thousands of tokens, that keeps every
//! bit of theirs.

use std::ops::Range;

use super::dense::{Dense, Operands};
use super::triangular;
use super::wkv7::Wkv7Inputs;

/// The longest chunk whose decays have a reciprocal: 1 / 0.545^128 = 5e33.
pub(super) const LONGEST: usize = 128;

/// Tokens whose decays are divided out together, see [`Decays::gram`].
const BLOCK: usize = 16;

/// A chunk of one head; rows are tokens but for `decay`. The names are those of the formulas above.
pub(super) struct Chunk {
    /// P `[tokens, keys]`
    pub(super) p: Dense,
    /// Q `[tokens, values]`
    pub(super) q: Dense,
    /// R `[tokens, keys]`
    pub(super) r: Dense,
    /// Mrb `[tokens, tokens]`
    pub(super) mrb: Dense,
    /// Mrk `[tokens, tokens]`
    pub(super) mrk: Dense,
    /// V `[tokens, values]`
    pub(super) v: Dense,
    /// B `[tokens, keys]`
    pub(super) b: Dense,
    /// K `[tokens, keys]`
    pub(super) k: Dense,
    /// D(end, start) `[keys]`
    pub(super) decay: Vec<f32>,
}

impl Chunk {
    /// The chunk of `tokens` tokens from `first` on of the head whose channels begin at `offset`.
    pub(super) fn new(
        inputs: Wkv7Inputs<'_>,
        width: usize,
        (first, tokens): (usize, usize),
        (offset, head_size): (usize, usize),
        operands: Operands,
    ) -> Chunk {
        let part = |x: &[f32]| {
            Dense::from_fn(tokens, head_size, |t, c| {
                x[(first + t) * width + offset + c]
            })
        };
        let [r, w, k, v, kk, iclr] =
            [inputs.r, inputs.w, inputs.k, inputs.v, inputs.kk, inputs.a].map(part);
        let a = Dense::from_fn(tokens, head_size, |t, c| -kk.row(t)[c]);
        let b = Dense::from_fn(tokens, head_size, |t, c| kk.row(t)[c] * iclr.row(t)[c]);
        let decays = Decays::of(&w);
        let gram = |x, reach, z| decays.gram(x, reach, z, operands);

        let inverse = triangular::inverse(&gram(&a, Reach::Before, &b), operands);
        let a_since_start = decays.since(&a, Reach::Before, 0..tokens, 0);
        let own = gram(&a, Reach::Before, &k).times(&v, operands);
        Chunk {
            p: inverse.times(&a_since_start, operands),
            q: inverse.times(&own, operands),
            r: decays.since(&r, Reach::Through, 0..tokens, 0),
            mrb: gram(&r, Reach::Through, &b),
            mrk: gram(&r, Reach::Through, &k),
            b: decays.until(&b, 0..tokens, tokens),
            k: decays.until(&k, 0..tokens, tokens),
            v,
            decay: decays.0.row(tokens).to_vec(),
        }
    }
}

/// Which state a token's vector meets, and hence the decays and the terms of which tokens.
#[derive(Clone, Copy)]
enum Reach {
    /// The state before the token.
    Before = 0,
    /// The state after it.
    Through = 1,
}

/// Row t is D(t, start), the product of the first t decays; row 0 is 1.
struct Decays(Dense);

impl Decays {
    fn of(w: &Dense) -> Decays {
        let mut product = vec![1.0; w.row(0).len()];
        let mut decays = Dense::zeros(w.rows() + 1, product.len());
        decays.row_mut(0).copy_from_slice(&product);
        for t in 0..w.rows() {
            for (product, w) in product.iter_mut().zip(w.row(t)) {
                *product *= w;
            }
            decays.row_mut(t + 1).copy_from_slice(&product);
        }
        Decays(decays)
    }

    /// The rows of x, each times D(its token, `reference`).
    fn since(&self, x: &Dense, reach: Reach, rows: Range<usize>, reference: usize) -> Dense {
        let reference = self.0.row(reference);
        Dense::from_fn(rows.len(), reference.len(), |t, c| {
            let t = rows.start + t;
            x.row(t)[c] * (self.0.row(t + reach as usize)[c] / reference[c])
        })
    }

    /// The rows of z, each times D(`reference`, its token).
    fn until(&self, z: &Dense, rows: Range<usize>, reference: usize) -> Dense {
        let reference = self.0.row(reference);
        Dense::from_fn(rows.len(), reference.len(), |s, c| {
            let s = rows.start + s;
            z.row(s)[c] * (reference[c] / self.0.row(s + 1)[c])
        })
    }

    /// `sum_c x[t, c] z[s, c] D(t, s)[c]` for the tokens s within the reach of t, otherwise 0.
    ///
    /// The decay is split at a reference between t and s, so that a product of matrices remains. For terms of earlier blocks
    /// it is the beginning of t's block: both factors are at most 1. Within a block it is the middle: both lie within 1/128
    /// and 128, which f16 can hold.
    fn gram(&self, x: &Dense, reach: Reach, z: &Dense, operands: Operands) -> Dense {
        let tokens = x.rows();
        let mut gram = Dense::zeros(tokens, tokens);
        for first in (0..tokens).step_by(BLOCK) {
            let block = first..tokens.min(first + BLOCK);
            let mut split = |columns: Range<usize>, reference| {
                let left = self.since(x, reach, block.clone(), reference);
                let right = self.until(z, columns.clone(), reference).transposed();
                gram.put(first, columns.start, &left.times(&right, operands));
            };
            if first > 0 {
                split(0..first, first);
            }
            split(block.clone(), first + block.len() / 2);
        }
        for t in 0..tokens {
            gram.row_mut(t)[t + reach as usize..].fill(0.0);
        }
        gram
    }
}
