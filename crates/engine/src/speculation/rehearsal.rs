//! Steps with guesses before the first one that counts.
//!
//! The first step of a kind may take a hundred times as long as the next: kernels are compiled, plans and memory made. Amid a text
//! that would cost more than guesses gain, and say nothing of what they cost. So before the first sequence that wants guesses
//! begins, its empty slot verifies some of a few lengths, which are all forgotten. What that takes is what the policy starts with.

use std::collections::HashSet;
use std::time::Duration;

use thalweg_rwkv::{Batch, Draft};

use crate::{Engine, Error};

/// Rows of the steps: the sizes of plans, as devices have them, up to the longest guess.
const ROWS: [usize; 6] = [2, 4, 8, 16, 32, 64];
/// Steps of each: a device notes guesses in two halves of a log in turn, each of which takes a plan, and then it is prepared.
const STEPS: usize = 3;
/// What prepared steps may take together; a step with more rows is expected to take as much longer.
const MOST_SECONDS: f64 = 0.1;

/// Kinds of choice that were rehearsed, by what a device has kernels for.
#[derive(Debug, Default)]
pub(crate) struct Rehearsals {
    done: HashSet<Kind>,
    have_failed: bool,
}

/// What there is to be found out about tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// Whether they are the best ones.
    pub(crate) is_greedy: bool,
    /// Whether their log-probabilities are wanted.
    pub(crate) has_logprobs: bool,
}

impl Rehearsals {
    /// Whether steps with guesses can be made.
    pub(crate) fn allow_guesses(&self) -> bool {
        !self.have_failed
    }
}

impl<B: Batch> Engine<B> {
    /// Prepares for the guesses of the sequence in the slot, which has read nothing yet, if it wants any; leaves the slot at the
    /// start of a sequence. If it cannot be done, for want of memory say, later sequences come without guesses.
    ///
    /// # Errors
    ///
    /// Those of the batch, after which no slot is of use.
    pub(crate) fn rehearse(&mut self, slot: usize) -> Result<(), Error> {
        let kind = self.running[slot].as_ref().and_then(|s| s.guess_kind());
        let longest = self.batch.longest_guess();
        let Some(kind) = kind.filter(|_| longest > 0 && self.rehearsals.allow_guesses()) else {
            return Ok(());
        };
        if self.rehearsals.done.insert(kind) {
            self.begin_choices(slot)?;
            self.batch.reset(slot)?;
            let tried = self.try_guesses(slot, longest);
            self.rehearsals.have_failed = tried.is_err();
            tried?;
            self.batch.reset(slot)?;
        }
        Ok(())
    }

    fn try_guesses(&mut self, slot: usize, longest: usize) -> Result<(), Error> {
        let room = self.scheduler.budget().min(1 + longest);
        let mut left = MOST_SECONDS;
        let mut row_seconds: f64 = 0.0;
        for rows in ROWS.into_iter().filter(|rows| *rows <= room) {
            if row_seconds * (rows * STEPS) as f64 > left {
                break;
            }
            let guess = vec![0; rows - 1];
            let mut least = Duration::MAX;
            for _ in 0..STEPS {
                let draft = Draft {
                    slot,
                    token: 0,
                    guess: &guess,
                };
                let start = self.now();
                self.batch.verify(&[draft])?;
                least = least.min(self.now().saturating_sub(start));
            }
            let seconds = least.as_secs_f64();
            self.policy.learn_rehearsal(rows, seconds);
            left -= seconds * STEPS as f64;
            row_seconds = seconds / rows as f64;
        }
        Ok(())
    }
}
