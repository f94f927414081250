//! Block formats: encoded weights to `f32` and, for the simple ones, back.
//!
//! The arithmetic is done in f32 in the order in which ggml's reference does it, so that results agree bit for bit.

mod float;
mod k_quants;
mod legacy;

use crate::{Error, TensorType};

/// Decodes `bytes`, any whole number of blocks of type `ty`, into `out`, which has the matching number of elements.
///
/// # Errors
///
/// [`Error::UnsupportedType`] for types that are not decoded; [`Error::BlockMismatch`] if the lengths do not match.
pub fn decode(ty: TensorType, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    use TensorType::*;
    if ty.is_supported() && ty.bytes_for(out.len() as u64) != Some(bytes.len() as u64) {
        return Err(Error::BlockMismatch {
            ty,
            bytes: bytes.len(),
            elements: out.len(),
        });
    }
    match ty {
        F32 => float::decode_f32(bytes, out),
        F16 => float::decode_f16(bytes, out),
        BF16 => float::decode_bf16(bytes, out),
        Q8_0 => legacy::decode_q8_0(bytes, out),
        Q4_0 => legacy::decode_q4_0(bytes, out),
        Q4_1 => legacy::decode_q4_1(bytes, out),
        Q5_0 => legacy::decode_q5_0(bytes, out),
        Q5_1 => legacy::decode_q5_1(bytes, out),
        Q2_K => k_quants::decode_q2_k(bytes, out),
        Q3_K => k_quants::decode_q3_k(bytes, out),
        Q4_K => k_quants::decode_q4_k(bytes, out),
        Q5_K => k_quants::decode_q5_k(bytes, out),
        Q6_K => k_quants::decode_q6_k(bytes, out),
        _ => {
            return Err(Error::UnsupportedType {
                subject: "the tensor".to_owned(),
                ty,
            });
        }
    }
    Ok(())
}
