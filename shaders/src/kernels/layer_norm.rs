//! `layer_norm.wgsl`

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Variant};
use crate::Error;

/// Layer norm of rows. Bindings: rows, params, vectors, x `[tokens, width]`, out `[tokens, width]`.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm;

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

const WORKGROUP: u32 = 256;

impl LayerNorm {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        Ok(Kernel {
            name: "layer_norm".to_owned(),
            variant: Variant::PLAIN,
            wgsl: render("layer_norm", "layer_norm.wgsl", context! {})?,
            bindings: &[Read, Uniform, Read, Read, ReadWrite],
            constants: vec![("WORKGROUP", WORKGROUP.into())],
            workgroup_size: [WORKGROUP, 1, 1],
            workgroup_bytes: 8 * WORKGROUP,
        })
    }

    /// The grid for at most `rows` rows.
    pub fn workgroups(&self, rows: u32) -> [u32; 3] {
        [rows, 1, 1]
    }
}
