//! Every kernel against its CPU twin, over random data and odd shapes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's ways of failing and of reporting"
)]

mod add_parts;
mod decoders;
mod embedding;
mod fused_matvec;
mod fused_matvec_integers;
mod harness;
mod norm;
mod probe;
mod product;
mod product_dot4;
mod rounded;
mod sample;
mod time_mix;
mod time_mix_step;
mod unfused;
