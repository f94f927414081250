//! How weight matrices lie on the device, and how file blocks are brought into that form.
//!
//! Q4_K and Q5_K stay as they are in the file. Q6_K and Q8_0, whose blocks are not aligned to words, are taken apart
//! into planes. Every other type becomes the smallest of these that holds exactly the same numbers. The decoders are
//! `wgsl/encodings/*.wgsl`, which also document the layouts.

use thalweg_gguf::{Error, TensorType, blocks};

/// The form of a weight matrix on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(non_camel_case_types, reason = "ggml's names of the types")]
pub enum Encoding {
    /// Blocks of 256 weights in 144 bytes, as in the file.
    Q4_K,
    /// Blocks of 256 weights in 176 bytes, as in the file.
    Q5_K,
    /// Blocks of 256 weights, in planes.
    Q6_K,
    /// Blocks of 32 weights, in planes.
    Q8_0,
    /// Half precision.
    F16,
    /// Single precision.
    F32,
}

/// Weights of a span, the unit in which kernels walk along a row.
pub const SPAN: usize = 32;

/// Bytes of the vec4 in which kernels address weights; rows begin at multiples of it.
pub const VEC4_BYTES: usize = 16;

impl Encoding {
    /// All encodings.
    pub const ALL: [Encoding; 6] = [
        Encoding::Q4_K,
        Encoding::Q5_K,
        Encoding::Q6_K,
        Encoding::Q8_0,
        Encoding::F16,
        Encoding::F32,
    ];

    /// The encoding that holds the numbers of a file's tensor type exactly.
    pub fn of(ty: TensorType) -> Encoding {
        match ty {
            TensorType::Q4_K => Encoding::Q4_K,
            TensorType::Q5_K => Encoding::Q5_K,
            TensorType::Q3_K | TensorType::Q6_K => Encoding::Q6_K,
            TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q8_0 => Encoding::Q8_0,
            TensorType::F16 => Encoding::F16,
            _ => Encoding::F32,
        }
    }

    /// The name in kernel names and file names.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Q4_K => "q4_k",
            Encoding::Q5_K => "q5_k",
            Encoding::Q6_K => "q6_k",
            Encoding::Q8_0 => "q8_0",
            Encoding::F16 => "f16",
            Encoding::F32 => "f32",
        }
    }

    /// Whether weights are integers times a scale, plus an offset.
    pub fn has_integers(self) -> bool {
        !matches!(self, Encoding::F16 | Encoding::F32)
    }

    /// Whether two spans of a row share so much that integer products take them together.
    pub(crate) fn has_pairs(self) -> bool {
        matches!(self, Encoding::Q4_K | Encoding::Q5_K | Encoding::Q6_K)
    }

    /// The template of its decoder.
    pub(crate) fn template(self) -> String {
        format!("encodings/{}.wgsl", self.name())
    }

    /// Spans of a row; the last one may be padded with zeros.
    pub fn spans(self, columns: usize) -> usize {
        columns.div_ceil(SPAN)
    }

    /// A multiple of so many columns lies in consecutive bytes of a row; nothing if a row's fields lie apart.
    pub fn contiguous_columns(self) -> Option<usize> {
        match self {
            Encoding::Q4_K | Encoding::Q5_K => Some(256),
            Encoding::F16 | Encoding::F32 => Some(SPAN),
            Encoding::Q6_K | Encoding::Q8_0 => None,
        }
    }

    /// Bytes of an encoded row, a multiple of [`VEC4_BYTES`].
    pub fn row_bytes(self, columns: usize) -> usize {
        let spans = self.spans(columns);
        let blocks = columns / 256;
        match self {
            Encoding::Q4_K => blocks * 144,
            Encoding::Q5_K => blocks * 176,
            Encoding::Q6_K => (blocks * 210).next_multiple_of(VEC4_BYTES),
            Encoding::Q8_0 => (spans * 34).next_multiple_of(VEC4_BYTES),
            Encoding::F16 => spans * SPAN * 2,
            Encoding::F32 => spans * SPAN * 4,
        }
    }
}

