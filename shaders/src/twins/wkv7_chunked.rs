//! The WKV-7 recurrence, many tokens at a time: the same function as [`wkv7`](super::wkv7()) as products of matrices.

use rayon::prelude::*;

use super::dense::{Dense, Operands};
use super::wkv7::Wkv7Inputs;
use super::wkv7_chunk::{Chunk, LONGEST};

/// The recurrence in chunks of `chunk` tokens, in f32. Shapes and meaning as for [`wkv7`](super::wkv7()).
///
/// Of each chunk only `U = P S^T + Q` and the new state wait for the chunk before, see the module `wkv7_chunk`. The decays
/// must be those of [`decay`](super::decay()), at least 0.545. Unlike with the other twins the split into calls shows in the
/// last bits, unless it falls between chunks.
///
/// # Panics
/// If the lengths disagree or `chunk` is not between 1 and 128.
pub fn wkv7_chunked(
    inputs: Wkv7Inputs<'_>,
    head_size: usize,
    chunk: usize,
    state: &mut [f32],
    y: &mut [f32],
) {
    let f32s = Operands::Single;
    for_each_head(inputs, head_size, chunk, f32s, state, y, |chunk, state| {
        let by_key = state.transposed();
        let u = chunk.p.times(&by_key, f32s).plus(&chunk.q);
        let y = chunk.r.times(&by_key, f32s);
        let y = y.plus(&chunk.mrb.times(&u, f32s));
        let y = y.plus(&chunk.mrk.times(&chunk.v, f32s));
        let removed = u.transposed().times(&chunk.b, f32s);
        let added = chunk.v.transposed().times(&chunk.k, f32s);
        let next = state.clone().times_columns(&chunk.decay);
        *state = next.plus(&removed).plus(&added);
        y
    });
}

/// The recurrence in chunks of `chunk` tokens, each an affine map of the state, for cooperative matrices: the operands of
/// products are rounded to f16, sums and the state are f32. Shapes and meaning as for [`wkv7`](super::wkv7()).
///
/// With U substituted in the formulas of the module `wkv7_chunk`, four matrices that need no state remain:
///
/// ```text
/// S after = S D(end, start) + S M + C         M = P^T B         C = Q^T B + V^T K
/// Y       = E S^T + F                         E = R + Mrb P     F = Mrb Q + Mrk V
/// ```
///
/// The decay stays out of M, so that what persists of the state is never rounded. Of each chunk one product `S M` waits for
/// the chunk before. Bounds as for [`wkv7_chunked`].
///
/// # Panics
/// If the lengths disagree or `chunk` is not between 1 and 128.
pub fn wkv7_affine(
    inputs: Wkv7Inputs<'_>,
    head_size: usize,
    chunk: usize,
    state: &mut [f32],
    y: &mut [f32],
) {
    let f16s = Operands::Half;
    for_each_head(inputs, head_size, chunk, f16s, state, y, |chunk, state| {
        let m = chunk.p.transposed().times(&chunk.b, f16s);
        let c = chunk.q.transposed().times(&chunk.b, f16s);
        let c = c.plus(&chunk.v.transposed().times(&chunk.k, f16s));
        let e = chunk.mrb.times(&chunk.p, f16s).plus(&chunk.r);
        let f = chunk.mrb.times(&chunk.q, f16s);
        let f = f.plus(&chunk.mrk.times(&chunk.v, f16s));

        let y = e.times(&state.transposed(), f16s).plus(&f);
        let kept = state.clone().times_columns(&chunk.decay);
        *state = kept.plus(&state.times(&m, f16s)).plus(&c);
        y
    });
}

/// Takes every head through its chunks: `advance` has the chunk and the state before it, replaces the state, and returns y
/// `[tokens, values]`.
fn for_each_head(
    inputs: Wkv7Inputs<'_>,
    head_size: usize,
    chunk: usize,
    operands: Operands,
    state: &mut [f32],
    y: &mut [f32],
    advance: impl Fn(&Chunk, &mut Dense) -> Dense + Sync,
) {
    assert!((1..=LONGEST).contains(&chunk), "chunks of {chunk} tokens");
    let width = state.len() / head_size;
    let tokens = y.len() / width;
    let Wkv7Inputs { r, w, k, v, kk, a } = inputs;
    assert_eq!([y.len(); 6], [r, w, k, v, kk, a].map(<[f32]>::len));

    let outputs: Vec<Dense> = state
        .par_chunks_exact_mut(head_size * head_size)
        .enumerate()
        .map(|(head, values)| {
            let mut state = Dense::from_fn(head_size, head_size, |i, j| values[i * head_size + j]);
            let mut output = Dense::zeros(tokens, head_size);
            for first in (0..tokens).step_by(chunk) {
                let span = (first, chunk.min(tokens - first));
                let channels = (head * head_size, head_size);
                let chunk = Chunk::new(inputs, width, span, channels, operands);
                output.put(first, 0, &advance(&chunk, &mut state));
            }
            values.copy_from_slice(&state.into_values());
            output
        })
        .collect();
    for (token, y) in y.chunks_exact_mut(width).enumerate() {
        for (y, output) in y.chunks_exact_mut(head_size).zip(&outputs) {
            y.copy_from_slice(output.row(token));
        }
    }
}
