//! Every kernel against its CPU twin, over random data and odd shapes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail the test"
)]

mod harness;
mod lookup;
mod norm;
mod product;
mod time_mix;
