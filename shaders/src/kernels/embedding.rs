//! `embedding.wgsl`

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Number, RowWorkgroup};
use crate::{Encoding, Error, SPAN};

/// Looks up embedding rows and norms them. Bindings: rows, params, vectors, tokens, weights, out `[tokens, width]`, embedded `[tokens,
/// width]`: what out was given, which becomes that of a row of [`NO_TOKEN`](crate::NO_TOKEN) in the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Embedding {
    /// How the table is encoded.
    pub encoding: Encoding,
    /// vec4s of a decoded row.
    pub width: u32,
    /// What shares a row, of [`Embedding::pieces`].
    pub workgroup: RowWorkgroup,
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
    /// First vec4 of the norm's weight in vectors.
    pub weight: u32,
    /// First vec4 of the norm's bias in vectors.
    pub bias: u32,
    /// What is added to the variance.
    pub epsilon: f32,
}

impl Embedding {
    /// The halves of spans of a row of `width` vec4s. An invocation decodes one at a time.
    pub fn pieces(width: u32) -> u32 {
        2 * (4 * width).div_ceil(SPAN as u32)
    }

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let Embedding {
            encoding,
            width,
            workgroup,
        } = *self;
        let name = format!(
            "embedding.{}.{width}.{}",
            encoding.name(),
            workgroup.level()
        );
        let spans = Embedding::pieces(width) / 2;
        let values =
            context! { encoding => encoding.template(), width, spans, ..workgroup.values() };
        Ok(Kernel {
            variant: workgroup.variant(Number::F32),
            wgsl: render(&name, "embedding.wgsl", values)?,
            bindings: &[Read, Uniform, Read, Read, Read, ReadWrite, ReadWrite],
            constants: vec![],
            workgroup_size: [workgroup.invocations, 1, 1],
            workgroup_bytes: workgroup.bytes(1),
            name,
        })
    }

    /// The grid for at most so many tokens.
    pub fn workgroups(&self, tokens: u32) -> [u32; 3] {
        [tokens, 1, 1]
    }
}
