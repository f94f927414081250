//! The removal key: the direction in which the state forgets.

use super::parallel::for_each_row;
use super::reduce::dot;

/// Floor of the norm that a key is divided by, so that a zero key stays zero.
const MIN_NORM: f32 = 1e-12;

/// `kk = k * k_k`, then each head divided by its length. Shapes: k and kk `[tokens, heads, head_size]`, k_k
/// `[heads, head_size]`.
///
/// k is the raw projection, before [`scale_key`](super::scale_key). The length is taken no smaller than 1e-12.
///
/// # Panics
/// If the lengths disagree.
pub fn removal_key(k: &[f32], k_k: &[f32], head_size: usize, kk: &mut [f32]) {
    let width = k_k.len();
    assert_eq!(k.len(), kk.len());
    for_each_row(kk, width, 4 * width, |token, kk| {
        for ((kk, k), k_k) in kk.iter_mut().zip(&k[token * width..]).zip(k_k) {
            *kk = k * k_k;
        }
        for head in kk.chunks_exact_mut(head_size) {
            let scale = 1.0 / dot(head, head).sqrt().max(MIN_NORM);
            head.iter_mut().for_each(|v| *v *= scale);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_length_one_or_zero() {
        let mut kk = [9.0; 4];
        removal_key(&[3.0, 2.0, 0.0, 0.0], &[1.0, 2.0, 5.0, 5.0], 2, &mut kk);
        assert!(
            (kk[0] - 0.6).abs() < 1e-7 && (kk[1] - 0.8).abs() < 1e-7,
            "{kk:?}"
        );
        assert_eq!(kk[2..], [0.0, 0.0]);
    }
}
