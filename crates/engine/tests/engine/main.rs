//! The engine on sessions that need no model.

mod fake;
mod generation;
mod perplexity;
mod sampler;
