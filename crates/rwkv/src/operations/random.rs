//! Numbers and weights that look random and are the same in every run.

use thalweg_gguf::TensorType;
use thalweg_shaders::{Encoding, encode_rows, encode_rows_as_halves};

use crate::Error;

/// Rows of a matrix that differ; the others repeat them, which makes matrices quick to make and no quicker to read.
const DISTINCT_ROWS: usize = 16;

/// So many numbers between `low` and `high`.
pub fn random_numbers(count: usize, low: f32, high: f32) -> impl Iterator<Item = f32> {
    let scale = (high - low) / (1u64 << 32) as f32;
    bits()
        .take(count)
        .map(move |bits| low + scale * bits as f32)
}

/// A matrix as a file has it, row by row. A row is a whole number of blocks.
pub fn random_rows(ty: TensorType, rows: usize, columns: usize) -> Vec<u8> {
    let row_bytes = columns / ty.block_len() * ty.block_bytes();
    repeated(distinct_rows(ty, columns), rows * row_bytes)
}

/// The same matrix in one of a device's encodings: that of its type, or halves where that is single precision.
///
/// # Errors
/// The type cannot be decoded, or a row is no whole number of blocks.
pub fn random_encoded_rows(
    ty: TensorType,
    encoding: Encoding,
    rows: usize,
    columns: usize,
) -> Result<Vec<u8>, Error> {
    let row_bytes = encoding.row_bytes(columns);
    let mut encoded = vec![0; DISTINCT_ROWS * row_bytes];
    let distinct = distinct_rows(ty, columns);
    match encoding == Encoding::of(ty) {
        true => encode_rows(ty, columns, &distinct, &mut encoded)?,
        false => encode_rows_as_halves(ty, columns, &distinct, &mut encoded)?,
    }
    Ok(repeated(encoded, rows * row_bytes))
}

/// Small bytes keep scales and halves ordinary numbers.
fn distinct_rows(ty: TensorType, columns: usize) -> Vec<u8> {
    let blocks = DISTINCT_ROWS * (columns / ty.block_len());
    let small = bits().map(|bits| (bits % 59) as u8);
    small.take(blocks * ty.block_bytes()).collect()
}

fn repeated(rows: Vec<u8>, bytes: usize) -> Vec<u8> {
    rows.into_iter().cycle().take(bytes).collect()
}

fn bits() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(0x9e37_79b9_7f4a_7c15_u64), |state| {
        Some(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        )
    })
    .map(|state| (state >> 32) as u32)
}
