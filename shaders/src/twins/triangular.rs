//! The inverse of a unit lower triangular matrix.

use super::dense::{Dense, Operands};

/// Rows that are inverted by substitution.
const BASE: usize = 16;

/// `(I - l)^-1` for a strictly lower triangular l.
///
/// Diagonal blocks of 16 rows by substitution, greater ones from their quarters:
///
/// ```text
/// [ I - a     0   ]^-1    [   A     0 ]
/// [  -c     I - d ]    =  [ D c A   D ]      A, D the inverses of I - a, I - d
/// ```
///
/// The product `(I + l)(I + l^2)(I + l^4)...` would need fewer steps, but when a key repeats, l is nearly full of -1 and its
/// powers reach 1e8 at 32 rows before they vanish, though no element of the inverse exceeds 1.
pub(super) fn inverse(l: &Dense, operands: Operands) -> Dense {
    let rows = l.rows();
    if rows <= BASE {
        return by_substitution(l);
    }
    let half = (rows / 2).next_multiple_of(BASE);
    let rest = rows - half;
    let upper = inverse(&l.block(0, half, 0, half), operands);
    let lower = inverse(&l.block(half, rest, half, rest), operands);
    let coupling = l.block(half, rest, 0, half);
    let mut inverse = Dense::zeros(rows, rows);
    inverse.put(0, 0, &upper);
    inverse.put(half, half, &lower);
    let corner = lower.times(&coupling, operands).times(&upper, operands);
    inverse.put(half, 0, &corner);
    inverse
}

/// Row i is `e_i + sum_j l[i, j] row j`.
fn by_substitution(l: &Dense) -> Dense {
    let rows = l.rows();
    let mut inverse = Dense::zeros(rows, rows);
    for i in 0..rows {
        let mut row = vec![0.0; rows];
        row[i] = 1.0;
        for (j, l) in l.row(i)[..i].iter().enumerate() {
            for (x, y) in row.iter_mut().zip(inverse.row(j)) {
                *x += l * y;
            }
        }
        inverse.row_mut(i).copy_from_slice(&row);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_triangle_of_minus_ones_has_a_bidiagonal_inverse() {
        for rows in [1, 15, 16, 17, 36, 64] {
            let l = Dense::from_fn(rows, rows, |i, j| if j < i { -1.0 } else { 0.0 });
            let found = inverse(&l, Operands::Single);
            let expected = Dense::from_fn(rows, rows, |i, j| match i.checked_sub(j) {
                Some(0) => 1.0,
                Some(1) => -1.0,
                _ => 0.0,
            });
            assert_eq!(found.into_values(), expected.into_values(), "{rows} rows");
        }
    }
}
