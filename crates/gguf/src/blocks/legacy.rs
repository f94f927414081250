//! The formats with one scale for 32 weights.
pub(super) fn decode_q8_0(_bytes: &[u8], _out: &mut [f32]) {}
pub(super) fn decode_q4_0(_bytes: &[u8], _out: &mut [f32]) {}
pub(super) fn decode_q4_1(_bytes: &[u8], _out: &mut [f32]) {}
pub(super) fn decode_q5_0(_bytes: &[u8], _out: &mut [f32]) {}
pub(super) fn decode_q5_1(_bytes: &[u8], _out: &mut [f32]) {}
