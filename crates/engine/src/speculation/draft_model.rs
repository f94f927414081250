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
    /// Tokens that the standing slot has read.
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
    /// The first of them that was chosen, if choices are counted.
    pub(crate) counted_from: Option<usize>,
    pub(crate) sampling: &'a Sampling,
    /// Tokens to guess; at least one.
    pub(crate) count: usize,
}

impl Wish<'_> {
    /// How many tokens are to be read before the last one.
    fn before_last(&self) -> usize {
        self.tokens.len() - 1
    }

    /// How many of these are read without counting: the token after which the first choice was made is not among them.
    fn uncounted(&self) -> usize {
        let uncounted = self.counted_from.map(|from| from.saturating_sub(1));
        uncounted.map_or(self.before_last(), |count| count.min(self.before_last()))
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

    /// Guesses for each sequence; nothing where its tokens are not all read yet, of which a call reads no more than a step takes, and
    /// nothing where its numbers ran away.
    ///
    /// # Errors
    ///
    /// Those of the batch, after which the draft model is of no use.
    pub(crate) fn guess(&mut self, wishes: &[Wish<'_>]) -> Result<Vec<Vec<u32>>, Error> {
        self.begin(wishes)?;
        self.read(wishes, |wish, _| wish.uncounted())?;
        self.read_counting(wishes)?;
        self.read(wishes, |wish, read| match read < wish.uncounted() {
            true => read,
            false => wish.before_last(),
        })?;
        self.run_ahead(wishes)
    }

    fn begin(&mut self, wishes: &[Wish<'_>]) -> Result<(), Error> {
        for Wish { slot, sampling, .. } in wishes {
            if !std::mem::replace(&mut self.standings[*slot].has_begun, true) {
                self.batch.reset(standing_slot(*slot))?;
                for slot in [standing_slot(*slot), running_slot(*slot)] {
                    self.batch.set_sampling(slot, (*sampling).clone())?;
                }
            }
        }
        Ok(())
    }

    /// Reads on, without counting, as far as `until` says of a sequence of which so many tokens were read; no more than a step
    /// takes.
    fn read(
        &mut self,
        wishes: &[Wish<'_>],
        until: impl Fn(&Wish<'_>, usize) -> usize,
    ) -> Result<(), Error> {
        let mut left = self.batch.largest_step();
        let mut parts = Vec::new();
        for wish in wishes {
            let read = &mut self.standings[wish.slot].read;
            let count = until(wish, *read).saturating_sub(*read).min(left);
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
    fn read_counting(&mut self, wishes: &[Wish<'_>]) -> Result<(), Error> {
        let largest = self.batch.largest_step();
        let longest = self.batch.longest_guess().max(1);
        for _ in 0..MOST_COUNTING_STEPS {
            let is_behind = |wish: &&Wish<'_>| {
                let Standing { read, is_lost, .. } = self.standings[wish.slot];
                !is_lost && (wish.uncounted()..wish.before_last()).contains(&read)
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
    fn run_ahead(&mut self, wishes: &[Wish<'_>]) -> Result<Vec<Vec<u32>>, Error> {
        let is_ready = |wish: &&Wish<'_>| {
            let Standing { read, is_lost, .. } = self.standings[wish.slot];
            !is_lost && read == wish.before_last()
        };
        let most = self.batch.largest_step();
        let ready: Vec<_> = wishes.iter().filter(is_ready).take(most).collect();
        let mut guesses = vec![Vec::new(); wishes.len()];
        let steps = ready.iter().map(|wish| wish.count).max().unwrap_or(0);
        if steps == 0 {
            return Ok(guesses);
        }
        for wish in &ready {
            self.batch
                .copy_state(standing_slot(wish.slot), running_slot(wish.slot))?;
        }
        let next = |wish: &&Wish<'_>| Next {
            slot: running_slot(wish.slot),
            token: wish.tokens[wish.before_last()],
        };
        let next: Vec<Next> = ready.iter().map(next).collect();
        let chosen = self.batch.decode(&next, steps)?;
        let mut columns =
            (0..ready.len()).map(|column| chosen.iter().skip(column).step_by(ready.len()));
        for (wish, guess) in wishes.iter().zip(&mut guesses) {
            if !ready.iter().any(|ready| ready.slot == wish.slot) {
                continue;
            }
            let column = columns.next().into_iter().flatten();
            let tokens = column.map_while(|chosen| Some(chosen.as_ref()?.token));
            guess.extend(tokens.take(wish.count));
            self.standings[wish.slot].is_lost = guess.len() < wish.count;
        }
        Ok(guesses)
    }
}