/// Whether [`encode_rows`] leaves rows of `columns` numbers of type `ty` as they are in the file.
pub fn is_stored_as_is(ty: TensorType, columns: usize) -> bool {
    use TensorType::{F16, F32, Q4_K, Q5_K};
    let row_bytes = Encoding::of(ty).row_bytes(columns) as u64;
    matches!(ty, Q4_K | Q5_K | F16 | F32) && ty.bytes_for(columns as u64) == Some(row_bytes)
}

/// Encodes rows of a file's tensor for the device. Shapes: `rows` holds whole rows of `columns` numbers of type `ty`;
/// `out` holds as many rows of [`Encoding::row_bytes`].
///
/// # Errors
/// The type cannot be decoded, or a row is no whole number of blocks.
///
/// # Panics
/// If the lengths disagree.
pub fn encode_rows(
    ty: TensorType,
    columns: usize,
    rows: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let Some(file_row_bytes) = ty.bytes_for(columns as u64) else {
        return blocks::decode(ty, rows, &mut vec![0.0; columns]); // says why not
    };
    let row_bytes = Encoding::of(ty).row_bytes(columns);
    let file_rows = rows.chunks_exact(file_row_bytes as usize);
    assert_eq!(file_rows.len() * row_bytes, out.len());
    for (row, out) in file_rows.zip(out.chunks_exact_mut(row_bytes)) {
        encode_row(ty, columns, row, out)?;
    }
    Ok(())
}

/// Encodes rows of plain numbers as [`Encoding::F16`], rounded. Shapes are those of [`encode_rows`].
///
/// # Errors
/// Those of [`encode_rows`].
///
/// # Panics
/// If the lengths disagree.
pub fn encode_rows_as_halves(
    ty: TensorType,
    columns: usize,
    rows: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let row_bytes = Encoding::F16.row_bytes(columns);
    let count = out.len() / row_bytes;
    let mut values = vec![0.0; count * columns];
    blocks::decode(ty, rows, &mut values)?;
    let halves: Vec<half::f16> = values.into_iter().map(half::f16::from_f32).collect();
    let values = halves.chunks_exact(columns);
    assert_eq!(values.len() * row_bytes, out.len());
    for (values, out) in values.zip(out.chunks_exact_mut(row_bytes)) {
        copy_padded(bytemuck::cast_slice(values), out);
    }
    Ok(())
}

fn encode_row(ty: TensorType, columns: usize, row: &[u8], out: &mut [u8]) -> Result<(), Error> {
    match ty {
        TensorType::Q6_K => six_bit_planes(row.chunks_exact(210), out),
        TensorType::Q3_K => six_bit_planes(row.chunks_exact(110).map(three_bits_as_six), out),
        TensorType::Q8_0 => eight_bit_planes(
            row.chunks_exact(34).map(|block| (&block[..2], &block[2..])),
            out,
        ),
        TensorType::Q5_0 => eight_bit_planes(row.chunks_exact(22).map(five_bits_as_eight), out),
        TensorType::Q4_0 => eight_bit_planes(row.chunks_exact(18).map(four_bits_as_eight), out),
        TensorType::Q4_K | TensorType::Q5_K | TensorType::F16 | TensorType::F32 => {
            copy_padded(row, out)
        }
        _ => {
            let mut values = vec![0.0; columns];
            blocks::decode(ty, row, &mut values)?;
            copy_padded(bytemuck::cast_slice(&values), out);
        }
    }
    Ok(())
}

fn copy_padded(row: &[u8], out: &mut [u8]) {
    out[..row.len()].copy_from_slice(row);
    out[row.len()..].fill(0);
}

/// Lays blocks of Q6_K out as planes: low bits, high bits, scales, d.
fn six_bit_planes<B: AsRef<[u8]>>(blocks: impl ExactSizeIterator<Item = B>, out: &mut [u8]) {
    let count = blocks.len();
    let (low_bits, rest) = out.split_at_mut(128 * count);
    let (high_bits, rest) = rest.split_at_mut(64 * count);
    let (scales, d) = rest.split_at_mut(16 * count);
    d.fill(0);
    for (index, block) in blocks.enumerate() {
        let block = block.as_ref();
        put(low_bits, index, &block[..128]);
        put(high_bits, index, &block[128..192]);
        put(scales, index, &block[192..208]);
        put(d, index, &block[208..]);
    }
}

