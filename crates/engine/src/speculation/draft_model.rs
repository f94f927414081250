//! A small model that guesses what a larger one will say.
//!
//! It has two slots for each sequence. One stands before the sequence's last token; the other is copied from it and runs ahead.
//! So a wrong guess is undone by copying.
//!
//! It chooses like the model, with the same seed. That makes it choose alike only if it has made as many choices, for random
//! numbers are counted. So what the sequence generated is not merely read but verified as a guess, in which tokens are chosen and
//! counted. Where little of it is what the draft model would have said that takes many steps; then the rest is
//! read without counting, and the draft model goes on with other random numbers than the model.

use thalweg_rwkv::{Batch, Draft, Error, Next, Part, Sampling, Wanted};

/// Tokens of a prompt that are read, the last ones: what lies further back says little about the next token, and nobody knows yet
/// whether the draft model is worth reading it.
const MOST_OF_PROMPT: usize = 512;
/// Steps of verifying before the rest is merely read.
const MOST_COUNTING_STEPS: usize = 8;

/// A batch of the small model.
pub(crate) struct DraftModel<B> {
    batch: B,
    /// For each sequence of the engine.
    standings: Vec<Standing>,
}

/// How far the draft model is with a sequence.
#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    has_begun: bool,
    /// Tokens that the standing slot is past: it has read them, but for the beginning of a long prompt.
    read: usize,
    /// Its numbers ran away: nothing more is guessed for this sequence.
    is_lost: bool,
}

/// A sequence whose next tokens are to be guessed.
pub(crate) struct Wish<'a> {
    /// The engine's slot.
    pub(crate) slot: usize,
    /// All its tokens; at least one.
    pub(crate) tokens: &'a [u32],
    /// How many of them were not chosen but given.
    pub(crate) prompt: usize,
    /// Whether choices depend on those before.
    pub(crate) is_counted: bool,
    pub(crate) sampling: &'a Sampling,
    /// Tokens to guess; at least one.
    pub(crate) count: usize,
}

impl Wish<'_> {
    /// How many tokens are to be read before the last one.
    fn before_last(&self) -> usize {
        self.tokens.len() - 1
    }

    /// How many of these belong to the prompt alone: after its last token the first choice was made.
    fn before_choices(&self) -> usize {
        self.prompt.saturating_sub(1).min(self.before_last())
    }
}

fn standing_slot(slot: usize) -> usize {
    2 * slot
}

fn running_slot(slot: usize) -> usize {
    2 * slot + 1
}

impl<B: Batch> DraftModel<B> {
    /// Slots that so many sequences take.
    pub(crate) fn slots_for(sequences: usize) -> usize {
        2 * sequences
    }

    /// On a batch with enough slots that nobody else uses.
    pub(crate) fn new(batch: B, sequences: usize) -> Self {
        Self {
            batch,
            standings: vec![Standing::default(); sequences],
        }
    }

