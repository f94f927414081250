//! Generation: many requests at once, chunked prefill, sampling, streaming, perplexity.
//!
//! An [`Engine`] answers many requests on one [`thalweg_rwkv::Batch`]: [`Engine::submit`] takes a [`Request`] and gives a
//! [`Handle`] to its tokens.
//!
//! For a single sequence there is less. It works on `&mut dyn` [`thalweg_rwkv::Session`], one sequence on some backend, and knows nothing of
//! what computes it. The path of a prompt:
//!
//! 1. [`prefill`] reads the prompt's tokens a chunk at a time, up to the logits after the last one;
//! 2. [`Sampler`] chooses a token from logits, as [`SamplerSettings`] say;
//! 3. [`Generation`] turns the two into an iterator of text, ready to be printed piece by piece;
//! 4. [`PrefixCache`] remembers states, so that a conversation is not read again from its beginning.
//!
//! [`StateFormat`] brings states into files.
//!
//! [`perplexity`] measures a model on a text instead.

mod cache;
mod engine;
mod error;
mod generation;
mod handle;
mod intake;
mod loops;
mod mailbox;
mod memory;
mod pace;
mod perplexity;
mod prefill;
mod queue;
mod request;
mod sampler;
mod scheduler;
mod sequence;
mod settings;
mod snapshot;
mod speculation;
mod state_file;
mod step;
mod stop;
mod stream;
mod text;
mod timings;
mod token;
#[cfg(not(target_arch = "wasm32"))]
mod worker;

pub use cache::PrefixCache;
pub use engine::{Engine, EngineOptions, Tokens};
pub use error::Error;
pub use generation::{Finish, Generation, Outcome, Until};
pub use handle::Handle;
pub use intake::Submitter;
pub use perplexity::{Perplexity, WINDOW, perplexity};
pub use prefill::{ChunkSize, Prefill, prefill};
pub use request::{Prompt, Request, encode_prompt};
pub use sampler::Sampler;
pub use settings::SamplerSettings;
pub use snapshot::Snapshot;
pub use speculation::Speculation;
pub use state_file::{Origin, SavedState, StateEncoding, StateFault, StateFormat};
pub use stream::TokenStream;
pub use timings::{Guesses, Timings};
pub use token::{Ending, Token, TokenProbability};
#[cfg(not(target_arch = "wasm32"))]
pub use worker::EngineThread;
