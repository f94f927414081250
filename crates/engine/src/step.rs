//! A step of the engine, from the top down.

use std::sync::Arc;

use thalweg_rwkv::{Batch, Part, Wanted};

use crate::memory::Memory;
use crate::scheduler::Share;
use crate::sequence::Sequence;
use crate::{Engine, Error, Finish, Snapshot};

impl<B: Batch> Engine<B> {
    /// Does one step: lets go of what was cancelled, fills free slots, reads a budget of tokens, chooses where all is
    /// read. Failures are told to the requests they concern. Returns whether there is more to do.
    pub fn step(&mut self) -> bool {
        let stepped = self.let_go().and_then(|()| self.fill_slots());
        match stepped.and_then(|()| self.read()) {
            Ok(()) => {}
            Err(error) => self.fail_running(error),
        }
        self.is_busy()
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

    fn fill_slots(&mut self) -> Result<(), Error> {
        while let Some(slot) = self.running.iter().position(Option::is_none) {
            let next = self.intake.lock().queue.pop();
            let Some(sequence) = next else { break };
            self.running[slot] = Some(sequence);
            self.scheduler.enter(slot);
            if let Some(logits) = self.begin(slot)? {
                self.arrive(slot, &logits)?;
            }
        }
        Ok(())
    }

    /// Brings a slot to where its sequence begins, or to the nearest known state after that. Returns
    /// the logits there if nothing is left to be read.
    fn begin(&mut self, slot: usize) -> Result<Option<Vec<f32>>, Error> {
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
        Ok(logits.filter(|_| sequence.is_last(0)))
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
        match self.forward(&shares) {
            Ok(logits) => self.hand_out(&shares, &logits, &[]),
            Err(thalweg_rwkv::Error::Runaway { slots, logits }) => {
                self.hand_out(&shares, &logits.0, &slots)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn forward(&mut self, shares: &[Share]) -> Result<Vec<f32>, thalweg_rwkv::Error> {
        let part = |share: &Share| {
            let sequence = self.running[share.slot].as_ref()?;
            Some(Part {
                slot: share.slot,
                tokens: sequence.next(share.tokens),
                wanted: match sequence.is_last(share.tokens) {
                    true => Wanted::Last,
                    false => Wanted::Nothing,
                },
            })
        };
        let parts: Vec<Part<'_>> = shares.iter().filter_map(part).collect();
        self.batch.forward(&parts)
    }

    /// Gives every sequence what its part of the step brought. Those in the slots `lost` ran away and fail, alone.
    fn hand_out(&mut self, shares: &[Share], logits: &[f32], lost: &[usize]) -> Result<(), Error> {
        let mut rows = logits.chunks_exact(self.intake.hp.vocab);
        for share in shares {
            let Some(sequence) = &mut self.running[share.slot] else {
                continue;
            };
            let row = match sequence.is_last(share.tokens) {
                true => Some(rows.next().ok_or(Error::NoLogits)?),
                false => None,
            };
            if lost.contains(&share.slot) {
                let read = sequence.read().len();
                self.fail(share.slot, Error::Runaway { read })?;
                continue;
            }
            sequence.advance(share.tokens);
            if sequence.is_worth_keeping(self.memory.as_ref().and_then(Memory::stride)) {
                self.remember(share.slot, row)?;
            }
            if let Some(row) = row {
                self.arrive(share.slot, row)?;
            }
        }
        Ok(())
    }

    /// Keeps the state of a slot for sequences that begin like its.
    fn remember(&mut self, slot: usize, logits: Option<&[f32]>) -> Result<(), Error> {
        match (&self.running[slot], &mut self.memory) {
            (Some(sequence), Some(memory)) if sequence.is_cached() => {
                Ok(memory.remember(&mut self.batch, slot, sequence.read(), logits)?)
            }
            _ => Ok(()),
        }
    }

    /// All tokens of a sequence are read, and these are the logits after them: it goes on or ends.
    fn arrive(&mut self, slot: usize, logits: &[f32]) -> Result<(), Error> {
        self.let_followers_go(slot, logits)?;
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(());
        };
        match sequence.choose(logits, &self.intake.tokenizer) {
            Ok(None) => Ok(()),
            Ok(Some(finish)) => self.finish(slot, finish, logits),
            Err(error) => self.fail(slot, error),
        }
    }

    /// At the end of a prompt those that wait for it queue up to begin there.
    fn let_followers_go(&mut self, slot: usize, logits: &[f32]) -> Result<(), Error> {
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(());
        };
        if sequence.followers.is_empty() {
            return Ok(());
        }
        let followers = std::mem::take(&mut sequence.followers);
        let snapshot = self.snapshot(slot, logits)?;
        let mut line = self.intake.lock();
        for mut follower in followers.into_iter().rev() {
            follower.follow(Arc::clone(&snapshot));
            line.queue.push_front(follower);
        }
        Ok(())
    }

    fn snapshot(&mut self, slot: usize, logits: &[f32]) -> Result<Arc<Snapshot>, Error> {
        Ok(Arc::new(Snapshot {
            state: self.batch.state(slot)?,
            logits: Some(logits.to_vec()),
        }))
    }

    fn finish(&mut self, slot: usize, finish: Finish, logits: &[f32]) -> Result<(), Error> {
        self.remember(slot, Some(logits))?;
        let keeps = self.running[slot]
            .as_ref()
            .is_some_and(Sequence::keeps_snapshot);
        let snapshot = match keeps {
            true => Some(self.snapshot(slot, logits)?),
            false => None,
        };
        if let Some(sequence) = self.vacate(slot)? {
            sequence.finish(finish, snapshot);
        }
        Ok(())
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
