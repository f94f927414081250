//! Plain numbers: F32, F16, BF16, little endian, at any alignment.

use half::{bf16, f16, slice::HalfFloatSliceExt};

pub(super) fn decode_f32(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = f32::from_le_bytes(*bytes);
    }
}

/// Converts a cache line's worth at a time: `half` uses the processor's conversion for slices,
/// and the copy aligns what a file need not align.
pub(super) fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    const RUN: usize = 64;
    for (bytes, out) in bytes.chunks(2 * RUN).zip(out.chunks_mut(RUN)) {
        let mut aligned = [f16::ZERO; RUN];
        for (bytes, number) in bytes.as_chunks().0.iter().zip(&mut aligned) {
            *number = f16::from_le_bytes(*bytes);
        }
        aligned[..out.len()].convert_to_f32_slice(out);
    }
}

pub(super) fn decode_bf16(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        // The upper half of an f32. Not bf16::to_f32, whose care for NaNs keeps it from
        // vectorising.
        *out = f32::from_bits(u32::from(bf16::from_le_bytes(*bytes).to_bits()) << 16);
    }
}
