//! Compares sessions, block decoding and tokenizers with golden vectors computed in float64.
//!
//! A golden is a JSON file with prompts and what the reference made of them, and perhaps a safetensors file beside it
//! with the intermediate results for the prompt called `short`. [`check_session`], [`check_vectors`] and [`check_taps`] put any
//! [`Backend`] through it; [`check_directory`] does all that a directory has goldens for.
//!
//! [`synth`] makes random models of any shape, for tests that no golden covers.

mod backend;
mod blocks;
mod difference;
mod directory;
mod golden;
mod hex;
mod model;
mod perplexity;
pub mod synth;
mod vectors;
mod world;

pub use backend::{Backend, Runner};
pub use blocks::check_blocks;
pub use directory::{check_directory, check_model};
pub use golden::Golden;
pub use model::check_session;
pub use perplexity::check_perplexity;
pub use vectors::{Vectors, check_taps, check_vectors};
pub use world::check_world;

/// How one comparison went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was compared.
    pub subject: String,
    /// The largest differences met, or what is wrong; either for people to read.
    pub result: Result<String, String>,
}

impl Outcome {
    fn new(subject: impl Into<String>, result: Result<String, String>) -> Outcome {
        Outcome {
            subject: subject.into(),
            result,
        }
    }

    /// Whether all was as it should be.
    pub fn passed(&self) -> bool {
        self.result.is_ok()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.result {
            Ok(measured) => write!(f, "ok    {}: {measured}", self.subject),
            Err(fault) => write!(f, "FAIL  {}: {fault}", self.subject),
        }
    }
}

/// The message of any error.
fn message(error: impl std::fmt::Display) -> String {
    error.to_string()
}
