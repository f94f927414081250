//! What is asked of an engine.

use std::sync::Arc;

use thalweg_rwkv::{Hyperparameters, MAX_TOP_LOGPROBS};
use thalweg_tokenizer::Tokenizer;

use crate::{Error, SamplerSettings, Snapshot, Speculation};

/// A text to continue.
///
/// | input | what happens |
/// |---|---|
/// | an empty prompt | begin-of-text is read, if the model has it; else [`Error::NothingToRead`] |
/// | an empty prompt after a [`Snapshot`] with logits | the first token is chosen from these |
/// | a prompt of millions of tokens | it is read a step at a time and holds nobody up; what the queue cannot hold is refused |
/// | text that is not UTF-8 | World vocabularies take any bytes, others refuse it |
/// | a token that the model does not have | [`Error::UnknownToken`] |
/// | a limit of 0 tokens | the prompt is read (and remembered), and nothing is generated |
/// | a limit above that of the engine, a sampler setting out of range or not a number | [`Error::Setting`] |
/// | a bias or a ban of a token that the model does not have | [`Error::Setting`] |
/// | a ban of every token | [`Error::NothingAllowed`] |
/// | a snapshot of another model | [`Error::Model`] |
/// | a draft model is asked for, and the engine has none | [`Error::Setting`] |
///
/// All of it is found by [`submit`](crate::Engine::submit), before anything is computed.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is read first.
    pub prompt: Prompt,
    /// How tokens are chosen, the seed among it.
    pub sampler: SamplerSettings,
    /// When it ends. [`Request::new`] sets 256 tokens and nothing that stops earlier.
    pub until: Until,
    /// Asks for the log-probability of each token, and for so many of the most probable tokens in its place, from 0 to
    /// [`Request::MOST_LOGPROBS`]; see [`TokenProbability`](crate::TokenProbability).
    pub logprobs: Option<usize>,
    /// Where guesses at the next tokens come from, which change nothing but the time. [`Request::new`] asks for none.
    pub speculation: Speculation,
    /// Where to go on from, instead of the beginning of a sequence.
    pub start: Option<Arc<Snapshot>>,
    /// Whether the prefix cache may be used and filled, if the engine has one. Only what starts at the beginning of a
    /// sequence is cached.
    pub cached: bool,
    /// Whether the [`Ending`](crate::Ending) is to hold a snapshot to go on from.
    pub keeps_snapshot: bool,
}

/// When a request ends, whichever comes first.
#[derive(Debug, Clone, Default)]
pub struct Until {
    /// So many tokens were generated.
    pub tokens: usize,
    /// One of these tokens was chosen. It is not shown.
    pub stop_ids: Vec<u32>,
    /// One of these strings appeared in the text. It is not shown.
    pub stop_strings: Vec<String>,
}

/// What a request reads first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Tokens as they are.
    Tokens(Vec<u32>),
    /// Text to be encoded, after begin-of-text if the model asks for it.
    Text(Vec<u8>),
}

impl From<Vec<u32>> for Prompt {
    fn from(tokens: Vec<u32>) -> Self {
        Self::Tokens(tokens)
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

impl Request {
    /// Most alternatives that [`logprobs`](Request::logprobs) may ask for.
    pub const MOST_LOGPROBS: usize = MAX_TOP_LOGPROBS;
    /// Most continuations of one prompt.
    pub const MOST_CONTINUATIONS: usize = 256;
    /// Most stop strings.
    pub const MOST_STOP_STRINGS: usize = 64;
    /// Most bytes of a stop string.
    pub const LONGEST_STOP_STRING: usize = 4096;

    /// A request with the default sampler, for 256 tokens.
    pub fn new(prompt: impl Into<Prompt>) -> Self {
        Self {
            prompt: prompt.into(),
            sampler: SamplerSettings::default(),
            until: Until {
                tokens: 256,
                ..Until::default()
            },
            logprobs: None,
            speculation: Speculation::default(),
            start: None,
            cached: true,
            keeps_snapshot: false,
        }
    }

    /// The prompt's tokens, if all of the request makes sense.
    pub(crate) fn check(
        &self,
        tokenizer: &Tokenizer,
        hp: &Hyperparameters,
        longest_reply: usize,
    ) -> Result<Vec<u32>, Error> {
        self.sampler.validate()?;
        self.sampler.check_tokens(hp.vocab)?;
        self.check_limits(longest_reply)?;
        if let Some(start) = &self.start {
            start.check(hp)?;
        }
        let tokens = match &self.prompt {
            Prompt::Tokens(tokens) => tokens.clone(),
            Prompt::Text(text) if self.start.is_some() => tokenizer.encode(text)?,
            Prompt::Text(text) => encode_prompt(tokenizer, text)?,
        };
        let can_start_at_once = self.start.as_ref().is_some_and(|s| s.logits.is_some());
        if tokens.is_empty() && !can_start_at_once {
            return Err(Error::NothingToRead);
        }
        match tokens.iter().find(|token| **token as usize >= hp.vocab) {
            None => Ok(tokens),
            Some(&token) => Err(Error::UnknownToken {
                token,
                vocab: hp.vocab,
            }),
        }
    }

    fn check_limits(&self, longest_reply: usize) -> Result<(), Error> {
        let at_most = |name, found: usize, most: usize, expected| match found <= most {
            true => Ok(()),
            false => Err(Error::Setting {
                name,
                found: found.to_string(),
                expected,
            }),
        };
        let strings = &self.until.stop_strings;
        let longest = strings.iter().map(String::len).max().unwrap_or(0);
        at_most(
            "tokens",
            self.until.tokens,
            longest_reply,
            "at most the engine's longest reply",
        )?;
        at_most(
            "logprobs",
            self.logprobs.unwrap_or(0),
            Self::MOST_LOGPROBS,
            "a whole number from 0 to 20",
        )?;
        at_most(
            "number of stop strings",
            strings.len(),
            Self::MOST_STOP_STRINGS,
            "at most 64",
        )?;
        at_most(
            "length of a stop string",
            longest,
            Self::LONGEST_STOP_STRING,
            "at most 4096 bytes",
        )
    }
}

/// The tokens of a prompt, after begin-of-text if the model asks for it; an empty prompt starts from begin-of-text.
///
/// # Errors
///
/// [`Error::NothingToRead`] if that leaves no token; [`Error::Tokenizer`] if the text cannot be encoded.
pub fn encode_prompt(tokenizer: &Tokenizer, text: &[u8]) -> Result<Vec<u32>, Error> {
    let begin = tokenizer
        .bos_id()
        .filter(|_| tokenizer.add_bos() || text.is_empty());
    let mut tokens: Vec<u32> = begin.into_iter().collect();
    tokens.extend(tokenizer.encode(text)?);
    if tokens.is_empty() {
        Err(Error::NothingToRead)
    } else {
        Ok(tokens)
    }
}
