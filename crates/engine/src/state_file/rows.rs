//! The numbers of a state as bytes, in rows of a head's length.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// How the numbers of a state are stored.
///
/// What that costs the outputs after it was measured on synthetic heads: f16 changes the next 64 by 1.5e-4 of their size,
/// int8 by 4e-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateEncoding {
    /// As they are: what follows is the same to the last bit.
    F32,
    /// 16-bit floats, half the size.
    #[default]
    F16,
    /// 8-bit integers, a quarter of the size. A row (the numbers of one value channel, or of one head of a shift) shares a
    /// scale.
    Int8,
}

impl StateEncoding {
    const ALL: [StateEncoding; 3] = [Self::F32, Self::F16, Self::Int8];

    /// Its number in a file.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Int8 => 2,
        }
    }

    pub(super) fn from_code(code: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.code() == code)
    }

    /// Bytes of a row of so many numbers.
    pub(super) fn row_bytes(self, row: usize) -> usize {
        match self {
            Self::F32 => 4 * row,
            Self::F16 => 2 * row,
            Self::Int8 => 4 + row,
        }
    }

    /// Appends rows of `row` numbers each.
    pub(super) fn encode(self, numbers: &[f32], row: usize, bytes: &mut Vec<u8>) {
        for row in numbers.chunks(row) {
            match self {
                Self::F32 => row.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
                Self::F16 => {
                    let mut halves = vec![f16::ZERO; row.len()];
                    halves.convert_from_f32_slice(row);
                    let halves: &[u16] = halves.reinterpret_cast();
                    halves.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
                }
                Self::Int8 => encode_int8(row, bytes),
            }
        }
    }

    /// Fills `numbers` from the rows at the start of `bytes`, and returns the rest; nothing if there are too few.
    pub(super) fn decode<'b>(
        self,
        bytes: &'b [u8],
        row: usize,
        numbers: &mut [f32],
    ) -> Option<&'b [u8]> {
        let length = numbers.len().div_ceil(row) * self.row_bytes(row);
        let (rows, rest) = bytes.split_at_checked(length)?;
        for (bytes, numbers) in rows
            .chunks_exact(self.row_bytes(row))
            .zip(numbers.chunks_mut(row))
        {
            match self {
                Self::F32 => decode_f32(bytes, numbers),
                Self::F16 => {
                    let halves: Vec<u16> = bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|x| u16::from_le_bytes(*x))
                        .collect();
                    let halves: &[f16] = halves.reinterpret_cast();
                    halves.convert_to_f32_slice(numbers);
                }
                Self::Int8 => decode_int8(bytes, numbers),
            }
        }
        Some(rest)
    }
}

fn decode_f32(bytes: &[u8], numbers: &mut [f32]) {
    for (bytes, number) in bytes.as_chunks().0.iter().zip(numbers) {
        *number = f32::from_le_bytes(*bytes);
    }
}

/// A scale, and every number as a multiple of it from -127 to 127.
fn encode_int8(row: &[f32], bytes: &mut Vec<u8>) {
    let largest = row.iter().fold(0_f32, |largest, x| largest.max(x.abs()));
    let scale = largest / 127.0;
    bytes.extend(scale.to_le_bytes());
    let multiple = |x: &f32| match scale > 0.0 {
        true => (x / scale).round_ties_even() as i8,
        false => 0,
    };
    bytes.extend(row.iter().map(|x| multiple(x).cast_unsigned()));
}

fn decode_int8(bytes: &[u8], numbers: &mut [f32]) {
    let Some((scale, multiples)) = bytes.split_first_chunk() else {
        return;
    };
    let scale = f32::from_le_bytes(*scale);
    for (multiple, number) in multiples.iter().zip(numbers) {
        *number = scale * f32::from(multiple.cast_signed());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(encoding: StateEncoding, numbers: &[f32]) -> Vec<f32> {
        let mut bytes = Vec::new();
        encoding.encode(numbers, 4, &mut bytes);
        assert_eq!(bytes.len(), numbers.len() / 4 * encoding.row_bytes(4));
        let mut decoded = vec![f32::NAN; numbers.len()];
        assert_eq!(encoding.decode(&bytes, 4, &mut decoded), Some(&[][..]));
        assert_eq!(encoding.decode(&bytes[1..], 4, &mut decoded.clone()), None);
        decoded
    }

    proptest! {
        #[test]
        fn errors_are_bounded(rows in prop::collection::vec(prop::array::uniform4(-1e3_f32..1e3), 1..20)) {
            let numbers = rows.concat();
            prop_assert_eq!(&there_and_back(StateEncoding::F32, &numbers), &numbers);
            for (found, expected) in there_and_back(StateEncoding::F16, &numbers).iter().zip(&numbers) {
                prop_assert!((found - expected).abs() <= expected.abs() / 2048.0 + 1e-7);
            }
            let found = there_and_back(StateEncoding::Int8, &numbers);
            for (found, expected) in found.chunks(4).zip(&rows) {
                let largest = expected.iter().fold(0_f32, |most, x| most.max(x.abs()));
                for (found, expected) in found.iter().zip(expected) {
                    prop_assert!((found - expected).abs() <= largest / 253.0);
                }
            }
        }
    }

    #[test]
    fn a_row_of_zeros_stays_one() {
        assert_eq!(there_and_back(StateEncoding::Int8, &[0.0; 4]), [0.0; 4]);
    }
}
