//! `head_step.wgsl`: what happens head by head to sequences with one token each, in place of
//! [`RemovalKey`](super::RemovalKey), [`Wkv7`](super::Wkv7) and [`Readout`](super::Readout).

use minijinja::context;

use super::{HEAD_SIZE, Slot, kernel};
use crate::Error;
use crate::kernels::{Binding, Kernel, Number};

/// Invocations that share a row of the state.
const LANES: u32 = 4;

/// The keys, the recurrence and the readout of sequences with one token each. Bindings: rows (those of the sequences), params,
/// vectors, mixed, links `[tokens]` (each a [`Link`](crate::kernels::Link)), state `[slots, heads, 64, 64]`, out
/// `[tokens, width]`.
#[derive(Debug, Clone, Copy)]
pub struct HeadStep {
    /// What the results are stored as.
    pub output: Number,
}

impl HeadStep {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let output = self.output;
        let values = context! {
            slots => Slot::NAMES, lanes => LANES, parts => HEAD_SIZE / 4 / LANES, output => output.name(),
        };
        let (vectors_bytes, lane_bytes) = (6 * HEAD_SIZE * 4, HEAD_SIZE * LANES * 4);
        let head_bytes = HEAD_SIZE / 4 * 8;
        Ok(Kernel {
            variant: output.variant(),
            ..kernel(
                format!("head_step.{}", output.name()),
                "head_step.wgsl",
                values,
                &[Read, Uniform, Read, Read, Read, ReadWrite, ReadWrite],
                HEAD_SIZE * LANES,
                vectors_bytes + lane_bytes + head_bytes,
            )?
        })
    }

    /// The grid for `heads` heads and at most `sequences` sequences.
    pub fn workgroups(&self, heads: u32, sequences: u32) -> [u32; 3] {
        [heads, sequences, 1]
    }
}
