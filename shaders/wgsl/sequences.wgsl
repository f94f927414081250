// The sequences of a run that have several rows (tokens) each, one after the other, and the slot that each has its state in.
// Written before each run; places that a run does not use have no rows.
struct Sequence {
    slot: u32,
    first: u32, // row
    count: u32, // of rows
}

@group(0) @binding(0) var<storage, read> sequences: array<Sequence>;
