//! The engine on sessions that need no model.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod fake;
mod generation;
mod perplexity;
mod sampler;
