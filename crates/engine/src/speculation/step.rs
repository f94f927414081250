//! A step in which guesses are verified.

use std::time::{Duration, Instant};

use thalweg_rwkv::{Batch, Chosen, Draft, Next};

use super::policy::{Prospect, Verified};
use super::{Offer, Wish};
use crate::{Engine, Error};

/// What is guessed of each sequence; nothing of some.
struct Guesses {
    tokens: Vec<Vec<u32>>,
    /// What a draft model took for them.
    drafting: Duration,
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
        let start = Instant::now();
        let mut tokens = self.draft_guesses(next, &prospects, &counts);
        let drafting = start.elapsed();
        for ((tokens, offer), count) in tokens.iter_mut().zip(offers).zip(&counts) {
            if let Some(found) = offer.and_then(|offer| offer.tokens) {
                tokens.extend(found.into_iter().take(*count));
            }
        }
        let is_any = tokens.iter().any(|tokens| !tokens.is_empty());
        is_any.then_some(Guesses { tokens, drafting })
    }

    /// What could be guessed of each sequence.
    fn offers(&mut self, next: &[Next]) -> Vec<Option<Offer>> {
        let longest = self.batch.longest_guess();
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

    /// The draft model's guesses of so many tokens for those who want them from it. If it fails, there is none any more.
    fn draft_guesses(
        &mut self,
        next: &[Next],
        prospects: &[Option<Prospect>],
        counts: &[usize],
    ) -> Vec<Vec<u32>> {
        let mut guesses = vec![Vec::new(); next.len()];
        let is_drafted = |index: &usize| {
            counts[*index] > 0 && prospects[*index].is_some_and(|prospect| prospect.is_drafted)
        };
        let wanting: Vec<usize> = (0..next.len()).filter(is_drafted).collect();
        let Some(draft) = self.draft.as_mut().filter(|_| !wanting.is_empty()) else {
            return guesses;
        };
        let wish = |index: &usize| -> Option<Wish<'_>> {
            let slot = next[*index].slot;
            self.running[slot].as_ref()?.wish(slot, counts[*index])
        };
        let wishes: Vec<Wish<'_>> = wanting.iter().filter_map(wish).collect();
        let start = Instant::now();
        let drafted = draft.guess(&wishes);
        let seconds = start.elapsed().as_secs_f64();
        let Ok(drafted) = drafted else {
            self.draft = None;
            return guesses;
        };
        // Reading a prompt is no measure of guessing.
        if drafted.iter().all(|tokens| !tokens.is_empty()) {
            let longest = drafted.iter().map(Vec::len).max().unwrap_or(0);
            self.policy.learn_draft(drafted.len(), longest, seconds);
        }
        for (index, tokens) in wanting.into_iter().zip(drafted) {
            if let Some(sequence) = &mut self.running[next[index].slot] {
                guesses[index] = sequence.drafted(tokens, &self.intake.tokenizer);
            }
        }
        guesses
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
        let start = Instant::now();
        let rows = self.batch.verify(&drafts)?;
        let took = start.elapsed();
        let is_chosen = |chosen: &&Option<Chosen>| chosen.is_some();
        self.policy.learn_verify(Verified {
            sequences: next.len(),
            rows: next.len() + guesses.tokens.iter().map(Vec::len).sum::<usize>(),
            tokens: rows.iter().flatten().filter(is_chosen).count(),
            seconds: took.as_secs_f64(),
            drafting: guesses.drafting.as_secs_f64(),
        });
        for ((next, guess), row) in next.iter().zip(&guesses.tokens).zip(rows) {
            if let Some(sequence) = &mut self.running[next.slot] {
                sequence.count_guess(guess, &row, guesses.drafting + took);
            }
            // No guess reaches beyond an end, so nobody has to go back.
            self.follow(next.slot, None, row)?;
        }
        Ok(())
    }
}
