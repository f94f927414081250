//! `add_parts.wgsl`

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::product::{HIDDEN_SCALE, MAX_JOBS};
use super::template::render;
use super::{Binding, Kernel, Number};
use crate::Error;

/// Finishes products that were divided along their columns. Bindings: rows, jobs, vectors, params, parts
/// `[parts, numbers of a part]`, out, the output beside it. A [`Job`](super::Job)'s `input` and `input_stride` say where its sums
/// lie in a part, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddParts {
    /// Parts of each product, at least 1.
    pub parts: u32,
    /// What the results are stored as.
    pub output: Number,
    /// Likewise those of the last jobs, if they go to another buffer. Their [`Epilogue`](super::Epilogue)s must not build on what it
    /// holds.
    pub beside: Option<Number>,
}

/// Parameters of [`AddParts`].
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub struct AddPartsParams {
    /// Numbers from part to part.
    pub part_stride: u32,
    /// The first of the jobs with an output beside that of the others.
    pub first_beside: u32,
    /// Uniform structs are whole vec4s.
    pub padding: [u32; 2],
}

const WORKGROUP: u32 = 64;

impl AddParts {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        const ALL: &[Binding] = &[Read, Uniform, Read, Uniform, Read, ReadWrite, ReadWrite];
        let AddParts {
            parts,
            output,
            beside,
        } = *self;
        let name = match beside {
            None => format!("add_parts.{}.{parts}", output.name()),
            Some(beside) => format!("add_parts.{}.{}.{parts}", output.name(), beside.name()),
        };
        let values = context! {
            encodings => Vec::<String>::new(), max_jobs => MAX_JOBS, hidden_scale => HIDDEN_SCALE,
            input => "f32", parts, output => output.name(), beside => beside.map(Number::name),
        };
        Ok(Kernel {
            variant: Number::variant_of([output, beside.unwrap_or(output)]),
            wgsl: render(&name, "add_parts.wgsl", values)?,
            bindings: if beside.is_some() { ALL } else { &ALL[..6] },
            constants: vec![("WORKGROUP", WORKGROUP.into())],
            workgroup_size: [WORKGROUP, 1, 1],
            workgroup_bytes: 0,
            name,
        })
    }

    /// The grid for `jobs` jobs, the largest of `rows` rows, and at most `tokens` tokens.
    pub fn workgroups(&self, jobs: u32, rows: u32, tokens: u32) -> [u32; 3] {
        [rows.div_ceil(4 * WORKGROUP), tokens, jobs]
    }
}
