//! `norm_mix.wgsl`

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Number, RowWorkgroup};
use crate::Error;

/// Layer norm and token shift. Bindings: rows, params, vectors, x `[tokens, width]`, out `[mixes, tokens, width]`,
/// shifts `[slots, layers, width]`: for each sequence the normed row before its first, which its last one replaces;
/// links `[tokens]`, each a [`Link`](super::Link). Of guesses besides: the log of the run before and that of this one, each `[tokens,
/// layers, width]`. Of single rows besides: `[parts, tokens, width]`, and x is written, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NormMix {
    /// vec4s of a row.
    pub width: u32,
    /// Mixtures of each row and its predecessor: one of [`NormMix::MIXES`].
    pub mixes: u32,
    /// What they are stored as.
    pub output: Number,
    /// What the rows are to their sequences.
    pub rows: NormRows,
    /// What shares a row, of so many vec4s.
    pub workgroup: RowWorkgroup,
}

/// What the rows of a [`NormMix`] are to their sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormRows {
    /// Chunks and single tokens.
    Any,
    /// Guesses, whose normed rows a log notes, and which leave the shifts as they are.
    Guessed,
    /// Single tokens, one a sequence. To each, parts of a product are added first; nothing else looks at the row, so that it can be
    /// written where it stands.
    Single {
        /// How many parts.
        parts: u32,
    },
}

/// Parameters of [`NormMix`].
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct NormMixParams {
    /// First vec4 of the norm's weight in vectors.
    pub weight: u32,
    /// First vec4 of the norm's bias in vectors.
    pub bias: u32,
    /// What is added to the variance.
    pub epsilon: f32,
    /// First vec4 in vectors of what the first mixture mixes by; the others follow.
    pub mixes: u32,
    /// vec4s from a mixture of the first row to the next mixture of it.
    pub mix_stride: u32,
    /// First vec4 of the layer in the shifts of a slot.
    pub shift: u32,
    /// vec4s from the shifts of a slot to those of the next.
    pub slot_stride: u32,
    /// vec4s from part to part, with [`NormRows::Single`].
    pub part_stride: u32,
    /// What the parts' sum is divided by.
    pub part_scale: f32,
    /// Uniform structs are whole vec4s.
    pub padding: [u32; 3],
}

impl NormMix {
    /// The numbers of mixtures: that of channel mixing and that of time mixing.
    pub const MIXES: [u32; 2] = [1, 6];

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let NormMix {
            width,
            mixes,
            output,
            rows,
            workgroup,
        } = *self;
        let (kind, parts) = match rows {
            NormRows::Any => (String::new(), 0),
            NormRows::Guessed => (".guessed".to_owned(), 0),
            NormRows::Single { parts } => (format!(".after{parts}"), parts),
        };
        let guessed = rows == NormRows::Guessed;
        let name = format!(
            "norm_mix.{mixes}.{width}.{}{kind}.{}",
            output.name(),
            workgroup.level()
        );
        let values = context! {
            width, mixes, output => output.name(), guessed, parts, ..workgroup.values()
        };
        let rows_normed = if parts > 0 { 1 } else { 2 };
        Ok(Kernel {
            variant: workgroup.variant(output),
            wgsl: render(&name, "norm_mix.wgsl", values)?,
            bindings: match rows {
                NormRows::Any => &[Read, Uniform, Read, Read, ReadWrite, ReadWrite, Read],
                NormRows::Guessed => &[
                    Read, Uniform, Read, Read, ReadWrite, Read, Read, Read, ReadWrite,
                ],
                NormRows::Single { .. } => &[
                    Read, Uniform, Read, ReadWrite, ReadWrite, ReadWrite, Read, Read,
                ],
            },
            constants: vec![],
            workgroup_size: [workgroup.invocations, 1, 1],
            workgroup_bytes: workgroup.bytes(rows_normed),
            name,
        })
    }

    /// The grid for at most `rows` rows, all of which x, links and parts have, however few there are in a run.
    pub fn workgroups(&self, rows: u32) -> [u32; 3] {
        [rows, 1, 1]
    }
}
