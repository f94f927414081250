//! One request on its way: what it has read, what it has chosen, and when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg_rwkv::{Chosen, Next, Sampling};
use thalweg_tokenizer::Tokenizer;

use crate::mailbox::Outlet;
use crate::speculation::{GuessKind, Guessing, Offer, Wish};
use crate::text::{Piece, TextStream};
use crate::{Ending, Error, Finish, Request, Snapshot, Timings, Token, TokenProbability, Until};

/// A sequence, in the queue or in a slot.
pub(crate) struct Sequence {
    /// The prompt, then what was generated.
    tokens: Vec<u32>,
    prompt: usize,
    /// How many of them the slot has read.
    read: usize,
    /// Whether the state after those is still to be kept.
    is_due: bool,
    start: Option<Start>,
    is_cached: bool,
    keeps_snapshot: bool,
    /// Further continuations of the same prompt, until it is read.
    pub(crate) followers: Vec<Sequence>,
    sampling: Sampling,
    guessing: Option<Guessing>,
    until: Until,
    text: TextStream,
    outlet: Outlet,
    resumed: usize,
    times: Times,
}

/// A snapshot to begin from, and how many of the sequence's tokens it covers.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) tokens: usize,
}

struct Times {
    submitted: Instant,
    began: Option<Instant>,
    last_choice: Option<Instant>,
    timings: Timings,
}

