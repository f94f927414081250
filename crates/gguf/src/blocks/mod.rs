//! Block formats: encoded weights to `f32` and, for the simple ones, back.
//!
//! The arithmetic is done in f32 in the order in which ggml's reference does it, so that results
//! agree bit for bit. Each format is a struct of byte arrays in file order: any alignment will do,
//! and the fixed sizes let the compiler unroll and vectorise the loops over them.

mod encode;
mod float;
mod k_quants;
mod legacy;

use bytemuck::Pod;
use half::f16;

use crate::{Error, TensorType};

pub use encode::encode;

/// Decodes `bytes`, any whole number of blocks of type `ty`, into `out`, which has the matching
/// number of elements.
///
/// # Errors
///
/// [`Error::UnsupportedType`] for types that are not decoded, [`Error::BlockMismatch`] if the
/// lengths do not match.
pub fn decode(ty: TensorType, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    check(ty, bytes.len(), out.len())?;
    match ty {
        TensorType::F32 => float::decode_f32(bytes, out),
        TensorType::F16 => float::decode_f16(bytes, out),
        TensorType::BF16 => float::decode_bf16(bytes, out),
        TensorType::Q8_0 => each_block(bytes, out, legacy::Q8_0::decode),
        TensorType::Q4_0 => each_block(bytes, out, legacy::Q4_0::decode),
        TensorType::Q4_1 => each_block(bytes, out, legacy::Q4_1::decode),
        TensorType::Q5_0 => each_block(bytes, out, legacy::Q5_0::decode),
        TensorType::Q5_1 => each_block(bytes, out, legacy::Q5_1::decode),
        TensorType::Q2_K => each_block(bytes, out, k_quants::Q2K::decode),
        TensorType::Q3_K => each_block(bytes, out, k_quants::Q3K::decode),
        TensorType::Q4_K => each_block(bytes, out, k_quants::Q4K::decode),
        TensorType::Q5_K => each_block(bytes, out, k_quants::Q5K::decode),
        TensorType::Q6_K => each_block(bytes, out, k_quants::Q6K::decode),
        _ => return Err(unsupported(ty)),
    }
    Ok(())
}

/// Checks that so many bytes are that many elements of a supported type.
fn check(ty: TensorType, bytes: usize, elements: usize) -> Result<(), Error> {
    if !ty.is_supported() {
        return Err(unsupported(ty));
    }
    if ty.bytes_for(elements as u64) != Some(bytes as u64) {
        return Err(Error::BlockMismatch {
            ty,
            bytes,
            elements,
        });
    }
    Ok(())
}

fn unsupported(ty: TensorType) -> Error {
    Error::UnsupportedType {
        subject: "the tensor".to_owned(),
        ty,
    }
}

/// Hands every block of `bytes` to `decode` together with its `N` elements of `out`.
fn each_block<B: Pod, const N: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&B, &mut [f32; N]),
) {
    let blocks: &[B] = bytemuck::cast_slice(bytes);
    for (block, out) in blocks.iter().zip(out.as_chunks_mut().0) {
        decode(block, out);
    }
}

/// A block's scale: two bytes of f16, exactly as f32.
fn scale(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}
