//! Operations by their twins.

use thalweg_shaders::twins::{self, Matrix};

use super::{Extent, Kind, Operation, SOFTMAX_WIDTH, Sizes, random_numbers, random_rows};
use crate::Error;

/// An operation with its inputs, ready to be computed on the threads of this process.
pub struct CpuOperation {
    compute: Compute,
}

type Compute = Box<dyn FnMut() -> Result<(), thalweg_gguf::Error> + Send>;

impl CpuOperation {
    /// Prepares an operation of a model of such sizes; nothing for what devices alone have.
    pub fn new(operation: &Operation, sizes: &Sizes) -> Option<CpuOperation> {
        let compute = Inputs::new(operation, sizes).compute(operation, sizes)?;
        Some(CpuOperation { compute })
    }

    /// Computes it once more.
    ///
    /// # Errors
    /// The type of a matrix cannot be decoded.
    pub fn run(&mut self) -> Result<(), Error> {
        Ok((self.compute)()?)
    }
}

impl std::fmt::Debug for CpuOperation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CpuOperation")
    }
}

/// What operations read and where their results go.
struct Inputs {
    /// `[tokens, columns]`
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// The row before the first.
    previous: Vec<f32>,
    /// Receptance, key, value, gate: each `[tokens, width]`.
    mixed: [Vec<f32>; 4],
    /// `[tokens, width]`
    normed: Vec<f32>,
    /// `[tokens, width]`
    shifted: Vec<f32>,
    matrices: Vec<(Extent, Vec<u8>)>,
    /// The results of each matrix, `[tokens, rows]`.
    products: Vec<Vec<f32>>,
}

impl Inputs {
    fn new(operation: &Operation, sizes: &Sizes) -> Inputs {
        let (tokens, width) = (operation.tokens, sizes.hp.width);
        let extents = operation.matrices(sizes);
        let columns = extents.first().map_or(width, |extent| extent.columns);
        let numbers = |count| random_numbers(count, -1.0, 1.0).collect::<Vec<_>>();
        let of_rows = || numbers(tokens * width);
        Inputs {
            x: numbers(match operation.kind {
                Kind::Softmax => tokens * SOFTMAX_WIDTH,
                _ => tokens * columns,
            }),
            weight: numbers(width),
            bias: numbers(width),
            previous: numbers(width),
            mixed: std::array::from_fn(|_| of_rows()),
            normed: of_rows(),
            shifted: of_rows(),
            products: extents
                .iter()
                .map(|extent| vec![0.0; tokens * extent.rows])
                .collect(),
            matrices: extents
                .into_iter()
                .map(|extent| (extent, random_rows(extent.ty, extent.rows, extent.columns)))
                .collect(),
        }
    }

    fn compute(mut self, operation: &Operation, sizes: &Sizes) -> Option<Compute> {
        let (head_size, epsilon) = (sizes.hp.head_size, sizes.hp.layer_norm_eps);
        let mut residual = self.products.last().cloned().unwrap_or_default();
        Some(match operation.kind {
            Kind::Nothing => return None,
            Kind::Softmax => Box::new(move || {
                twins::softmax(&mut self.x, SOFTMAX_WIDTH);
                Ok(())
            }),
            Kind::LayerNorm => Box::new(move || {
                self.norm(epsilon);
                Ok(())
            }),
            Kind::GroupNorm => Box::new(move || {
                self.group_norm(head_size);
                Ok(())
            }),
            Kind::TokenShift => Box::new(move || {
                self.shift();
                Ok(())
            }),
            Kind::NormShifts => Box::new(move || {
                self.norm(epsilon);
                (0..6).for_each(|_| self.shift());
                Ok(())
            }),
            Kind::Readout => Box::new(move || {
                self.group_norm(head_size);
                let [r, k, v, g] = &self.mixed;
                twins::bonus(&mut self.normed, r, k, v, &self.weight, head_size);
                twins::gate(&mut self.normed, g);
                Ok(())
            }),
            Kind::LowRank(_) => Box::new(move || {
                let (down, up) = self.products.split_at_mut(1);
                twins::matmul(&matrix(&self.matrices[0]), &self.x, &mut down[0])?;
                twins::tanh(&mut down[0]);
                twins::matmul(&matrix(&self.matrices[1]), &down[0], &mut up[0])
            }),
            Kind::Product(_) => Box::new(move || self.product()),
            Kind::ProductAdd => Box::new(move || {
                self.product()?;
                twins::residual(&mut residual, &self.products[0]);
                Ok(())
            }),
            Kind::ChannelMixKey => Box::new(move || {
                self.norm(epsilon);
                self.shift();
                let (matrix, out) = (matrix(&self.matrices[0]), &mut self.products[0]);
                twins::matmul(&matrix, &self.shifted, out)?;
                twins::relu_squared(out);
                Ok(())
            }),
            Kind::Head => Box::new(move || {
                self.norm(epsilon);
                let (matrix, out) = (matrix(&self.matrices[0]), &mut self.products[0]);
                twins::matmul(&matrix, &self.normed, out)
            }),
        })
    }

    fn norm(&mut self, epsilon: f32) {
        twins::layer_norm(&self.x, &self.weight, &self.bias, epsilon, &mut self.normed);
    }

    fn group_norm(&mut self, head_size: usize) {
        twins::group_norm(&mut self.normed, &self.weight, &self.bias, head_size);
    }

    fn shift(&mut self) {
        twins::token_shift(
            &self.normed,
            &self.previous,
            &self.weight,
            &mut self.shifted,
        );
    }

    fn product(&mut self) -> Result<(), thalweg_gguf::Error> {
        twins::matmul(&matrix(&self.matrices[0]), &self.x, &mut self.products[0])
    }
}

fn matrix((extent, bytes): &(Extent, Vec<u8>)) -> Matrix<'_> {
    Matrix {
        ty: extent.ty,
        rows: extent.rows,
        cols: extent.columns,
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::tests::sizes;

    #[test]
    fn the_twins_compute_everything_but_nothing() {
        let sizes = sizes();
        for operation in Operation::all(5) {
            match CpuOperation::new(&operation, &sizes) {
                None => assert_eq!(operation.kind, Kind::Nothing),
                Some(mut on_cpu) => (0..2).for_each(|_| on_cpu.run().unwrap()),
            }
            assert_eq!(
                operation.shape(&sizes).is_empty(),
                operation.kind == Kind::Nothing
            );
        }
    }
}