impl Sequence {
    /// A checked request, its prompt encoded.
    pub(crate) fn new(request: &Request, prompt: Vec<u32>, outlet: Outlet) -> Self {
        let start = request.start.clone();
        Self {
            prompt: prompt.len(),
            tokens: prompt,
            read: 0,
            is_due: false,
            is_cached: request.cached && start.is_none(),
            start: start.map(|snapshot| Start {
                snapshot,
                tokens: 0,
            }),
            keeps_snapshot: request.keeps_snapshot,
            followers: Vec::new(),
            sampling: request.sampler.sampling(request.logprobs),
            guessing: Guessing::new(request),
            text: TextStream::new(&request.until.stop_strings),
            until: request.until.clone(),
            outlet,
            resumed: 0,
            times: Times {
                submitted: Instant::now(),
                began: None,
                last_choice: None,
                timings: Timings::default(),
            },
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.outlet.is_cancelled()
    }

    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The tokens that the slot has read.
    pub(crate) fn read(&self) -> &[u32] {
        &self.tokens[..self.read]
    }

    pub(crate) fn start(&self) -> Option<&Start> {
        self.start.as_ref()
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// How its tokens are chosen.
    pub(crate) fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    pub(crate) fn keeps_snapshot(&self) -> bool {
        self.keeps_snapshot
    }

    /// The slot stands after so many of the tokens, which need not be read.
    pub(crate) fn begin_at(&mut self, known: usize) {
        self.read = known;
        self.outlet.tell_prompt_read(self.read.min(self.prompt));
        if self.times.began.is_none() {
            let now = Instant::now();
            self.times.began = Some(now);
            self.times.timings.waiting = now - self.times.submitted;
            self.resumed = known.min(self.prompt);
        }
    }

    /// How many tokens may be read in one go: none beyond a multiple of `stride`, where the state is worth keeping.
    pub(crate) fn ready(&self, stride: Option<usize>) -> usize {
        let mut end = self.tokens.len();
        if let Some(stride) = stride.filter(|_| self.is_cached) {
            end = end.min((self.read / stride + 1) * stride);
        }
        end - self.read
    }

    /// The state after what was read is to be kept before more is.
    pub(crate) fn keep_later(&mut self, is_due: bool) {
        self.is_due = is_due;
    }

    /// Whether it is still to be kept; from now on it is not.
    pub(crate) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// Whether the state after what was read is one that others may begin from: at the prompt's end, and within it every so
    /// often.
    pub(crate) fn is_worth_keeping(&self, stride: Option<usize>) -> bool {
        self.is_worth_keeping_at(self.read, stride)
    }

    fn is_worth_keeping_at(&self, read: usize, stride: Option<usize>) -> bool {
        let is_mark = stride.is_some_and(|stride| read.is_multiple_of(stride));
        read == self.prompt || (read < self.prompt && is_mark)
    }

    /// The next tokens to be read.
    pub(crate) fn next(&self, count: usize) -> &[u32] {
        &self.tokens[self.read..self.read + count]
    }

    /// Whether the next `count` tokens are all there are, so that one is to be chosen after them.
    pub(crate) fn is_last(&self, count: usize) -> bool {
        self.read + count == self.tokens.len()
    }

    /// Whether a token is to be chosen after the next `count` tokens: for itself, or to see that a state worth keeping is
    /// sound.
    pub(crate) fn is_checked(&self, count: usize, stride: Option<usize>) -> bool {
        let is_kept = self.is_cached && self.is_worth_keeping_at(self.read + count, stride);
        self.is_last(count) || is_kept
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.read += count;
        self.outlet.tell_prompt_read(self.read.min(self.prompt));
        if self.read == self.prompt && self.times.last_choice.is_none() {
            let began = self.times.began.unwrap_or(self.times.submitted);
            self.times.timings.prefill = began.elapsed();
            self.times.timings.prefill_tokens = self.prompt - self.resumed;
        }
    }

    /// What is left to be read if that is the token chosen last: so the sequence needs nothing but to go on.
    pub(crate) fn goes_on(&self, slot: usize) -> Option<Next> {
        let is_next = self.read + 1 == self.tokens.len() && self.generated() > 0;
        let last = self.tokens.last().filter(|_| is_next);
        last.map(|token| Next {
            slot,
            token: *token,
        })
    }

    /// Tokens that it may still generate.
    pub(crate) fn left(&self) -> usize {
        self.until.tokens - self.generated()
    }

    /// What its guesses are to find out, if it wants any.
    pub(crate) fn guess_kind(&self) -> Option<GuessKind> {
        self.guessing.as_ref().map(Guessing::kind)
    }

    /// The guess that could be made at up to `longest` of its next tokens.
    pub(crate) fn offer(
        &mut self,
        longest: usize,
        can_draft: bool,
        tokenizer: &Tokenizer,
    ) -> Option<Offer> {
        let most = longest.min(self.left().saturating_sub(1));
        let guessing = self.guessing.as_mut().filter(|_| most > 0)?;
        let mut offer = guessing.offer(&self.tokens, most, can_draft)?;
        if let Some(guess) = &mut offer.tokens {
            guess.truncate(self.within_end(guess, tokenizer));
            offer.prospect.most = guess.len();
        }
        Some(offer)
    }

    /// What a draft model needs to guess so many of its next tokens.
    pub(crate) fn wish(&self, slot: usize, count: usize) -> Option<Wish<'_>> {
        let guessing = self.guessing.as_ref()?;
        Some(Wish {
            slot,
            tokens: &self.tokens,
            prompt: self.prompt,
            is_counted: guessing.is_counted(),
            sampling: guessing.sampling(),
            count,
        })
    }

    /// A draft model has guessed its next tokens. Returns those that may be read.
    pub(crate) fn drafted(&mut self, mut guess: Vec<u32>, tokenizer: &Tokenizer) -> Vec<u32> {
        if let Some(guessing) = &mut self.guessing {
            guessing.drafted(self.tokens.len(), &guess);
        }
        guess.truncate(self.within_end(&guess, tokenizer));
        guess
    }

    /// How many tokens of a guess may be read: none that would end the sequence, nor any after it. So if all are right, the
    /// sequence stands no further than single steps would bring it. That it is short enough for the limit is seen to before.
    fn within_end(&self, guess: &[u32], tokenizer: &Tokenizer) -> usize {
        let mut text = self.text.clone();
        let goes_on = |token: &&u32| {
            let bytes = tokenizer.token_bytes(**token).unwrap_or_default();
            !self.until.stop_ids.contains(token) && !text.push(bytes).is_stopped
        };
        guess.iter().take_while(goes_on).count()
    }

    /// It has waited for a draft model.
    pub(crate) fn count_drafting(&mut self, took: Duration) {
        self.times.timings.guesses.elapsed += took;
    }

    /// A step has verified a guess and chosen these tokens. It took so long; steps without guesses would have taken as long as that.
    pub(crate) fn count_guess(
        &mut self,
        guess: &[u32],
        chosen: &[Option<Chosen>],
        took: Duration,
        without: Duration,
    ) {
        if !guess.is_empty() {
            let chosen = chosen.iter().map_while(Option::as_ref);
            let tokens: Vec<u32> = chosen.map(|chosen| chosen.token).collect();
            let right = guess.iter().zip(&tokens).take_while(|(a, b)| a == b);
            let accepted = right.count();
            let guesses = &mut self.times.timings.guesses;
            guesses.count(guess.len(), accepted, tokens.len());
            guesses.elapsed += took;
            guesses.without += without;
        }
    }

    /// Takes the token that was chosen after all of the present ones were read, and sends it out. Says whether that was the
    /// end.
    pub(crate) fn take(&mut self, chosen: Chosen, tokenizer: &Tokenizer) -> Option<Finish> {
        if self.generated() == self.until.tokens {
            return Some(Finish::Limit); // of no token at all
        }
        self.count_time();
        let (text, finish) = self.text_after(chosen.token, tokenizer);
        self.send(chosen, text, finish.is_some());
        finish
    }

    fn generated(&self) -> usize {
        self.tokens.len() - self.prompt
    }

    fn text_after(&mut self, token: u32, tokenizer: &Tokenizer) -> (String, Option<Finish>) {
        if self.until.stop_ids.contains(&token) {
            return (self.text.finish(), Some(Finish::StopToken(token)));
        }
        self.tokens.push(token);
        let bytes = tokenizer.token_bytes(token).unwrap_or_default();
        let Piece { text, is_stopped } = self.text.push(bytes);
        if is_stopped {
            return (text, Some(Finish::StopString));
        }
        let end = match self.generated() == self.until.tokens {
            true => Finish::Limit,
            false if self.outlet.is_stopped() => Finish::Interrupted,
            false => return (text, None),
        };
        (text + &self.text.finish(), Some(end))
    }

    fn send(&mut self, chosen: Chosen, text: String, is_end: bool) {
        let top = chosen.top.iter().map(|top| TokenProbability {
            id: top.token,
            logprob: top.logprob,
        });
        self.outlet.send(Token {
            id: chosen.token,
            text,
            logprob: chosen.logprob,
            top: top.collect(),
            is_end,
            timing: self.times.submitted.elapsed(),
        });
    }

    fn count_time(&mut self) {
        let now = Instant::now();
        let Times {
            submitted,
            last_choice,
            timings,
            ..
        } = &mut self.times;
        match last_choice.replace(now) {
            None => timings.first_token = now - *submitted,
            Some(last) => {
                timings.decode_tokens += 1;
                timings.decode += now - last;
            }
        }
    }

    /// Ends it as planned, or by cancellation.
    pub(crate) fn finish(mut self, finish: Finish, snapshot: Option<Arc<Snapshot>>) {
        let ending = Ending {
            finish,
            read: self.read.saturating_sub(self.prompt),
            resumed: self.resumed,
            tokens: self.tokens.split_off(self.prompt),
            snapshot,
            timings: self.times.timings,
        };
        self.outlet.end(Ok(ending));
    }

    pub(crate) fn fail(mut self, error: Error) {
        self.outlet.end(Err(error));
    }

    /// Lets it begin from where another with the same prompt stands.
    pub(crate) fn follow(&mut self, snapshot: Arc<Snapshot>) {
        self.start = Some(Start {
            snapshot,
            tokens: self.prompt,
        });
    }

    /// The first of the followers that are still wanted, with the others behind it.
    pub(crate) fn take_successor(&mut self) -> Option<Sequence> {
        let mut followers = std::mem::take(&mut self.followers).into_iter();
        let mut first = followers.next()?;
        first.followers = followers.collect();
        Some(first)
    }
}
