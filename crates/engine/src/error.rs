//! What can go wrong between a prompt and its text.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thalweg_rwkv::Place;

use crate::StateFault;

/// An error of generation or measurement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A sampler setting or chunk size outside its range.
    #[error("{name} is {found}; expected {expected}")]
    Setting {
        /// The setting's name, as its command line flag spells it without the dashes.
        name: &'static str,
        /// The value given.
        found: String,
        /// The range of values that make sense.
        expected: &'static str,
    },
    /// No token is left to choose from.
    #[error("every token of the vocabulary is banned; ban fewer")]
    NothingAllowed,
    /// There is no token to start from.
    #[error(
        "there is nothing to read: the prompt holds no token; give a prompt of at least one character"
    )]
    NothingToRead,
    /// The text does not fill one window of the perplexity measurement.
    #[error(
        "the text holds {tokens} tokens; expected at least one window of {window}: measure perplexity on a longer text"
    )]
    TextTooShort {
        /// Tokens of the text.
        tokens: usize,
        /// Tokens of a window.
        window: usize,
    },
    /// A text holds a token that the model has no logit for.
    #[error(
        "token {token} is outside the model's vocabulary of {vocab}: the file's tokenizer does not fit its weights; fetch the model again"
    )]
    UnknownToken {
        /// The token's id.
        token: u32,
        /// Tokens the model knows.
        vocab: usize,
    },
    /// The interrupt flag was raised while the prompt was being read.
    #[error("interrupted after {read} of {total} tokens were read")]
    Interrupted {
        /// Tokens read so far.
        read: usize,
        /// Tokens that were to be read.
        total: usize,
    },
    /// As many requests wait as may.
    #[error(
        "the queue is full: {requests} requests with {tokens} tokens wait; try again when some are done, or let more wait with the engine's queue_requests and queue_tokens"
    )]
    QueueFull {
        /// Requests that wait.
        requests: usize,
        /// Tokens of their prompts.
        tokens: usize,
    },
    /// The engine is no more, so the request will not be answered.
    #[error("the engine has ended: {reason}; start another one and submit the request again")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// The model ran into infinities in this sequence.
    #[error(
        "the numbers of the sequence became infinite or undefined in {place}, after {read} of its tokens, expected finite numbers; check the model with --check-tensors, or start from another state"
    )]
    Runaway {
        /// Tokens that were read before, those of its start state not counted.
        read: usize,
        /// The first part of the model where such numbers are seen; see
        /// [`State::first_not_finite`](thalweg_rwkv::State::first_not_finite).
        place: Place,
    },
    /// A step failed, and with it all requests that were running.
    #[error("the requests that were running have failed: {0}; submit them again")]
    Step(Arc<thalweg_rwkv::Error>),
    /// The draft model's tokens are not the model's.
    #[error(
        "token {token} is {model} in the model, but {draft} in the draft model; both need the same vocabulary: choose a draft model of the same family"
    )]
    DraftVocabulary {
        /// The first token that differs.
        token: u32,
        /// What it is in the model, and what vocabulary that is.
        model: String,
        /// What it is in the draft model.
        draft: String,
    },
    /// The draft model has other logits than the model.
    #[error(
        "the draft model has {found} logits, expected {expected}, as many as the model has; choose a draft model of the same family"
    )]
    DraftLogits {
        /// Logits of the draft model.
        found: usize,
        /// Logits of the model.
        expected: usize,
    },
    /// A state file cannot be used, or a state cannot be written as one.
    #[error("{}: {fault}", path.display())]
    StateFile {
        /// The file, if it is known.
        path: PathBuf,
        /// What is wrong.
        fault: StateFault,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}; check that it may be accessed, on a disk with room on it", path.display())]
    Io {
        /// "read", "write" or "delete".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The model failed.
    #[error(transparent)]
    Model(#[from] thalweg_rwkv::Error),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] thalweg_tokenizer::Error),
}

impl From<StateFault> for Error {
    /// A fault of bytes that are in no file.
    fn from(fault: StateFault) -> Self {
        Self::state_file(Path::new("<memory>"), fault)
    }
}

impl Error {
    pub(crate) fn state_file(path: &Path, fault: StateFault) -> Self {
        Self::StateFile {
            path: path.to_owned(),
            fault,
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn stopped(reason: &str) -> Self {
        Self::Stopped {
            reason: reason.to_owned(),
        }
    }
}
