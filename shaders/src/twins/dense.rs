//! Small dense matrices, for the forms of the recurrence that are made of products.

/// What the operands of a product are rounded to. Sums are always f32.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operands {
    /// Left as they are.
    Single,
    /// Rounded to f16 as cooperative matrices take it; what is too large becomes the largest f16, so that no infinity
    /// arises.
    Half,
}

impl Operands {
    fn round(self, x: f32) -> f32 {
        let largest = half::f16::MAX.to_f32();
        match self {
            Operands::Single => x,
            Operands::Half => half::f16::from_f32(x.clamp(-largest, largest)).to_f32(),
        }
    }
}

/// A matrix, row-major.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    columns: usize,
    values: Vec<f32>,
}

impl Dense {
    pub(super) fn from_fn(
        rows: usize,
        columns: usize,
        element: impl Fn(usize, usize) -> f32,
    ) -> Dense {
        let values = (0..rows * columns)
            .map(|i| element(i / columns, i % columns))
            .collect();
        Dense { columns, values }
    }

    pub(super) fn zeros(rows: usize, columns: usize) -> Dense {
        Dense::from_fn(rows, columns, |_, _| 0.0)
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.columns..][..self.columns]
    }

    pub(super) fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// `[columns, rows]`
    pub(super) fn transposed(&self) -> Dense {
        Dense::from_fn(self.columns, self.rows(), |i, j| self.row(j)[i])
    }

    /// The part of `rows` by `columns` elements that begins at row `top`, column `left`.
    pub(super) fn block(&self, top: usize, rows: usize, left: usize, columns: usize) -> Dense {
        Dense::from_fn(rows, columns, |i, j| self.row(top + i)[left + j])
    }

    /// Overwrites the part that begins at row `top`, column `left`.
    pub(super) fn put(&mut self, top: usize, left: usize, block: &Dense) {
        for row in 0..block.rows() {
            self.row_mut(top + row)[left..][..block.columns].copy_from_slice(block.row(row));
        }
    }

    /// `self * right`
    pub(super) fn times(&self, right: &Dense, operands: Operands) -> Dense {
        assert_eq!(self.columns, right.rows());
        let mut product = Dense::zeros(self.rows(), right.columns);
        let rounded = right.values.iter().map(|x| operands.round(*x));
        let right = Dense {
            columns: right.columns,
            values: rounded.collect(),
        };
        for i in 0..self.rows() {
            let out = product.row_mut(i);
            for (k, x) in self.row(i).iter().enumerate() {
                let x = operands.round(*x);
                for (out, y) in out.iter_mut().zip(right.row(k)) {
                    *out += x * y;
                }
            }
        }
        product
    }

    /// `self + other`
    pub(super) fn plus(mut self, other: &Dense) -> Dense {
        assert_eq!(self.values.len(), other.values.len());
        for (x, y) in self.values.iter_mut().zip(&other.values) {
            *x += y;
        }
        self
    }

    /// Each column times a number of its own.
    pub(super) fn times_columns(mut self, factors: &[f32]) -> Dense {
        for row in self.values.chunks_exact_mut(self.columns) {
            for (x, factor) in row.iter_mut().zip(factors) {
                *x *= factor;
            }
        }
        self
    }
}
