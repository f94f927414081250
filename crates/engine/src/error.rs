//! What can go wrong between a prompt and its text.

use std::sync::Arc;

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
    /// A logit is infinite or not a number, so no token can be chosen.
    #[error(
        "the logit of token {token} is {value}; expected a finite number: the model file is damaged or was not trained to completion, check it with --check-tensors or fetch it again"
    )]
    NonFiniteLogit {
        /// Index into the vocabulary.
        token: usize,
        /// The value found.
        value: f32,
    },
    /// The sampler was given no logits.
    #[error("the sampler was given no logits; expected one for each token of the vocabulary")]
    NoLogits,
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
    /// A step failed, and with it all requests that were running.
    #[error("the requests that were running have failed: {0}; submit them again")]
    Step(Arc<thalweg_rwkv::Error>),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] thalweg_rwkv::Error),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] thalweg_tokenizer::Error),
}

impl Error {
    pub(crate) fn stopped(reason: &str) -> Self {
        Self::Stopped {
            reason: reason.to_owned(),
        }
    }
}
