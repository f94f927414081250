//! The formats with super-blocks of 256 weights.
pub(super) fn decode_q2_k(_bytes: &[u8], _out: &mut [f32]) {}
pub(super) fn decode_q3_k(_bytes: &[u8], _out: &mut [f32]) {}
pub(super) fn decode_q4_k(_bytes: &[u8], _out: &mut [f32]) {}
pub(super) fn decode_q5_k(_bytes: &[u8], _out: &mut [f32]) {}
pub(super) fn decode_q6_k(_bytes: &[u8], _out: &mut [f32]) {}