    /// Another sequence is in the slot.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.standings[slot] = Standing::default();
    }

    /// Whether the sequence's numbers have not run away.
    pub(crate) fn can_guess(&self, slot: usize) -> bool {
        !self.standings[slot].is_lost
    }

    /// Guesses, each with the slot of its sequence. There is none for a sequence whose prompt had still to be read, of which a call
    /// reads no more than a step takes, and none where its numbers ran away.
    ///
    /// # Errors
    ///
    /// Those of the batch, after which the draft model is of no use.
    pub(crate) fn guess(&mut self, wishes: &[Wish<'_>]) -> Result<Vec<(usize, Vec<u32>)>, Error> {
        self.begin(wishes)?;
        let is_new = |wish: &&Wish<'_>| self.standings[wish.slot].read < wish.before_choices();
        let (new, known): (Vec<_>, Vec<_>) = wishes.iter().partition(is_new);
        self.read(&new, Wish::before_choices)?;
        self.read_counting(&known)?;
        self.read(&known, Wish::before_last)?;
        self.run_ahead(&known)
    }

    fn begin(&mut self, wishes: &[Wish<'_>]) -> Result<(), Error> {
        for wish in wishes {
            let standing = &mut self.standings[wish.slot];
            if std::mem::replace(&mut standing.has_begun, true) {
                continue;
            }
            standing.read = wish.before_choices().saturating_sub(MOST_OF_PROMPT);
            self.batch.reset(standing_slot(wish.slot))?;
            for slot in [standing_slot(wish.slot), running_slot(wish.slot)] {
                self.batch.set_sampling(slot, wish.sampling.clone())?;
            }
        }
        Ok(())
    }

    /// Reads on, without counting, up to the token with the number `until` of each; no more than a step takes.
    fn read<'a>(
        &mut self,
        wishes: &[&Wish<'a>],
        until: impl Fn(&Wish<'a>) -> usize,
    ) -> Result<(), Error> {
        let mut left = self.batch.largest_step();
        let mut parts = Vec::new();
        for wish in wishes {
            let read = &mut self.standings[wish.slot].read;
            let count = until(wish).saturating_sub(*read).min(left);
            if count > 0 {
                parts.push(Part {
                    slot: standing_slot(wish.slot),
                    tokens: &wish.tokens[*read..*read + count],
                    wanted: Wanted::Nothing,
                });
                *read += count;
                left -= count;
            }
        }
        match parts.is_empty() {
            true => Ok(()),
            false => self.batch.sample(&parts).map(drop),
        }
    }

    /// Verifies what was generated since the last call, a few times over.
    fn read_counting(&mut self, wishes: &[&Wish<'_>]) -> Result<(), Error> {
        let largest = self.batch.largest_step();
        let longest = self.batch.longest_guess().max(1);
        for _ in 0..MOST_COUNTING_STEPS {
            let is_behind = |wish: &&&Wish<'_>| {
                let Standing { read, is_lost, .. } = self.standings[wish.slot];
                wish.is_counted && !is_lost && read < wish.before_last()
            };
            let behind: Vec<_> = wishes.iter().filter(is_behind).take(largest).collect();
            if behind.is_empty() {
                return Ok(());
            }
            let longest = longest.min(largest / behind.len() - 1);
            let drafts = behind.iter().map(|wish| self.draft(wish, longest));
            let drafts: Vec<Draft<'_>> = drafts.collect();
            let rows = self.batch.verify(&drafts)?;
            for (wish, row) in behind.iter().zip(rows) {
                let standing = &mut self.standings[wish.slot];
                standing.is_lost = row.iter().any(Option::is_none);
                standing.read += row.len();
            }
        }
        Ok(())
    }

    /// The next tokens that were generated, as a guess at what the draft model would have.
    fn draft<'a>(&self, wish: &Wish<'a>, longest: usize) -> Draft<'a> {
        let read = self.standings[wish.slot].read;
        let unread = &wish.tokens[read..wish.before_last()];
        Draft {
            slot: standing_slot(wish.slot),
            token: unread[0],
            guess: &unread[1..unread.len().min(1 + longest)],
        }
    }

    /// Guesses for those of whom all is read but the last token.
    fn run_ahead(&mut self, wishes: &[&Wish<'_>]) -> Result<Vec<(usize, Vec<u32>)>, Error> {
        let is_ready = |wish: &&&Wish<'_>| {
            let Standing { read, is_lost, .. } = self.standings[wish.slot];
            !is_lost && read == wish.before_last()
        };
        let most = self.batch.largest_step();
        let ready: Vec<_> = wishes.iter().filter(is_ready).take(most).collect();
        for wish in &ready {
            self.batch
                .copy_state(standing_slot(wish.slot), running_slot(wish.slot))?;
        }
        let next = ready.iter().map(|wish| Next {
            slot: running_slot(wish.slot),
            token: wish.tokens[wish.before_last()],
        });
        let next: Vec<Next> = next.collect();
        let steps = ready.iter().map(|wish| wish.count).max().unwrap_or(0);
        let chosen = self.batch.decode(&next, steps)?;
        let mut guesses = Vec::with_capacity(ready.len());
        for (column, wish) in ready.into_iter().enumerate() {
            let chosen = chosen.iter().skip(column).step_by(next.len());
            let tokens = chosen.map_while(|chosen| Some(chosen.as_ref()?.token));
            let tokens: Vec<u32> = tokens.take(wish.count).collect();
            match tokens.len() < wish.count {
                true => self.standings[wish.slot].is_lost = true,
                false => guesses.push((wish.slot, tokens)),
            }
        }
        Ok(guesses)
    }
}
