//! Generation: many requests at once, chunked prefill, sampling, streaming, perplexity.
//!
//! An [`Engine`] answers many requests on one [`thalweg_rwkv::Batch`]: [`Engine::submit`] takes a [`Request`] and gives a
//! [`Handle`] to its tokens.
//!
//! [`SamplerSettings`] say how tokens are chosen, [`Until`] says when a text ends. A [`PrefixCache`] remembers states, so that a
//! conversation is not read again from its beginning; [`StateFormat`] brings them into files.
//!
//! What only measures works on one [`thalweg_rwkv::Session`]: [`prefill`] reads a text a chunk at a time, [`perplexity`] says
//! how well a model predicts it.

mod cache;
mod engine;
mod error;
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

pub use cache::{Faults, PrefixCache};
pub use engine::{Engine, EngineOptions, Tokens};
pub use error::Error;
pub use handle::Handle;
pub use intake::Submitter;
pub use perplexity::{Perplexity, WINDOW, perplexity};
pub use prefill::{ChunkSize, Prefill, prefill};
pub use request::{Prompt, Request, Until, encode_prompt};
pub use settings::SamplerSettings;
pub use snapshot::Snapshot;
pub use speculation::{Speculation, check_draft_vocabulary};
pub use state_file::{Origin, SavedState, StateEncoding, StateFault, StateFormat};
pub use stream::TokenStream;
pub use timings::{Guesses, Timings};
pub use token::{Ending, Finish, Token, TokenProbability};
#[cfg(not(target_arch = "wasm32"))]
pub use worker::EngineThread;
