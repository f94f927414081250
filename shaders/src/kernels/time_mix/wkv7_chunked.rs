//! `wkv7_prepare.wgsl` and `wkv7_apply.wgsl`: the recurrence in chunks, in place of [`Wkv7`](super::Wkv7).

use minijinja::context;

use super::{HEAD_SIZE, Slot, kernel};
use crate::Error;
use crate::kernels::{Binding, Kernel};

/// Tokens of a chunk. The kernels are written for it: with 16 all that a workgroup shares fits in what every device has.
const CHUNK: u32 = 16;
/// vec4s of a matrix `[CHUNK, HEAD_SIZE]`.
const MATRIX: u32 = CHUNK * HEAD_SIZE / 4;
/// vec4s that are prepared for a chunk of a head: six matrices and the decays of the keys.
const ITEM: u32 = 6 * MATRIX + HEAD_SIZE / 4;
/// Rows of the state that a workgroup of [`Wkv7Apply`] has.
const ROWS: u32 = 16;
/// Invocations of a workgroup.
const WORKGROUP: u32 = 128;
const VEC4_BYTES: u32 = 16;

/// The recurrence in chunks, first dispatch: what each chunk does, whatever the state. All chunks at once.
/// Bindings: rows, params, mixed, prepared ([`Wkv7Prepare::scratch_bytes`]).
#[derive(Debug, Clone, Copy)]
pub struct Wkv7Prepare;

/// The recurrence in chunks, second dispatch: takes the state through the chunks. Bindings: rows, params, mixed, state
/// `[heads, 64, 64]`, y `[tokens, width]`, prepared by [`Wkv7Prepare`] for the same rows.
#[derive(Debug, Clone, Copy)]
pub struct Wkv7Apply;

impl Wkv7Prepare {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let halves_of_operands = 2 * 32 * 9 * VEC4_BYTES;
        let products = 32 * 8 * VEC4_BYTES;
        kernel(
            "wkv7_prepare".to_owned(),
            "wkv7_prepare.wgsl",
            values(),
            &[Read, Uniform, Read, ReadWrite],
            WORKGROUP,
            halves_of_operands + products,
        )
    }

    /// The grid for `heads` heads and at most `tokens` tokens.
    pub fn workgroups(&self, heads: u32, tokens: u32) -> [u32; 3] {
        [heads, tokens.div_ceil(CHUNK), 1]
    }

    /// Bytes of the buffer `prepared` for `heads` heads and at most `tokens` tokens, `[chunks, heads, 1552 vec4s]`: 1.6 kB a
    /// token and head. It holds nothing from run to run, so all layers can share one.
    pub fn scratch_bytes(heads: u32, tokens: u32) -> u64 {
        u64::from(tokens.div_ceil(CHUNK)) * u64::from(heads) * u64::from(ITEM * VEC4_BYTES)
    }
}

impl Wkv7Apply {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let operands_and_state = (2 * CHUNK + ROWS) * 17 * VEC4_BYTES;
        let changes = CHUNK * ROWS / 2 * VEC4_BYTES;
        kernel(
            "wkv7_apply".to_owned(),
            "wkv7_apply.wgsl",
            values(),
            &[Read, Uniform, Read, ReadWrite, ReadWrite, Read],
            WORKGROUP,
            operands_and_state + changes,
        )
    }

    /// The grid for `heads` heads.
    pub fn workgroups(&self, heads: u32) -> [u32; 3] {
        [heads, HEAD_SIZE / ROWS, 1]
    }
}

fn values() -> minijinja::Value {
    context! { slots => Slot::NAMES, chunk => CHUNK, matrix => MATRIX, item => ITEM }
}
