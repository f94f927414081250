//! The decode loop as an iterator of printable text.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thalweg_rwkv::{Session, Wanted};
use thalweg_tokenizer::Tokenizer;

use crate::text::TextStream;
use crate::{Error, Prefill, Sampler, Timings};

/// When a generation ends, whichever comes first.
#[derive(Debug, Clone, Default)]
pub struct Until {
    /// So many tokens were generated.
    pub tokens: usize,
    /// One of these tokens was chosen. It is not printed.
    pub stop_ids: Vec<u32>,
    /// One of these strings appeared in the text. It is not printed.
    pub stop_strings: Vec<String>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The token limit was reached.
    Limit,
    /// This stop token was chosen.
    StopToken(u32),
    /// A stop string appeared.
    StopString,
    /// The interrupt flag was raised, or the request was cancelled.
    Interrupted,
}

/// What a generation left behind.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Why it ended; nothing if it was dropped before its end.
    pub finish: Option<Finish>,
    /// The generated tokens, without the stop token.
    pub tokens: Vec<u32>,
    /// How many of them the session has read: its state is that after the prompt and so many tokens.
    pub read: usize,
    /// The logits in that state, `[vocab]`.
    pub logits: Vec<f32>,
    /// How long it took.
    pub timings: Timings,
}

/// Generates text as an iterator of pieces that may be printed at once: whole UTF-8 characters, nothing of a stop
/// string. The session must stand where [`prefill`](crate::prefill()) left it.
///
/// A token's text is handed out before the token is read into the session, so that printing does not wait for the
/// next forward pass.
pub struct Generation<'a> {
    session: &'a mut dyn Session,
    tokenizer: &'a Tokenizer,
    sampler: &'a mut Sampler,
    interrupt: &'a AtomicBool,
    limit: usize,
    stop_ids: Vec<u32>,
    text: TextStream,
    tokens: Vec<u32>,
    read: usize,
    logits: Vec<f32>,
    timings: Timings,
    finish: Option<Finish>,
    failed: bool,
}

impl<'a> Generation<'a> {
    /// A generation that goes on from `prefill`, to be ended by `until` or by raising `interrupt`.
    pub fn new(
        session: &'a mut dyn Session,
        tokenizer: &'a Tokenizer,
        sampler: &'a mut Sampler,
        prefill: Prefill,
        until: Until,
        interrupt: &'a AtomicBool,
    ) -> Self {
        let timings = Timings {
            prefill_tokens: prefill.tokens,
            prefill: prefill.elapsed,
            ..Timings::default()
        };
        Self {
            session,
            tokenizer,
            sampler,
            interrupt,
            limit: until.tokens,
            stop_ids: until.stop_ids,
            text: TextStream::new(&until.stop_strings),
            tokens: Vec::new(),
            read: 0,
            logits: prefill.logits,
            timings,
            finish: None,
            failed: false,
        }
    }

    /// What there is to know once the text is printed.
    pub fn outcome(self) -> Outcome {
        Outcome {
            finish: self.finish,
            tokens: self.tokens,
            read: self.read,
            logits: self.logits,
            timings: self.timings,
        }
    }

    /// Generates one token and returns the text that may be printed after it, which may be none.
    fn step(&mut self) -> Result<String, Error> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Ok(self.end(Finish::Interrupted));
        }
        if self.tokens.len() == self.limit {
            return Ok(self.end(Finish::Limit));
        }
        let token = self.timed_choice()?;
        if self.stop_ids.contains(&token) {
            return Ok(self.end(Finish::StopToken(token)));
        }
        self.tokens.push(token);
        Ok(self.text_of(token))
    }

    fn timed_choice(&mut self) -> Result<u32, Error> {
        let start = Instant::now();
        let first = self.tokens.is_empty();
        let token = self.choose()?;
        self.count_time(first, start.elapsed());
        Ok(token)
    }

    /// Reads the token chosen last, if it is still unread, and chooses the next.
    fn choose(&mut self) -> Result<u32, Error> {
        if let Some(unread) = self.tokens.get(self.read) {
            self.logits = self.session.forward(&[*unread], Wanted::Last)?;
            self.read += 1;
        }
        self.sampler.sample(&self.logits)
    }

    fn count_time(&mut self, first: bool, elapsed: Duration) {
        if first {
            self.timings.first_token = self.timings.prefill + elapsed;
        } else {
            self.timings.decode_tokens += 1;
            self.timings.decode += elapsed;
        }
    }

    /// Passes a token's bytes through the decoder and the watch for stop strings. Unused ids have no text.
    fn text_of(&mut self, token: u32) -> String {
        let bytes = self.tokenizer.token_bytes(token).unwrap_or_default();
        let piece = self.text.push(bytes);
        if piece.is_stopped {
            self.finish = Some(Finish::StopString);
        }
        piece.text
    }

    /// Ends the generation and returns the text that was held back.
    fn end(&mut self, finish: Finish) -> String {
        self.finish = Some(finish);
        self.text.finish()
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<String, Error>;

    /// The next piece of text, never empty; nothing after the end or an error.
    fn next(&mut self) -> Option<Self::Item> {
        while self.finish.is_none() && !self.failed {
            match self.step() {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Some(Ok(text)),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
