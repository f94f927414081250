//! `layer_norm.wgsl`

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Number, RowWorkgroup};
use crate::Error;

/// Layer norm of rows. Bindings: rows, params, vectors, x `[tokens, width]`, out `[rows, width]`, and the picks if the
/// rows are picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerNorm {
    /// Whether a list says which rows of x are read; else they follow one another.
    pub picked: bool,
    /// What the results are stored as.
    pub output: Number,
    /// What shares a row, of any number of vec4s.
    pub workgroup: RowWorkgroup,
}

/// Parameters of [`LayerNorm`].
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct LayerNormParams {
    /// vec4s of a row.
    pub width: u32,
    /// First vec4 of the weight in vectors.
    pub weight: u32,
    /// First vec4 of the bias in vectors.
    pub bias: u32,
    /// What is added to the variance.
    pub epsilon: f32,
}

impl LayerNorm {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let LayerNorm {
            picked,
            output,
            workgroup,
        } = *self;
        let (rows, bindings): (_, &[Binding]) = match picked {
            false => ("all", &[Read, Uniform, Read, Read, ReadWrite]),
            true => ("picked", &[Read, Uniform, Read, Read, ReadWrite, Read]),
        };
        let name = format!("layer_norm.{rows}.{}.{}", output.name(), workgroup.level());
        let values = context! { picked, output => output.name(), ..workgroup.values() };
        Ok(Kernel {
            variant: workgroup.variant(output),
            wgsl: render(&name, "layer_norm.wgsl", values)?,
            bindings,
            constants: vec![],
            workgroup_size: [workgroup.invocations, 1, 1],
            workgroup_bytes: workgroup.bytes(1),
            name,
        })
    }

    /// The grid for at most `rows` rows.
    pub fn workgroups(&self, rows: u32) -> [u32; 3] {
        [rows, 1, 1]
    }
}
