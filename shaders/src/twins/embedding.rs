//! Looking up the embedding rows of tokens.

use super::Matrix;
use thalweg_gguf::Error;

/// `out[t] = table[tokens[t]]`. Shapes: table `[vocab, width]`, tokens `[tokens]`, out `[tokens, width]`.
///
/// # Errors
/// The table's element type cannot be decoded.
///
/// # Panics
/// If a token is not below the vocabulary's length, or the lengths disagree.
pub fn embedding(table: &Matrix<'_>, tokens: &[u32], out: &mut [f32]) -> Result<(), Error> {
    assert_eq!(out.len(), tokens.len() * table.cols);
    for (&token, row) in tokens.iter().zip(out.chunks_exact_mut(table.cols)) {
        table.decode_rows(token as usize, row)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_gguf::TensorType;

    #[test]
    fn rows_come_in_the_order_of_the_tokens() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let table = Matrix {
            ty: TensorType::F32,
            rows: 4,
            cols: 3,
            bytes: bytemuck::cast_slice(&values),
        };
        let mut out = [0.0; 9];
        embedding(&table, &[3, 0, 3], &mut out).unwrap();
        assert_eq!(out, [9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 9.0, 10.0, 11.0]);
    }
}