/// Lays blocks of d and 32 signed bytes out as planes: bytes, d.
fn eight_bit_planes<D: AsRef<[u8]>, Q: AsRef<[u8]>>(
    blocks: impl ExactSizeIterator<Item = (D, Q)>,
    out: &mut [u8],
) {
    let (bytes, d) = out.split_at_mut(32 * blocks.len());
    d.fill(0);
    for (index, (block_d, quants)) in blocks.enumerate() {
        put(bytes, index, quants.as_ref());
        put(d, index, block_d.as_ref());
    }
}

/// Item `index` of a plane of items of this length.
fn put(plane: &mut [u8], index: usize, item: &[u8]) {
    plane[index * item.len()..][..item.len()].copy_from_slice(item);
}

/// A Q4_0 block (d, 16 bytes of nibbles, the low ones first) in the terms of Q8_0.
fn four_bits_as_eight(block: &[u8]) -> (&[u8], [u8; 32]) {
    let (d, nibbles) = block.split_at(2);
    let quant = |index: usize| (nibbles[index % 16] >> (index / 16 * 4) & 15).wrapping_sub(8);
    (d, std::array::from_fn(quant))
}

/// A Q5_0 block (d, 32 fifth bits, 16 bytes of nibbles) in the terms of Q8_0.
fn five_bits_as_eight(block: &[u8]) -> (&[u8], [u8; 32]) {
    let (d, bits) = block.split_at(2);
    let (fifth_bits, nibbles) = bits.split_at(4);
    let quant = |index: usize| {
        let nibble = nibbles[index % 16] >> (index / 16 * 4) & 15;
        let fifth_bit = fifth_bits[index / 8] >> (index % 8) & 1;
        (nibble | fifth_bit << 4).wrapping_sub(16)
    };
    (d, std::array::from_fn(quant))
}

