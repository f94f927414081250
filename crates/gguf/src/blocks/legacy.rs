//! The formats with one scale for 32 weights: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1.
//!
//! In the 4- and 5-bit formats byte `l` of `quants` holds element `l` in its low and element
//! `l + 16` in its high four bits; bit `i` of `fifth` is the fifth bit of element `i`.

use bytemuck::{Pod, Zeroable};

use super::scale;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q8_0 {
    pub(super) d: [u8; 2],
    pub(super) quants: [i8; 32],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q4_0 {
    d: [u8; 2],
    quants: [u8; 16],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q4_1 {
    d: [u8; 2],
    min: [u8; 2],
    quants: [u8; 16],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q5_0 {
    d: [u8; 2],
    fifth: [u8; 4],
    quants: [u8; 16],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q5_1 {
    d: [u8; 2],
    min: [u8; 2],
    fifth: [u8; 4],
    quants: [u8; 16],
}

impl Q8_0 {
    pub(super) fn decode(&self, out: &mut [f32; 32]) {
        let d = scale(self.d);
        for (out, quant) in out.iter_mut().zip(self.quants) {
            *out = f32::from(quant) * d;
        }
    }
}

impl Q4_0 {
    pub(super) fn decode(&self, out: &mut [f32; 32]) {
        let d = scale(self.d);
        for l in 0..16 {
            out[l] = (i32::from(self.quants[l] & 15) - 8) as f32 * d;
            out[l + 16] = (i32::from(self.quants[l] >> 4) - 8) as f32 * d;
        }
    }
}

impl Q4_1 {
    pub(super) fn decode(&self, out: &mut [f32; 32]) {
        let (d, min) = (scale(self.d), scale(self.min));
        for l in 0..16 {
            out[l] = i32::from(self.quants[l] & 15) as f32 * d + min;
            out[l + 16] = i32::from(self.quants[l] >> 4) as f32 * d + min;
        }
    }
}

impl Q5_0 {
    pub(super) fn decode(&self, out: &mut [f32; 32]) {
        let d = scale(self.d);
        let fifth = u32::from_le_bytes(self.fifth);
        for l in 0..16 {
            out[l] = (i32::from(self.quants[l] & 15) + fifth_bit(fifth, l) - 16) as f32 * d;
            out[l + 16] =
                (i32::from(self.quants[l] >> 4) + fifth_bit(fifth, l + 16) - 16) as f32 * d;
        }
    }
}

impl Q5_1 {
    pub(super) fn decode(&self, out: &mut [f32; 32]) {
        let (d, min) = (scale(self.d), scale(self.min));
        let fifth = u32::from_le_bytes(self.fifth);
        for l in 0..16 {
            out[l] = (i32::from(self.quants[l] & 15) + fifth_bit(fifth, l)) as f32 * d + min;
            out[l + 16] =
                (i32::from(self.quants[l] >> 4) + fifth_bit(fifth, l + 16)) as f32 * d + min;
        }
    }
}

/// 16 if element `index` has its fifth bit set. A comparison, because it vectorises where shifts
/// by different amounts do not.
fn fifth_bit(fifth: u32, index: usize) -> i32 {
    if fifth & (1 << index) != 0 { 16 } else { 0 }
}
