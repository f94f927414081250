//! `matmul_dot4.wgsl`: products of integers.

use minijinja::context;

use super::product::{BINDINGS, HIDDEN_SCALE, MAX_JOBS};
use super::template::render;
use super::{Kernel, Matmul, Number, Variant};
use crate::{Encoding, Error};

/// A matrix of integers times many tokens, whose inputs are rounded as
/// [`twins::quantise`](crate::twins::quantise) does with one digit; sums are f32. Bindings and grid are those of
/// [`Matmul`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatmulDot4 {
    /// How the matrices are encoded; it must [have integers](Encoding::has_integers).
    pub encoding: Encoding,
    /// Invocations a side of the workgroup: one of [`Matmul::BLOCK_SIZES`].
    pub block_size: u32,
    /// What inputs are stored as.
    pub input: Number,
    /// What the results are stored as.
    pub output: Number,
}

impl MatmulDot4 {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let MatmulDot4 {
            encoding,
            block_size,
            input,
            output,
        } = *self;
        let name = format!(
            "matmul_dot4.{}.{}.{}.{block_size}",
            encoding.name(),
            input.name(),
            output.name()
        );
        let [tile_rows, tile_tokens] = Matmul::outputs(block_size);
        let values = context! {
            encodings => [encoding.template()], max_jobs => MAX_JOBS, tile_rows, tile_tokens, hidden_scale => HIDDEN_SCALE,
            input => input.vec4(), output => output.name(),
        };
        let half_bytes = 16 + 8;
        Ok(Kernel {
            variant: Variant {
                dot4: true,
                ..Number::variant_of([input, output])
            },
            wgsl: render(&name, "matmul_dot4.wgsl", values)?,
            bindings: BINDINGS,
            constants: vec![("BLOCK_SIZE", block_size.into())],
            workgroup_size: [block_size, block_size, 1],
            workgroup_bytes: (tile_rows + tile_tokens) * block_size * 2 * half_bytes,
            name,
        })
    }

    /// The grid for `jobs` jobs, the largest of `rows` rows, and at most `tokens` tokens.
    pub fn workgroups(&self, jobs: u32, rows: u32, tokens: u32) -> [u32; 3] {
        let [tile_rows, tile_tokens] = Matmul::tile(self.block_size);
        [rows.div_ceil(tile_rows), tokens.div_ceil(tile_tokens), jobs]
    }
}
