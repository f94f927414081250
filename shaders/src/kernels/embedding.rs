//! `embedding.wgsl`

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Variant};
use crate::{Encoding, Error};

/// Looks up embedding rows. Bindings: rows, params, tokens, weights, out `[tokens, width]`.
#[derive(Debug, Clone, Copy)]
pub struct Embedding {
    /// How the table is encoded.
    pub encoding: Encoding,
}

/// Parameters of [`Embedding`]; one part of a table that may be split by rows.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct EmbeddingParams {
    /// First token of the part.
    pub first_token: u32,
    /// Tokens of the part.
    pub token_count: u32,
    /// vec4s of an encoded row.
    pub row_stride: u32,
    /// Spans of a row.
    pub spans: u32,
    /// First vec4 of the part in the weights.
    pub weights: u32,
    /// vec4s of a decoded row.
    pub width: u32,
}

const WORKGROUP: u32 = 64;

impl Embedding {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let encoding = self.encoding;
        let name = format!("embedding.{}", encoding.name());
        Ok(Kernel {
            variant: Variant::PLAIN,
            wgsl: render(
                &name,
                "embedding.wgsl",
                context! { encoding => encoding.template() },
            )?,
            bindings: &[
                Binding::Read,
                Binding::Uniform,
                Binding::Read,
                Binding::Read,
                Binding::ReadWrite,
            ],
            constants: vec![("WORKGROUP", WORKGROUP.into())],
            workgroup_size: [WORKGROUP, 1, 1],
            workgroup_bytes: 0,
            name,
        })
    }

    /// The grid for rows of `spans` and at most `tokens` tokens.
    pub fn workgroups(&self, spans: u32, tokens: u32) -> [u32; 3] {
        [(2 * spans).div_ceil(WORKGROUP), tokens, 1]
    }
}
