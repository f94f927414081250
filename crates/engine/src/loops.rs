//! Many steps in one: where nothing is left but to go on, the device makes them by itself.
//!
//! Ends are looked for behind. What was computed beyond them is thrown away with the slot; only where somebody wants the state
//! at the end, the slot goes back to where it was before the loop and reads again what was accepted.

use thalweg_rwkv::{Batch, Chosen, Next, Part, Wanted};

use crate::scheduler::Share;
use crate::sequence::Sequence;
use crate::{Engine, Error, Finish};

/// A sequence that has come to its end within a loop, and whose state there is wanted.
pub(crate) struct Overrun {
    slot: usize,
    finish: Finish,
    /// The slot that holds its state from before the loop.
    mark: usize,
    /// Tokens that it had read then.
    read: usize,
}

impl<B: Batch> Engine<B> {
    /// What the sequences read next if nothing is left but to go on: all that are in slots have their share of the step, and all of
    /// them are generating.
    pub(crate) fn all_go_on(&self, shares: &[Share]) -> Option<Vec<Next>> {
        if shares.len() < self.running.iter().flatten().count() {
            return None;
        }
        let goes_on = |share: &Share| self.running[share.slot].as_ref()?.goes_on(share.slot);
        shares.iter().map(goes_on).collect()
    }

    /// The steps that are worth being made together: as many as the pace says, and none that is too much for all. There must be
    /// room to mark the states of those that may have to go back.
    fn steps_together(&self, next: &[Next]) -> usize {
        let marked = next.iter().filter(|next| self.wants_end(next.slot));
        if marked.count() > self.marks.len() {
            return 1;
        }
        let running = self.running.iter().flatten();
        let left = running.map(Sequence::left).max().unwrap_or(1);
        let wanted = self.batch.longest_loop().min(self.pace.steps()).min(left);
        wanted.max(1)
    }

    /// Makes a loop of steps, and gives every sequence what it brought.
    pub(crate) fn decode(&mut self, next: &[Next]) -> Result<(), Error> {
        let wanted = self.steps_together(next);
        let steps = wanted.min(self.policy.longest_loop());
        let marks = self.mark(next, steps)?;
        let start = self.now();
        let chosen = self.batch.decode(next, steps)?;
        let took = self.now().saturating_sub(start);
        self.pace.learn(steps, took);
        let (seconds, is_short) = (took.as_secs_f64(), steps < wanted);
        self.policy
            .learn_plain(next.len(), steps, seconds, is_short);
        let mut columns = vec![Vec::with_capacity(steps); next.len()];
        for row in chosen.chunks(next.len()) {
            for (column, chosen) in columns.iter_mut().zip(row) {
                column.push(chosen.clone());
            }
        }
        let mut overruns = Vec::new();
        for ((next, mark), column) in next.iter().zip(marks).zip(columns) {
            overruns.extend(self.follow(next.slot, mark, column)?);
        }
        // Only now, as it takes the place of what the loop left to the others.
        overruns
            .into_iter()
            .try_for_each(|overrun| self.go_back(overrun))
    }

    /// Copies the states of those that may have to go back: into which slot, for each sequence.
    fn mark(&mut self, next: &[Next], steps: usize) -> Result<Vec<Option<usize>>, Error> {
        let mut free = self.marks.clone();
        let mut mark = |next: &Next| {
            let is_marked = steps > 1 && self.wants_end(next.slot);
            let mark = if is_marked { free.next() } else { None };
            if let Some(mark) = mark {
                self.batch.copy_state(next.slot, mark)?;
            }
            Ok(mark)
        };
        next.iter().map(&mut mark).collect()
    }

    /// Hands a sequence what a loop chose for it, up to its end. If the end is not that of the loop, and the state there was
    /// marked, there is something left to do.
    pub(crate) fn follow(
        &mut self,
        slot: usize,
        mark: Option<usize>,
        column: Vec<Option<Chosen>>,
    ) -> Result<Option<Overrun>, Error> {
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(None);
        };
        let (read, last) = (sequence.read().len(), column.len() - 1);
        for (step, chosen) in column.into_iter().enumerate() {
            if sequence.is_cancelled() {
                return Ok(None); // the next step lets go of it
            }
            let Some(chosen) = chosen else {
                let read = sequence.read().len();
                self.fail_runaway(slot, read)?;
                return Ok(None);
            };
            sequence.advance(1);
            let Some(finish) = sequence.take(chosen, &self.intake.tokenizer) else {
                continue;
            };
            return match mark {
                Some(mark) if step < last => Ok(Some(Overrun {
                    slot,
                    finish,
                    mark,
                    read,
                })),
                _ if step < last => self.leave(slot, finish, None).map(|()| None),
                _ => self.finish(slot, finish).map(|()| None),
            };
        }
        Ok(None)
    }

    /// Brings a slot to the state in which its sequence has ended, and ends it.
    fn go_back(&mut self, overrun: Overrun) -> Result<(), Error> {
        let Overrun {
            slot,
            finish,
            mark,
            read,
        } = overrun;
        let Some(sequence) = &self.running[slot] else {
            return Ok(());
        };
        self.batch.copy_state(mark, slot)?;
        let accepted = &sequence.read()[read..];
        let chunks = accepted.chunks(self.batch.largest_step());
        let last = chunks.len() - 1;
        let mut chosen = Vec::new();
        for (index, tokens) in chunks.enumerate() {
            // A token is chosen for the sake of the logits alone.
            let wanted = match index == last {
                true => Wanted::Last,
                false => Wanted::Nothing,
            };
            chosen = self.batch.sample(&[Part {
                slot,
                tokens,
                wanted,
            }])?;
        }
        match chosen.pop().flatten() {
            Some(_) => self.finish(slot, finish),
            None => self.fail_runaway(slot, read),
        }
    }
}
