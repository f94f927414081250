//! A step in which guesses are verified.

use std::time::Duration;

use thalweg_rwkv::{Batch, Chosen, Draft, Next};

use super::policy::{Drafted, Prospect, Verified};
use super::{Offer, Wish};
use crate::{Engine, Error};

/// What is guessed of each sequence; nothing of some.
struct Guesses {
    tokens: Vec<Vec<u32>>,
    /// Seconds that a draft model took for them, as far as they count.
    drafting: f64,
}

impl<B: Batch> Engine<B> {
    /// Goes on with all sequences by verifying guesses, if there are any that pay. Returns whether it did.
    pub(crate) fn guess_ahead(&mut self, next: &[Next]) -> Result<bool, Error> {
        match self.guesses(next) {
            Some(guesses) => self.verify(next, &guesses).map(|()| true),
            None => Ok(false),
        }
    }

    fn guesses(&mut self, next: &[Next]) -> Option<Guesses> {
        let offers = self.offers(next);
        let prospect = |offer: &Option<Offer>| offer.as_ref().map(|offer| offer.prospect);
        let prospects: Vec<Option<Prospect>> = offers.iter().map(prospect).collect();
        let room = self.scheduler.budget().saturating_sub(next.len());
        let counts = self.policy.plan(&prospects, room);
        let mut guesses = Guesses {
            tokens: vec![Vec::new(); next.len()],
            drafting: 0.0,
        };
        let mut wanting = Vec::new();
        for (index, offer) in offers.into_iter().enumerate() {
            match offer.map(|offer| offer.tokens) {
                Some(Some(found)) => guesses.tokens[index].extend(&found[..counts[index]]),
                Some(None) if counts[index] > 0 => wanting.push(index),
                _ => {}
            }
        }
        if !wanting.is_empty() {
            self.draft_guesses(next, &wanting, &counts, &mut guesses);
        }
        let is_any = guesses.tokens.iter().any(|tokens| !tokens.is_empty());
        is_any.then_some(guesses)
    }

    /// What could be guessed of each sequence.
    fn offers(&mut self, next: &[Next]) -> Vec<Option<Offer>> {
        let longest = match self.rehearsals.allow_guesses() {
            true => self.batch.longest_guess(),
            false => 0,
        };
        let mut offer = |next: &Next| {
            let can_draft = self
                .draft
                .as_ref()
                .is_some_and(|draft| draft.can_guess(next.slot));
            let sequence = self.running[next.slot].as_mut()?;
            sequence.offer(longest, can_draft, &self.intake.tokenizer)
        };
        next.iter().map(&mut offer).collect()
    }

    /// Adds the draft model's guesses of so many tokens of those who want them from it. If it fails, there is none any more.
    fn draft_guesses(
        &mut self,
        next: &[Next],
        wanting: &[usize],
        counts: &[usize],
        guesses: &mut Guesses,
    ) {
        let Some(draft) = &mut self.draft else { return };
        let wish = |index: &usize| -> Option<Wish<'_>> {
            let slot = next[*index].slot;
            self.running[slot].as_ref()?.wish(slot, counts[*index])
        };
        let wishes: Vec<Wish<'_>> = wanting.iter().filter_map(wish).collect();
        let start = (self.clock)();
        let drafted = draft.guess(&wishes);
        let took = (self.clock)().saturating_sub(start);
        let work = Drafted {
            among: next.len(),
            sequences: wishes.len(),
            tokens: wishes.iter().map(|wish| wish.count).max().unwrap_or(0),
        };
        for next in next {
            if let Some(sequence) = &mut self.running[next.slot] {
                sequence.count_drafting(took);
            }
        }
        let Ok(drafted) = drafted else {
            self.draft = None;
            return;
        };
        // A prompt is read once, and that is no measure of guessing.
        let is_measure = drafted.len() == work.sequences;
        let measured = is_measure.then_some(took.as_secs_f64());
        guesses.drafting = self.policy.learn_draft(work, measured);
        for (slot, tokens) in drafted {
            let index = next.iter().position(|next| next.slot == slot);
            if let (Some(index), Some(sequence)) = (index, &mut self.running[slot]) {
                guesses.tokens[index] = sequence.drafted(tokens, &self.intake.tokenizer);
            }
        }
    }

    /// Verifies the guesses, and gives every sequence what that brought.
    fn verify(&mut self, next: &[Next], guesses: &Guesses) -> Result<(), Error> {
        let pairs = next.iter().zip(&guesses.tokens);
        let drafts = pairs.map(|(next, guess)| Draft {
            slot: next.slot,
            token: next.token,
            guess,
        });
        let drafts: Vec<Draft<'_>> = drafts.collect();
        let start = self.now();
        let rows = self.batch.verify(&drafts)?;
        let took = self.now().saturating_sub(start);
        let is_chosen = |chosen: &&Option<Chosen>| chosen.is_some();
        let without = self.policy.learn_verify(Verified {
            sequences: next.len(),
            rows: next.len() + guesses.tokens.iter().map(Vec::len).sum::<usize>(),
            tokens: rows.iter().flatten().filter(is_chosen).count(),
            seconds: took.as_secs_f64(),
            drafting: guesses.drafting,
        });
        let without = Duration::from_secs_f64(without.unwrap_or(0.0));
        for ((next, guess), row) in next.iter().zip(&guesses.tokens).zip(rows) {
            if let Some(sequence) = &mut self.running[next.slot] {
                sequence.count_guess(guess, &row, took, without);
            }
            // No guess reaches beyond an end, so nobody has to go back.
            self.follow(next.slot, None, row)?;
        }
        Ok(())
    }
}
