//! `wkv7_replay.wgsl`: the recurrence of tokens that are guesses.

use minijinja::context;

use super::{HEAD_SIZE, Slot, kernel};
use crate::Error;
use crate::kernels::{Binding, Kernel};

/// Invocations that share a row of the state, and tokens that are staged at a time: equal, so that a workgroup has an
/// invocation for each value that a tile reads.
const LANES: u32 = 4;

/// The recurrence of sequences that read guessed tokens: replays what is due, and notes what is new. Bindings: replays (each a
/// [`Replay`](crate::kernels::Replay)), params, mixed, state `[slots, heads, 64, 64]`, the log of the run before and that
/// of this one (each `[rows, UPDATES, width]`), y `[tokens, width]`.
///
/// The state ends where the guesses begin: after what was due. A token's updates lie in the row of the log that has its number.
#[derive(Debug, Clone, Copy)]
pub struct Wkv7Replay;

impl Wkv7Replay {
    /// What is noted of a token: decay, key, value, removal key, and the removal key times the in-context learning rate.
    pub const UPDATES: usize = 5;

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let values = context! {
            slots => Slot::NAMES, lanes => LANES, tile => LANES, parts => HEAD_SIZE / 4 / LANES,
        };
        let staged_bytes = (Self::UPDATES as u32 + 1) * LANES * HEAD_SIZE * 4;
        let part_bytes = HEAD_SIZE * LANES * 4;
        kernel(
            "wkv7_replay".to_owned(),
            "wkv7_replay.wgsl",
            values,
            &[Read, Uniform, Read, ReadWrite, Read, ReadWrite, ReadWrite],
            HEAD_SIZE * LANES,
            staged_bytes + (2 + LANES) * part_bytes,
        )
    }

    /// The grid for `heads` heads and at most `sequences` sequences.
    pub fn workgroups(&self, heads: u32, sequences: u32) -> [u32; 3] {
        [heads, sequences, 1]
    }
}
