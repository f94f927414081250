//! What comes out of an engine.

use std::sync::Arc;
use std::time::Duration;

use crate::{Snapshot, Timings};

/// A token and its log-probability, in nats: with biases, bans and penalties, at temperature 1, before any filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenProbability {
    /// The token's id.
    pub id: u32,
    /// Its log-probability.
    pub logprob: f32,
}

/// A token that was generated. The last one may be a stop token, whose own text is never shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Text that may be shown after it: whole characters, nothing of a stop string; often none, at times that of earlier
    /// tokens too.
    pub text: String,
    /// Its log-probability, if asked for; see [`TokenProbability`].
    pub logprob: Option<f32>,
    /// The most probable tokens in its place, the best first, as many as were asked for.
    pub top: Vec<TokenProbability>,
    /// Whether it is the last one.
    pub is_end: bool,
    /// Time from submission until it was chosen.
    pub timing: Duration,
}

/// Why a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The token limit was reached.
    Limit,
    /// This stop token was chosen.
    StopToken(u32),
    /// A stop string appeared.
    StopString,
    /// The request was cancelled or stopped.
    Interrupted,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Why.
    pub finish: Finish,
    /// The generated tokens, without the stop token.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt that were not read, for the state after them was known.
    pub resumed: usize,
    /// How many of the generated tokens the snapshot has read: all, or all but the last.
    pub read: usize,
    /// Where it ended, if asked for; nothing if it was cancelled.
    pub snapshot: Option<Arc<Snapshot>>,
    /// How long it took.
    pub timings: Timings,
}
