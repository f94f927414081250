//! `add_parts.wgsl`

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Variant};
use crate::Error;

/// Adds up a product that was divided along its columns. Bindings: rows, params, parts `[parts, tokens, width]`, out
/// `[tokens, width]`, which it is added to.
#[derive(Debug, Clone, Copy)]
pub struct AddParts;

/// Parameters of [`AddParts`].
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct AddPartsParams {
    /// vec4s of a row.
    pub width: u32,
    /// Number of parts.
    pub parts: u32,
    /// vec4s from part to part.
    pub part_stride: u32,
    /// What their sum is multiplied by.
    pub scale: f32,
}

const WORKGROUP: u32 = 64;

impl AddParts {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        Ok(Kernel {
            name: "add_parts".to_owned(),
            variant: Variant::PLAIN,
            wgsl: render("add_parts", "add_parts.wgsl", context! {})?,
            bindings: &[Read, Uniform, Read, ReadWrite],
            constants: vec![("WORKGROUP", WORKGROUP.into())],
            workgroup_size: [WORKGROUP, 1, 1],
            workgroup_bytes: 0,
        })
    }

    /// The grid for rows of `width` numbers and at most `rows` rows.
    pub fn workgroups(&self, width: u32, rows: u32) -> [u32; 3] {
        [width.div_ceil(4 * WORKGROUP), rows, 1]
    }
}
