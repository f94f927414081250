//! Encoders of the simple formats, for writing test files.

use half::{bf16, f16};

use super::{check, legacy, unsupported};
use crate::{Error, TensorType};

/// Encodes `values` as F32, F16, BF16 or Q8_0.
///
/// # Errors
///
/// [`Error::UnsupportedType`] for the other types, [`Error::BlockMismatch`] if the values are no
/// whole number of blocks.
pub fn encode(ty: TensorType, values: &[f32]) -> Result<Vec<u8>, Error> {
    let whole_blocks = values.len() / ty.block_len() * ty.block_bytes();
    check(ty, whole_blocks, values.len())?;
    Ok(match ty {
        TensorType::F32 => values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        TensorType::F16 => values
            .iter()
            .flat_map(|&value| f16::from_f32(value).to_le_bytes())
            .collect(),
        TensorType::BF16 => values
            .iter()
            .flat_map(|&value| bf16::from_f32(value).to_le_bytes())
            .collect(),
        TensorType::Q8_0 => {
            let blocks: Vec<_> = values
                .as_chunks()
                .0
                .iter()
                .map(legacy::Q8_0::encode)
                .collect();
            bytemuck::cast_slice(&blocks).to_vec()
        }
        _ => return Err(unsupported(ty)),
    })
}

impl legacy::Q8_0 {
    /// The largest magnitude becomes 127; rounding to nearest, ties away from zero, as ggml does.
    fn encode(values: &[f32; 32]) -> legacy::Q8_0 {
        let largest = values
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        let d = largest / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        legacy::Q8_0 {
            d: f16::from_f32(d).to_le_bytes(),
            quants: values.map(|value| (value * inverse).round() as i8),
        }
    }
}
