//! Random weights in any encoding.
//!
//! Blocks are not quantised from numbers but drawn: all bits at random, then the block's scales set so that what it
//! decodes to has the wanted spread. That reaches every code of every format, and any new format costs one table row.

use super::weights::Spread;
use half::{bf16, f16};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use thalweg_gguf::{TensorType, blocks};

/// An encoded random matrix `[rows, cols]` whose elements have mean 0 and standard deviation 1 / sqrt(cols).
///
/// # Panics
/// If cols is no whole number of blocks, or the type cannot be decoded.
pub fn matrix(ty: TensorType, rows: usize, cols: usize, seed: u64) -> Vec<u8> {
    assert!(
        cols.is_multiple_of(ty.block_len()),
        "{cols} columns of {ty}"
    );
    let spread = Spread {
        mean: 0.0,
        deviation: 1.0 / (cols as f32).sqrt(),
    };
    random(
        ty,
        rows * cols,
        spread,
        &mut ChaCha8Rng::seed_from_u64(seed),
    )
}

/// Encoded elements; those of block formats always have mean 0.
pub(super) fn random(
    ty: TensorType,
    elements: usize,
    spread: Spread,
    rng: &mut ChaCha8Rng,
) -> Vec<u8> {
    let blocks = elements / ty.block_len();
    match ty {
        TensorType::F32 => (0..blocks)
            .flat_map(|_| number(spread, rng).to_le_bytes())
            .collect(),
        TensorType::F16 => (0..blocks)
            .flat_map(|_| f16::from_f32(number(spread, rng)).to_le_bytes())
            .collect(),
        TensorType::BF16 => (0..blocks)
            .flat_map(|_| bf16::from_f32(number(spread, rng)).to_le_bytes())
            .collect(),
        _ => (0..blocks)
            .flat_map(|_| block(ty, spread.deviation, rng))
            .collect(),
    }
}

/// A number from an even distribution of that mean and deviation.
fn number(Spread { mean, deviation }: Spread, rng: &mut ChaCha8Rng) -> f32 {
    let between_0_and_1 = rng.next_u32() as f32 / u32::MAX as f32;
    mean + deviation * 12f32.sqrt() * (between_0_and_1 - 0.5)
}

/// Where a block keeps its f16 scale and, in formats with an offset, the scale of the offset, in bytes.
fn scale_places(ty: TensorType) -> (usize, Option<usize>) {
    match ty {
        TensorType::Q2_K => (80, Some(82)),
        TensorType::Q3_K => (108, None),
        TensorType::Q6_K => (208, None),
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4_K | TensorType::Q5_K => (0, Some(2)),
        _ => (0, None),
    }
}

/// One block of mean 0 (where the format has offsets) and about the given deviation.
///
/// What a block decodes to is linear in its two scales, so each is set to 1 alone to see what it does.
fn block(ty: TensorType, deviation: f32, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; ty.block_bytes()];
    rng.fill_bytes(&mut bytes);
    let (scale_at, offset_at) = scale_places(ty);
    let mut decoded_with = |scale: f32, offset: f32| {
        let mut put = |at: usize, value: f32| {
            bytes[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes())
        };
        put(scale_at, scale);
        if let Some(at) = offset_at {
            put(at, offset);
        }
        let mut values = vec![0.0; ty.block_len()];
        let decoded = blocks::decode(ty, &bytes, &mut values);
        assert!(decoded.is_ok(), "{ty} is decoded from whole blocks");
        values
    };
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let offset = match offset_at {
        Some(_) => -mean(&decoded_with(1.0, 0.0)) / mean(&decoded_with(0.0, 1.0)),
        None => 0.0,
    };
    let squares: f32 = decoded_with(1.0, offset).iter().map(|v| v * v).sum();
    let scale = deviation / (squares / ty.block_len() as f32).sqrt()
        * number(
            Spread {
                mean: 1.0,
                deviation: 0.1,
            },
            rng,
        );
    decoded_with(scale, scale * offset);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_the_wanted_spread() {
        for ty in TensorType::all().filter(|ty| ty.is_supported()) {
            let bytes = matrix(ty, 64, 256, 9);
            let mut values = vec![0.0; 64 * 256];
            blocks::decode(ty, &bytes, &mut values).unwrap();
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            let deviation =
                (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
            assert!(mean.abs() < 0.02, "{ty}: mean {mean}");
            assert!(
                (0.05..0.08).contains(&deviation),
                "{ty}: deviation {deviation}"
            );
        }
    }
}
