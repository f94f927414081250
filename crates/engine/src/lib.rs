//! Generation: chunked prefill, sampling, streaming, perplexity.
//!
//! Everything here works on `&mut dyn` [`thalweg_rwkv::Session`], one sequence on some backend, and knows nothing of
//! what computes it. The path of a prompt:
//!
//! 1. [`prefill`] reads the prompt's tokens a chunk at a time, up to the logits after the last one;
//! 2. [`Sampler`] chooses a token from logits, as [`SamplerSettings`] say;
//! 3. [`Generation`] turns the two into an iterator of text, ready to be printed piece by piece;
//! 4. [`PrefixCache`] remembers states, so that a conversation is not read again from its beginning.
//!
//! [`perplexity`] measures a model on a text instead.

mod error;
mod filter;
mod generation;
mod penalties;
mod perplexity;
mod prefill;
mod prefix_cache;
mod sampler;
mod settings;
mod stop;
mod timings;

pub use error::Error;
pub use generation::{Finish, Generation, Outcome, Until};
pub use perplexity::{Perplexity, WINDOW, perplexity};
pub use prefill::{ChunkSize, Prefill, prefill};
pub use prefix_cache::PrefixCache;
pub use sampler::Sampler;
pub use settings::SamplerSettings;
pub use timings::Timings;
