//! The engine on sessions that need no model.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod engine;
mod fake;
mod fake_batch;
mod generation;
mod invariance;
mod perplexity;
mod sampler;
mod state_file;
