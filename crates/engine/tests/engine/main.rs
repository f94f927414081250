//! The engine on sessions that need no model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod cache;
mod demo;
mod device;
mod engine;
mod failures;
mod fake;
mod fake_batch;
mod invariance;
mod loops;
mod neighbours;
mod perplexity;
mod prefill;
mod sampler;
mod speculation;
mod state_file;
mod streaming;
mod text;
