//! What a line of the output says.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use thalweg_engine::{Ending, Finish, Token, TokenProbability};

use super::entry::Id;

/// Every line of the output begins so.
pub(super) const BEGINNING: &str = "{\"id\":";

/// A prompt and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Reply<'a> {
    id: &'a Id,
    line: u64,
    text: &'a str,
    finish: &'static str,
    pub(super) prompt_tokens: usize,
    pub(super) tokens: usize,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [Logprob]>,
    timing: Timing,
}

/// A line that came to nothing.
#[derive(Debug, Serialize)]
pub(super) struct Fault<'a> {
    pub(super) id: &'a Id,
    pub(super) line: u64,
    pub(super) error: &'a str,
}

/// A token, and how probable it was after biases and penalties.
#[derive(Debug, Serialize)]
pub(super) struct Logprob {
    id: u32,
    logprob: f32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top: Vec<Alternative>,
}

#[derive(Debug, Serialize)]
struct Alternative {
    id: u32,
    logprob: f32,
}

/// Seconds: in the queue, for the prompt, until the first token, for the tokens after it.
#[derive(Debug, Serialize)]
struct Timing {
    waiting_s: f64,
    prefill_s: f64,
    first_token_s: f64,
    decode_s: f64,
}

/// What of a line of the output matters to a job that goes on with it.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    pub(super) id: Id,
    text: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

impl Written {
    /// Understands a line; nothing if it was not written by such a job.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let written: Self = serde_json::from_slice(line).ok()?;
        (written.text.is_some() != written.error.is_some()).then_some(written)
    }

    pub(super) fn is_reply(&self) -> bool {
        self.text.is_some()
    }
}

/// What is generated for a line, as it comes.
#[derive(Debug, Default)]
pub(super) struct Generated {
    pub(super) text: String,
    pub(super) logprobs: Vec<Logprob>,
}

impl Generated {
    pub(super) fn push(&mut self, token: Token) {
        self.text += &token.text;
        let Some(logprob) = token.logprob else { return };
        let alternative = |top: TokenProbability| Alternative {
            id: top.id,
            logprob: top.logprob,
        };
        self.logprobs.push(Logprob {
            id: token.id,
            logprob,
            top: token.top.into_iter().map(alternative).collect(),
        });
    }
}

impl<'a> Reply<'a> {
    pub(super) fn new(
        id: &'a Id,
        line: u64,
        seed: u64,
        text: &'a str,
        logprobs: Option<&'a [Logprob]>,
        ending: &Ending,
    ) -> Self {
        let timings = ending.timings;
        let tokens = ending.tokens.len();
        Self {
            id,
            line,
            text,
            finish: match ending.finish {
                Finish::Limit => "limit",
                Finish::StopToken(_) => "stop_token",
                Finish::StopString => "stop_string",
                Finish::Interrupted => "interrupted",
            },
            prompt_tokens: timings.prefill_tokens + ending.resumed,
            tokens,
            seed,
            // The last one may be a stop token, which is no part of the reply.
            logprobs: logprobs.map(|logprobs| &logprobs[..tokens.min(logprobs.len())]),
            timing: Timing {
                waiting_s: timings.waiting.as_secs_f64(),
                prefill_s: timings.prefill.as_secs_f64(),
                first_token_s: timings.first_token.as_secs_f64(),
                decode_s: timings.decode.as_secs_f64(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_files_are_told_apart() {
        let is_reply = |line: &str| Written::parse(line.as_bytes()).map(|w| w.is_reply());
        assert_eq!(
            is_reply(r#"{"id":"a","line":1,"text":"","tokens":0}"#),
            Some(true)
        );
        assert_eq!(is_reply(r#"{"id":1,"line":1,"error":"x"}"#), Some(false));
        for other in [
            r#"{"id":"a","prompt":"x"}"#,
            r#"{"text":"x"}"#,
            "x",
            "",
            r#"{"id":1,"text":"x","error":"y"}"#,
        ] {
            assert_eq!(is_reply(other), None, "{other}");
        }
    }

    #[test]
    fn lines_begin_as_is_said() {
        let fault = Fault {
            id: &Id::Number(1),
            line: 1,
            error: "x",
        };
        assert!(
            serde_json::to_string(&fault)
                .unwrap()
                .starts_with(BEGINNING)
        );
    }
}
