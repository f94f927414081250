//! Matrix products with weights in their file encoding.

use super::Matrix;
use super::parallel::{for_each_row, min_rows};
use super::reduce::dots;
use rayon::prelude::*;
use thalweg_gguf::Error;

/// Rows of the matrix decoded and multiplied together: each loaded x then serves four products.
const ROWS: usize = 4;

/// `out[t][r] = sum_c matrix[r][c] * x[t][c]`. Shapes: matrix `[rows, cols]`, x `[tokens, cols]`, out `[tokens, rows]`.
///
/// The weights are decoded a few rows at a time to f32, exactly; products and sums are f32.
///
/// # Errors
/// The matrix's element type cannot be decoded.
///
/// # Panics
/// If the lengths disagree.
pub fn matmul(matrix: &Matrix<'_>, x: &[f32], out: &mut [f32]) -> Result<(), Error> {
    let Matrix { rows, cols, .. } = *matrix;
    let tokens = x.len() / cols;
    assert_eq!((x.len(), out.len()), (tokens * cols, tokens * rows));
    match tokens {
        0 => return Ok(()),
        1 => return transposed_product(matrix, x, out),
        _ => (),
    }
    let mut transposed = vec![0.0; out.len()];
    transposed_product(matrix, x, &mut transposed)?;
    for_each_row(out, rows, 4 * rows, |token, out| {
        for (row, out) in out.iter_mut().enumerate() {
            *out = transposed[row * tokens + token];
        }
    });
    Ok(())
}

/// The product laid out as `[rows, tokens]`, so that threads, which share the rows, write apart from one another.
fn transposed_product(matrix: &Matrix<'_>, x: &[f32], out: &mut [f32]) -> Result<(), Error> {
    let cols = matrix.cols;
    let tokens = x.len() / cols;
    let scratch = || vec![0.0; ROWS * cols];
    out.par_chunks_mut(ROWS * tokens)
        .with_min_len(min_rows(ROWS * (tokens + 1) * cols))
        .enumerate()
        .try_for_each_init(scratch, |decoded, (block, out)| {
            let rows = out.len() / tokens; // fewer than ROWS at the end
            matrix.decode_rows(block * ROWS, &mut decoded[..rows * cols])?;
            for (token, x) in x.chunks_exact(cols).enumerate() {
                let products = dots([0, 1, 2, 3].map(|row| &decoded[row * cols..][..cols]), x);
                for (row, &product) in products.iter().enumerate().take(rows) {
                    out[row * tokens + token] = product;
                }
            }
            Ok(())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use thalweg_gguf::TensorType;

    fn multiply(weights: &[f32], rows: usize, cols: usize, x: &[f32]) -> Vec<f32> {
        let matrix = Matrix {
            ty: TensorType::F32,
            rows,
            cols,
            bytes: bytemuck::cast_slice(weights),
        };
        let mut out = vec![f32::NAN; x.len() / cols * rows];
        matmul(&matrix, x, &mut out).unwrap();
        out
    }

    /// Small integers, whose products and sums are exact in f32.
    fn integers(count: usize) -> impl Strategy<Value = Vec<f32>> {
        proptest::collection::vec((-8i8..=8).prop_map(f32::from), count)
    }

    /// Numbers whose sums are not exact.
    fn fractions(integers: &[f32]) -> Vec<f32> {
        integers.iter().map(|n| n / 7.0).collect()
    }

    fn shapes() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>)> {
        (1usize..70, 1usize..70, 1usize..9).prop_flat_map(|(rows, cols, tokens)| {
            (Just(cols), integers(rows * cols), integers(tokens * cols))
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition((cols, weights, x) in shapes()) {
            let expected: Vec<f32> = x
                .chunks(cols)
                .flat_map(|x| {
                    let product = move |row: &[f32]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
                    weights.chunks(cols).map(product)
                })
                .collect();
            prop_assert_eq!(multiply(&weights, weights.len() / cols, cols, &x), expected);
        }

        #[test]
        fn a_token_alone_gives_the_same_bits((cols, weights, x) in shapes()) {
            let (weights, x) = (fractions(&weights), fractions(&x));
            let rows = weights.len() / cols;
            let together = multiply(&weights, rows, cols, &x);
            let alone: Vec<f32> = x.chunks(cols).flat_map(|x| multiply(&weights, rows, cols, x)).collect();
            prop_assert_eq!(together, alone);
        }
    }

    #[test]
    fn an_encoded_matrix_is_decoded_row_by_row() {
        // Q8_0: f16 scale 2.0 (0x4000) or 1.0 (0x3c00), then 32 signed bytes.
        let block = |scale: [u8; 2], value: i8| [&scale[..], &[value as u8; 32]].concat();
        let bytes = [block([0, 0x40], 1), block([0, 0x3c], -3)].concat();
        let matrix = Matrix {
            ty: TensorType::Q8_0,
            rows: 2,
            cols: 32,
            bytes: &bytes,
        };
        let mut out = [0.0; 4];
        matmul(&matrix, &[[1.0; 32], [0.5; 32]].concat(), &mut out).unwrap();
        assert_eq!(out, [64.0, -96.0, 32.0, -48.0]);
    }
}