/// A Q3_K block in the terms of Q6_K: both scale 16 weights at a time by d times a signed integer.
///
/// Q3_K is 32 bytes of high bits (a bit set adds 4), 64 bytes of two-bit numbers, 12 bytes of six-bit scales, d; its
/// weights are d * (scale - 32) * (number - 4). Weight 128 n + 32 j + l has bits 2 j of byte 32 n + l of the two-bit
/// numbers and bit 4 n + j of byte l of the high bits.
fn three_bits_as_six(block: &[u8]) -> [u8; 210] {
    let (high_bits, rest) = block.split_at(32);
    let (two_bits, rest) = rest.split_at(64);
    let (packed_scales, d) = rest.split_at(12);
    let quant = |index: usize| {
        let (n, j, l) = (index / 128, index / 32 % 4, index % 32);
        let low = two_bits[32 * n + l] >> (2 * j) & 3;
        let high = high_bits[l] >> (4 * n + j) & 1;
        (low | high << 2) + 32 - 4
    };
    let mut out = [0; 210];
    for index in 0..256 {
        let (n, j, l) = (index / 128, index / 32 % 4, index % 32);
        out[64 * n + 32 * (j % 2) + l] |= (quant(index) & 15) << (j / 2 * 4);
        out[128 + 32 * n + l] |= quant(index) >> 4 << (2 * j);
    }
    for (index, scale) in out[192..208].iter_mut().enumerate() {
        // Low four bits: nibbles of the first eight bytes. High two bits: bit pairs of the last four.
        let low = packed_scales[index % 8] >> (index / 8 * 4) & 15;
        let high = packed_scales[8 + index % 4] >> (index / 4 * 2) & 3;
        *scale = (low | high << 4).wrapping_sub(32);
    }
    out[208..].copy_from_slice(d);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random and are the same in every run; every `d` among them is a finite number.
    fn blocks_of(ty: TensorType, count: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8
        })
        .take(count * ty.block_bytes())
        .collect();
        let d_at = if ty == TensorType::Q3_K { 108 } else { 0 };
        for block in bytes.chunks_exact_mut(ty.block_bytes()) {
            block[d_at + 1] &= 0xbf; // clears the exponent's top bit; some stay subnormal
        }
        bytes
    }

    fn bits(ty: TensorType, blocks: &[u8]) -> Vec<u32> {
        let mut out = vec![0.0; blocks.len() / ty.block_bytes() * ty.block_len()];
        blocks::decode(ty, blocks, &mut out).unwrap();
        out.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn three_bits_are_exactly_six() {
        let blocks = blocks_of(TensorType::Q3_K, 300);
        let six: Vec<u8> = blocks
            .chunks_exact(110)
            .flat_map(three_bits_as_six)
            .collect();
        assert_eq!(
            bits(TensorType::Q3_K, &blocks),
            bits(TensorType::Q6_K, &six)
        );
    }

    #[test]
    fn four_and_five_bits_are_exactly_eight() {
        let join = |(d, quants): (&[u8], [u8; 32])| [d, &quants].concat();
        let blocks = blocks_of(TensorType::Q4_0, 300);
        let eight: Vec<u8> = blocks
            .chunks_exact(18)
            .flat_map(|block| join(four_bits_as_eight(block)))
            .collect();
        assert_eq!(
            bits(TensorType::Q4_0, &blocks),
            bits(TensorType::Q8_0, &eight)
        );

        let blocks = blocks_of(TensorType::Q5_0, 300);
        let eight: Vec<u8> = blocks
            .chunks_exact(22)
            .flat_map(|block| join(five_bits_as_eight(block)))
            .collect();
        assert_eq!(
            bits(TensorType::Q5_0, &blocks),
            bits(TensorType::Q8_0, &eight)
        );
    }

    #[test]
    fn planes_hold_the_fields_of_all_blocks_and_end_in_zeros() {
        let rows = blocks_of(TensorType::Q8_0, 2 * 6); // two rows of 192
        let row_bytes = Encoding::Q8_0.row_bytes(192);
        assert_eq!(row_bytes, 6 * 32 + 16);
        let mut out = vec![0xff; 2 * row_bytes];
        encode_rows(TensorType::Q8_0, 192, &rows, &mut out).unwrap();
        assert_eq!(out[row_bytes + 3 * 32..][..32], rows[9 * 34 + 2..][..32]);
        assert_eq!(out[row_bytes + 6 * 32 + 3 * 2..][..2], rows[9 * 34..][..2]);
        assert_eq!(out[row_bytes + 6 * 32 + 12..], [0; 4]);
    }

    #[test]
    fn rows_of_plain_numbers_are_padded_to_whole_spans() {
        let mut out = vec![0xff; Encoding::F16.row_bytes(40)];
        encode_rows(TensorType::F16, 40, &[1; 80], &mut out).unwrap();
        assert_eq!(
            (out.len(), &out[..80], &out[80..]),
            (128, &[1; 80][..], &[0; 48][..])
        );
        assert!(!is_stored_as_is(TensorType::F16, 40) && is_stored_as_is(TensorType::F16, 64));
    }

    #[test]
    fn types_without_a_form_of_their_own_become_numbers() {
        let rows = blocks_of(TensorType::Q4_1, 2);
        let mut out = vec![0; Encoding::of(TensorType::Q4_1).row_bytes(64)];
        encode_rows(TensorType::Q4_1, 64, &rows, &mut out).unwrap();
        assert_eq!(bits(TensorType::Q4_1, &rows), bits(TensorType::F32, &out));
    }

    #[test]
    fn rows_that_are_no_whole_number_of_blocks_are_refused() {
        assert!(encode_rows(TensorType::Q4_K, 100, &[0; 144], &mut [0; 144]).is_err());
        assert!(encode_rows(TensorType::IQ4_NL, 32, &[0; 18], &mut [0; 128]).is_err());
    }
}
