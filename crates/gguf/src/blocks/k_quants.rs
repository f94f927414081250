//! The formats with super-blocks of 256 weights: Q2_K to Q6_K.

use bytemuck::{Pod, Zeroable};

use super::scale;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q2K {
    /// A scale in the low and a minimum in the high four bits, for 16 elements each.
    scales: [u8; 16],
    quants: [[u8; 32]; 2],
    d: [u8; 2],
    d_min: [u8; 2],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q3K {
    third: [u8; 32],
    quants: [[u8; 32]; 2],
    scales: [u8; 12],
    d: [u8; 2],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q4K {
    d: [u8; 2],
    d_min: [u8; 2],
    scales: [u8; 12],
    quants: [[u8; 32]; 4],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q5K {
    d: [u8; 2],
    d_min: [u8; 2],
    scales: [u8; 12],
    fifth: [u8; 32],
    quants: [[u8; 32]; 4],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Q6K {
    low: [[u8; 64]; 2],
    high: [[u8; 32]; 2],
    scales: [i8; 16],
    d: [u8; 2],
}

impl Q2K {
    /// Each half of 128 elements is four runs of 32 that share 32 bytes, two bits a run;
    /// a run has one scale for each 16 elements.
    pub(super) fn decode(&self, out: &mut [f32; 256]) {
        let (d, d_min) = (scale(self.d), scale(self.d_min));
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (half, shift, column) = place_of_group(group);
            let scale = d * f32::from(self.scales[group] & 15);
            let min = d_min * f32::from(self.scales[group] >> 4);
            for (out, quant) in out.iter_mut().zip(&self.quants[half][column..]) {
                *out = scale * i32::from(quant >> shift & 3) as f32 - min;
            }
        }
    }
}

impl Q3K {
    /// Laid out as Q2_K, with scales only. The third bit of element `32 * run + l` is bit `run` of
    /// `third[l]`; it is stored inverted: where it is clear, 4 is taken away.
    pub(super) fn decode(&self, out: &mut [f32; 256]) {
        let d = scale(self.d);
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (half, shift, column) = place_of_group(group);
            let scale = d * f32::from(self.scale(group));
            let third_bit = 1 << (group / 2);
            let bits = self.quants[half][column..]
                .iter()
                .zip(&self.third[column..]);
            for (out, (quant, third)) in out.iter_mut().zip(bits) {
                let below = if third & third_bit == 0 { 4 } else { 0 };
                *out = scale * (i32::from(quant >> shift & 3) - below) as f32;
            }
        }
    }

    /// Scale of the group: four low bits in the first eight bytes, two high bits in the last four,
    /// minus 32.
    fn scale(&self, group: usize) -> i8 {
        let low = self.scales[group % 8] >> (4 * (group / 8)) & 15;
        let high = self.scales[8 + group % 4] >> (2 * (group / 4)) & 3;
        (low | high << 4) as i8 - 32
    }
}

/// Where the quants of 16 elements of Q2_K and Q3_K lie: which 32 bytes, which bits of them,
/// and from which byte on.
fn place_of_group(group: usize) -> (usize, usize, usize) {
    (group / 8, 2 * (group % 8 / 2), 16 * (group % 2))
}

impl Q4K {
    /// Eight runs of 32 elements, each with its scale and minimum. Two runs share 32 bytes: the
    /// first has the low, the second the high four bits.
    pub(super) fn decode(&self, out: &mut [f32; 256]) {
        let (scales, mins) = scales_and_mins(self.d, self.d_min, &self.scales);
        let (pairs, _) = out.as_chunks_mut::<64>();
        for (pair, (out, quants)) in pairs.iter_mut().zip(&self.quants).enumerate() {
            let (low, high) = (2 * pair, 2 * pair + 1);
            for l in 0..32 {
                out[l] = scales[low] * i32::from(quants[l] & 15) as f32 - mins[low];
                out[l + 32] = scales[high] * i32::from(quants[l] >> 4) as f32 - mins[high];
            }
        }
    }
}

impl Q5K {
    /// Laid out as Q4_K. The fifth bit of element `32 * run + l` is bit `run` of `fifth[l]`.
    pub(super) fn decode(&self, out: &mut [f32; 256]) {
        let (scales, mins) = scales_and_mins(self.d, self.d_min, &self.scales);
        let (pairs, _) = out.as_chunks_mut::<64>();
        for (pair, (out, quants)) in pairs.iter_mut().zip(&self.quants).enumerate() {
            let (low, high) = (2 * pair, 2 * pair + 1);
            for l in 0..32 {
                let first = quants[l] & 15 | (self.fifth[l] >> low & 1) << 4;
                let second = quants[l] >> 4 | (self.fifth[l] >> high & 1) << 4;
                out[l] = scales[low] * i32::from(first) as f32 - mins[low];
                out[l + 32] = scales[high] * i32::from(second) as f32 - mins[high];
            }
        }
    }
}

/// Scales and minima of the eight runs of Q4_K and Q5_K, six bits each in twelve bytes: the first
/// four of both lie in the low bits of bytes 0..8, the last four are split between bytes 8..12
/// and the two high bits of bytes 0..8.
fn scales_and_mins(d: [u8; 2], d_min: [u8; 2], packed: &[u8; 12]) -> ([f32; 8], [f32; 8]) {
    let (d, d_min) = (scale(d), scale(d_min));
    let (mut scales, mut mins) = ([0.0; 8], [0.0; 8]);
    for run in 0..4 {
        scales[run] = d * f32::from(packed[run] & 63);
        mins[run] = d_min * f32::from(packed[run + 4] & 63);
        scales[run + 4] = d * f32::from(packed[run + 8] & 15 | packed[run] >> 6 << 4);
        mins[run + 4] = d_min * f32::from(packed[run + 8] >> 4 | packed[run + 4] >> 6 << 4);
    }
    (scales, mins)
}

impl Q6K {
    /// Two halves of 128 elements, each four runs of 32. Low bits: runs 0 and 2 share 32 bytes,
    /// runs 1 and 3 the next. High bits: two bits a run in 32 bytes. A scale for each 16 elements.
    pub(super) fn decode(&self, out: &mut [f32; 256]) {
        let d = scale(self.d);
        for half in 0..2 {
            let (low, high) = (&self.low[half], &self.high[half]);
            for column in [0, 16] {
                let scales: [f32; 4] = std::array::from_fn(|run| {
                    d * f32::from(self.scales[8 * half + 2 * run + column / 16])
                });
                let out = &mut out[128 * half + column..];
                for l in 0..16 {
                    let at = column + l;
                    let quants = [
                        low[at] & 15 | (high[at] & 3) << 4,
                        low[at + 32] & 15 | (high[at] >> 2 & 3) << 4,
                        low[at] >> 4 | (high[at] >> 4 & 3) << 4,
                        low[at + 32] >> 4 | (high[at] >> 6) << 4,
                    ];
                    for run in 0..4 {
                        out[32 * run + l] = scales[run] * (i32::from(quants[run]) - 32) as f32;
                    }
                }
            }
        }
    }
}
