//! A step of the engine, from the top down.

use std::sync::Arc;

use thalweg_rwkv::{Batch, Chosen, Part, Wanted};

use crate::memory::Memory;
use crate::scheduler::Share;
use crate::sequence::Sequence;
use crate::{Engine, Error, Finish, Snapshot};

impl<B: Batch> Engine<B> {
    /// Does one step: lets go of what was cancelled, fills free slots, reads a budget of tokens, chooses where all is
    /// read. Failures are told to the requests they concern. Returns whether there is more to do.
    pub fn step(&mut self) -> bool {
        if let Err(error) = self.try_step() {
            self.fail_running(error);
        }
        self.is_busy()
    }

    fn try_step(&mut self) -> Result<(), Error> {
        self.keep_due()?;
        self.let_go()?;
        let was_idle = self.running.iter().all(Option::is_none);
        let has_chosen = self.fill_slots()?;
        match was_idle && has_chosen {
            true => Ok(()), // the first token of a known prompt does not wait for those after it
            false => self.read(),
        }
    }

    /// Ends what was cancelled, in slots and in the queue.
    fn let_go(&mut self) -> Result<(), Error> {
        let mut cancelled = self.intake.lock().queue.take_out(Sequence::is_cancelled);
        for slot in 0..self.running.len() {
            if self.running[slot]
                .as_ref()
                .is_some_and(Sequence::is_cancelled)
            {
                cancelled.extend(self.vacate(slot)?);
            }
        }
        for mut sequence in cancelled {
            self.pass_on(&mut sequence);
            sequence.finish(Finish::Interrupted, None);
        }
        Ok(())
    }

    /// Continuations of a prompt whose first reader ended early are not lost: the next of them reads it.
    fn pass_on(&self, ended: &mut Sequence) {
        if let Some(successor) = ended.take_successor() {
            self.intake.lock().queue.push_front(successor);
        }
    }

    /// Takes a sequence out of its slot, which is zeroed for the next.
    fn vacate(&mut self, slot: usize) -> Result<Option<Sequence>, Error> {
        let sequence = self.running[slot].take();
        self.batch.reset(slot)?;
        Ok(sequence)
    }

    /// Lets in who waits. Says whether a token was chosen at once, after a prompt that was known.
    fn fill_slots(&mut self) -> Result<bool, Error> {
        let mut has_chosen = false;
        while let Some(slot) = self.running.iter().position(Option::is_none) {
            let next = self.intake.lock().queue.pop();
            let Some(sequence) = next else { break };
            self.running[slot] = Some(sequence);
            self.scheduler.enter(slot);
            if let Some(logits) = self.begin(slot)? {
                has_chosen = true;
                match self.batch.choose(slot, &logits)? {
                    Some(chosen) => self.arrive(slot, chosen)?,
                    None => self.fail_runaway(slot, 0)?,
                }
            }
        }
        Ok(has_chosen)
    }

