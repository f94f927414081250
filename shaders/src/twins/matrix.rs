//! A weight matrix as it lies in the file.

use thalweg_gguf::{Error, TensorType, blocks};

/// A weight matrix `[rows, cols]` in its file encoding, row-major; a row is a whole number of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// How the elements are encoded.
    pub ty: TensorType,
    /// Number of rows, which is the number of outputs of a matrix product.
    pub rows: usize,
    /// Elements a row, which is the number of inputs of a matrix product.
    pub cols: usize,
    /// The encoded rows, one after the other.
    pub bytes: &'a [u8],
}

impl Matrix<'_> {
    /// Encoded bytes a row.
    pub fn row_bytes(&self) -> usize {
        self.bytes.len() / self.rows
    }

    /// Decodes the rows from `first` on, as many as `out` holds. Shape of `out`: `[n, cols]`.
    ///
    /// # Errors
    /// The element type is one that cannot be decoded, or the bytes are not whole blocks.
    ///
    /// # Panics
    /// If the rows asked for do not exist.
    pub fn decode_rows(&self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let stride = self.row_bytes();
        let count = out.len() / self.cols;
        blocks::decode(
            self.ty,
            &self.bytes[first * stride..(first + count) * stride],
            out,
        )
    }
}
