//! `sequences.wgsl`, `links.wgsl` and `replays.wgsl`: what kernels are told of the sequences whose rows they see.

use bytemuck::{Pod, Zeroable};

/// A sequence with several rows in a run. Its rows follow one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Sequence {
    /// The slot that has its state.
    pub slot: u32,
    /// Its first row.
    pub first: u32,
    /// Its number of rows; 0 in a place that is not used.
    pub count: u32,
}

/// What ties a row to its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Link {
    /// The row before; of the first row of a sequence its last one.
    pub other: u32,
    /// Of the first row of a sequence the slot that has its state, of others [`NO_SLOT`]. In a run of guesses it may be
    /// [`Link::due`] instead.
    pub slot: u32,
}

/// [`Link::slot`] of a row that does not begin its sequence.
pub const NO_SLOT: u32 = u32::MAX;

impl Link {
    /// [`Link::slot`] of a row whose predecessor is in this row of the log of the run before.
    pub fn due(log_row: u32) -> u32 {
        DUE | log_row
    }
}

const DUE: u32 = 1 << 31;

/// A sequence that reads guessed tokens, or of which such tokens are still due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Replay {
    /// The slot that has its state.
    pub slot: u32,
    /// The first row of the log of the run before that is due.
    pub first_due: u32,
    /// How many rows are due.
    pub due: u32,
    /// The first row of this run.
    pub first: u32,
    /// Its number of rows; none if only what is due is to be done.
    pub count: u32,
}