    /// Brings a slot to where its sequence begins, or to the nearest known state after that. Returns
    /// the logits there if nothing is left to be read.
    fn begin(&mut self, slot: usize) -> Result<Option<Vec<f32>>, Error> {
        self.rehearse(slot)?;
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(None);
        };
        let (known, logits) = match (sequence.start().cloned(), &mut self.memory) {
            (Some(start), _) => {
                self.batch.set_state(slot, &start.snapshot.state)?;
                (start.tokens, start.snapshot.logits.clone())
            }
            (None, Some(memory)) if sequence.is_cached() => {
                memory.resume(&mut self.batch, slot, sequence.tokens())?
            }
            (None, _) => {
                self.batch.reset(slot)?;
                (0, None)
            }
        };
        sequence.begin_at(known);
        if let Some(draft) = &mut self.draft {
            draft.forget(slot);
        }
        let logits = logits.filter(|_| sequence.is_last(0));
        self.begin_choices(slot)?;
        Ok(logits)
    }

    /// Reads the next tokens of all that are in slots.
    fn read(&mut self) -> Result<(), Error> {
        let stride = self.memory.as_ref().and_then(Memory::stride);
        let ready = |sequence: &Option<Sequence>| sequence.as_ref().map_or(0, |s| s.ready(stride));
        let ready: Vec<usize> = self.running.iter().map(ready).collect();
        let shares = self.scheduler.plan(&ready);
        if shares.is_empty() {
            return Ok(());
        }
        if let Some(next) = self.all_go_on(&shares) {
            return match self.guess_ahead(&next)? {
                true => Ok(()),
                false => self.decode(&next),
            };
        }
        let chosen = self.sample(&shares)?;
        self.hand_out(&shares, chosen)
    }

    /// Reads the shares, and chooses a token where all is read. So it does where a state is to be kept, to see whether its
    /// numbers are finite.
    fn sample(&mut self, shares: &[Share]) -> Result<Vec<Option<Chosen>>, Error> {
        let stride = self.memory.as_ref().and_then(Memory::stride);
        let part = |share: &Share| {
            let sequence = self.running[share.slot].as_ref()?;
            Some(Part {
                slot: share.slot,
                tokens: sequence.next(share.tokens),
                wanted: match sequence.is_checked(share.tokens, stride) {
                    true => Wanted::Last,
                    false => Wanted::Nothing,
                },
            })
        };
        let parts: Vec<Part<'_>> = shares.iter().filter_map(part).collect();
        Ok(self.batch.sample(&parts)?)
    }

    /// Gives every sequence what its part of the step brought. Those without a token ran away and fail, alone.
    fn hand_out(&mut self, shares: &[Share], chosen: Vec<Option<Chosen>>) -> Result<(), Error> {
        let stride = self.memory.as_ref().and_then(Memory::stride);
        let mut chosen = chosen.into_iter();
        for &Share { slot, tokens } in shares {
            let Some(sequence) = &mut self.running[slot] else {
                continue;
            };
            if !sequence.is_checked(tokens, stride) {
                sequence.advance(tokens);
                continue;
            }
            let (is_last, read) = (sequence.is_last(tokens), sequence.read().len());
            let Some(chosen) = chosen.next().flatten() else {
                self.fail_runaway(slot, read)?;
                continue;
            };
            sequence.advance(tokens);
            let is_kept = sequence.is_worth_keeping(stride);
            if is_last {
                sequence.keep_later(is_kept);
                self.arrive(slot, chosen)?;
                continue;
            }
            if is_kept {
                self.remember(slot)?;
            }
            self.begin_choices(slot)?; // that token was none of the sequence's
        }
        Ok(())
    }

    /// Has the tokens of a slot be chosen as its sequence wants it, from the first on.
    pub(crate) fn begin_choices(&mut self, slot: usize) -> Result<(), Error> {
        let sequence = self.running[slot].as_ref();
        let sampling = sequence.map(|sequence| sequence.sampling().clone());
        Ok(sampling.map_or(Ok(()), |sampling| self.batch.set_sampling(slot, sampling))?)
    }

    /// Keeps the states at the ends of prompts that the step before has read. Their first tokens did not wait for it: it may take as
    /// long as some more, as other states may have to leave the device.
    pub(crate) fn keep_due(&mut self) -> Result<(), Error> {
        for slot in 0..self.running.len() {
            let is_due = self.running[slot].as_mut().map(Sequence::take_due);
            if is_due == Some(true) {
                self.remember(slot)?;
            }
        }
        Ok(())
    }

    /// Keeps the state of a slot, in which a token was just chosen, for sequences that begin like its.
    fn remember(&mut self, slot: usize) -> Result<(), Error> {
        match (&self.running[slot], &mut self.memory) {
            (Some(sequence), Some(memory)) if sequence.is_cached() => {
                Ok(memory.remember(&mut self.batch, slot, sequence.read())?)
            }
            _ => Ok(()),
        }
    }

    /// All tokens of a sequence are read, and this was chosen after them: it goes on or ends.
    fn arrive(&mut self, slot: usize, chosen: Chosen) -> Result<(), Error> {
        self.let_followers_go(slot)?;
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(());
        };
        match sequence.take(chosen, &self.intake.tokenizer) {
            None => Ok(()),
            Some(finish) => self.finish(slot, finish),
        }
    }

    /// At the end of a prompt those that wait for it queue up to begin there.
    fn let_followers_go(&mut self, slot: usize) -> Result<(), Error> {
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(());
        };
        if sequence.followers.is_empty() {
            return Ok(());
        }
        let followers = std::mem::take(&mut sequence.followers);
        let snapshot = self.snapshot(slot)?;
        let mut line = self.intake.lock();
        for mut follower in followers.into_iter().rev() {
            follower.follow(Arc::clone(&snapshot));
            line.queue.push_front(follower);
        }
        Ok(())
    }

    /// Where a slot's sequence stands, just after a token was chosen.
    fn snapshot(&mut self, slot: usize) -> Result<Arc<Snapshot>, Error> {
        Ok(Arc::new(Snapshot {
            state: self.batch.state(slot)?,
            logits: Some(self.batch.logits(slot)?),
        }))
    }

    /// Whether somebody wants the state in which the slot's sequence ends.
    pub(crate) fn wants_end(&self, slot: usize) -> bool {
        self.running[slot].as_ref().is_some_and(|sequence| {
            sequence.keeps_snapshot() || (sequence.is_cached() && self.memory.is_some())
        })
    }

    /// Ends a sequence whose slot stands where its last token was chosen.
    pub(crate) fn finish(&mut self, slot: usize, finish: Finish) -> Result<(), Error> {
        self.remember(slot)?;
        let keeps = self.running[slot]
            .as_ref()
            .is_some_and(Sequence::keeps_snapshot);
        let snapshot = match keeps {
            true => Some(self.snapshot(slot)?),
            false => None,
        };
        self.leave(slot, finish, snapshot)
    }

    /// Ends a sequence whatever its slot's state.
    pub(crate) fn leave(
        &mut self,
        slot: usize,
        finish: Finish,
        snapshot: Option<Arc<Snapshot>>,
    ) -> Result<(), Error> {
        if let Some(sequence) = self.vacate(slot)? {
            sequence.finish(finish, snapshot);
        }
        Ok(())
    }

    /// Ends a sequence whose numbers ran away in the tokens after the first `read`.
    pub(crate) fn fail_runaway(&mut self, slot: usize, read: usize) -> Result<(), Error> {
        let place = self.batch.runaway_place(slot)?;
        self.fail(slot, Error::Runaway { read, place })
    }

    /// Ends one sequence with an error of its own.
    fn fail(&mut self, slot: usize, error: Error) -> Result<(), Error> {
        if let Some(mut sequence) = self.vacate(slot)? {
            self.pass_on(&mut sequence);
            sequence.fail(error);
        }
        Ok(())
    }

    /// The batch has failed, and with it everything in slots. What waits goes on if the slots can be used again.
    fn fail_running(&mut self, error: Error) {
        let reason = error.to_string();
        let shared = match error {
            Error::Model(error) => Some(Arc::new(error)),
            _ => None,
        };
        for slot in 0..self.running.len() {
            if let Some(mut sequence) = self.running[slot].take() {
                self.pass_on(&mut sequence);
                sequence.fail(match &shared {
                    Some(error) => Error::Step(Arc::clone(error)),
                    None => Error::stopped(&reason),
                });
            }
        }
        if let Some(memory) = &mut self.memory {
            memory.forget_slots();
        }
        for slot in 0..self.batch.slots() {
            if let Err(error) = self.batch.reset(slot) {
                return self.intake.close(&format!("{reason}, and then {error}"));
            }
        }
    }
}
