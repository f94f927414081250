//! Guessed tokens: many rows of a sequence in one run, then as many tokens chosen as single steps would choose the same.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::activations::Activations;
use super::arrangement::Arrangement;
use super::batch::{GpuBatch, LogitsAt};
use super::layer::Reading;
use super::log::{Due, StateLog};
use super::model::GpuModel;
use super::plans::{Guessing, Step};
use super::recorder::Recorder;
use crate::batch::check_drafts;
use crate::{Batch, Chosen, Draft, Error, Next};

/// The most guessed tokens that a run reads of a sequence: with the token before them as many rows as a plan has. On large devices
/// so many take hardly longer than a few; how many are worth it is the engine's to find out.
const LONGEST_GUESS: usize = 31;
/// The most rows of a run, for they all have logits, and rows in the log.
const MOST_ROWS: usize = 64;
/// Rows that the log has room for at the least.
const LEAST_ROWS: usize = 1 + LONGEST_GUESS;

impl GpuBatch {
    /// The most guessed tokens of a sequence that are read in one run.
    pub(super) fn longest_guess_of_run(&self) -> usize {
        LONGEST_GUESS.min(self.most_guessed_rows() - 1)
    }

    fn most_guessed_rows(&self) -> usize {
        let GpuModel { context, hp, .. } = &*self.model;
        let Activations {
            capacity,
            head_capacity,
            ..
        } = self.buffers;
        let in_log = StateLog::most_rows(hp, context.limits()).max(1);
        MOST_ROWS.min(capacity).min(head_capacity).min(in_log)
    }

    /// Verifies the drafts, which have been checked, in as few runs as there is room for.
    pub(super) fn verify_in_runs(
        &mut self,
        drafts: &[Draft<'_>],
    ) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        let mut all = vec![Vec::new(); drafts.len()];
        let mut left: VecDeque<(usize, Draft<'_>)> = drafts.iter().copied().enumerate().collect();
        let mut kept = HashMap::new();
        while !left.is_empty() {
            let of_run = self.next_run(&mut left);
            let longest = self.longest_guess_of_run();
            let read = of_run.iter().map(|(_, draft)| draft.within(longest));
            let chosen = self.verify_run(&read.collect::<Vec<_>>())?;
            for ((index, draft), chosen) in of_run.into_iter().zip(chosen) {
                let behind = draft.behind(&chosen);
                left.extend(behind.map(|draft| (index, draft)));
                all[index].extend(chosen);
            }
            if !left.is_empty() {
                self.keep_logits(&mut kept)?;
            }
        }
        for (slot, logits) in kept {
            self.chosen.entry(slot).or_insert(logits);
        }
        Ok(all)
    }

    /// Takes the drafts of a run: those that it has rows for, or all that are left if none guesses anything.
    fn next_run<'d>(&self, left: &mut VecDeque<(usize, Draft<'d>)>) -> Vec<(usize, Draft<'d>)> {
        let (most, longest) = (self.most_guessed_rows(), self.longest_guess_of_run());
        let mut rows = 0;
        let fits = |(_, draft): &&(usize, Draft<'d>)| {
            rows += 1 + draft.guess.len().min(longest);
            rows <= most
        };
        let count = match left.iter().all(|(_, draft)| draft.guess.is_empty()) {
            true => left.len(),
            false => left.iter().take_while(fits).count(),
        };
        left.drain(..count).collect()
    }

    /// Brings the logits to the host from which the last run's tokens were chosen: the next run makes others there.
    fn keep_logits(&mut self, kept: &mut HashMap<usize, LogitsAt>) -> Result<(), Error> {
        let slots: Vec<usize> = self.chosen.keys().copied().collect();
        for slot in slots {
            kept.insert(slot, LogitsAt::Host(self.logits(slot)?));
        }
        Ok(())
    }

    /// Verifies drafts that there is room for in a run.
    fn verify_run(&mut self, drafts: &[Draft<'_>]) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        if drafts.iter().all(|draft| draft.guess.is_empty()) {
            return self.choose_after(drafts);
        }
        let chosen = self.choose_in_all_rows(drafts)?;
        self.accept(drafts, chosen)
    }

    /// Verifies guesses of which so many tokens are taken for right, whatever the model would choose: for measuring what that takes.
    /// The drafts must fit a run.
    ///
    /// # Errors
    /// Those of [`verify`](Batch::verify); [`Error::StepTooLarge`] if the drafts do not fit a run, [`Error::Setting`] if there are
    /// not as many numbers as drafts.
    pub fn verify_as_if(
        &mut self,
        drafts: &[Draft<'_>],
        right: &[usize],
    ) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        check_drafts(self, drafts)?;
        let tokens = drafts.iter().map(|draft| 1 + draft.guess.len()).sum();
        let largest = self.most_guessed_rows();
        if tokens > largest {
            return Err(Error::StepTooLarge { tokens, largest });
        }
        if drafts.len() != right.len() {
            return Err(Error::Setting {
                name: "number of guesses taken for right",
                found: right.len(),
                expected: drafts.len().to_string(),
            });
        }
        if drafts.iter().all(|draft| draft.guess.is_empty()) {
            return self.choose_after(drafts);
        }
        let mut rows = self.choose_in_all_rows(drafts)?;
        for ((draft, right), rows) in drafts.iter().zip(right).zip(&mut rows) {
            for (index, (chosen, guessed)) in rows.iter_mut().zip(draft.guess).enumerate() {
                let token = if index < *right { *guessed } else { !guessed };
                *chosen = chosen.take().map(|chosen| Chosen { token, ..chosen });
            }
        }
        self.accept(drafts, rows)
    }

    /// Reads drafts, and chooses a token after every row of each.
    fn choose_in_all_rows(
        &mut self,
        drafts: &[Draft<'_>],
    ) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        let slots = drafts
            .iter()
            .flat_map(|draft| std::iter::repeat_n(draft.slot, 1 + draft.guess.len()));
        let slots: Vec<usize> = slots.collect();
        let half = self.make_room_for_guesses(slots.len())?;
        let due = |slot| self.log.as_ref().and_then(|log| log.due(slot));
        let (rows, replays) = Arrangement::of_drafts(drafts, due);
        let finding = self.write_choice(&slots)?;
        let guessing = self.guessing(half, replays.len());
        if let Some(log) = &self.log {
            log.write(&self.model.context, replays, guessing.sequences)?;
        }
        let shape = self.shape(slots.len());
        let head = self.head_shape(slots.len());
        let step = Step::Verify {
            shape,
            guessing,
            head,
            finding,
        };
        self.write_inputs(&rows, step)?;
        self.run(step)?;
        let planned = (self.rows_of_guesses(head), finding);
        let model = Arc::clone(&self.model);
        let sampler = self.sampler()?;
        let mut chosen = sampler
            .chosen(&model.context, &slots, planned, 1)?
            .into_iter();
        let rows_of = |draft: &Draft<'_>| chosen.by_ref().take(1 + draft.guess.len()).collect();
        Ok(drafts.iter().map(rows_of).collect())
    }

    /// Keeps, of what was chosen after every row, what single steps would have chosen.
    fn accept(
        &mut self,
        drafts: &[Draft<'_>],
        chosen: Vec<Vec<Option<Chosen>>>,
    ) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        let (mut kept, mut right) = (Vec::with_capacity(drafts.len()), Vec::new());
        let mut first = 0;
        self.chosen.clear();
        for (draft, chosen) in drafts.iter().zip(chosen) {
            let mut rows = chosen.into_iter();
            let of_draft = draft.follow(|_| Ok(rows.next().flatten()))?;
            let last = first + of_draft.len() - 1;
            self.chosen.insert(draft.slot, LogitsAt::Row(last));
            right.push((draft.slot, first, of_draft.len()));
            kept.push(of_draft);
            first += 1 + draft.guess.len();
        }
        if let Some(log) = &mut self.log {
            log.noted(right);
        }
        Ok(kept)
    }

    /// An ordinary step, of drafts without guesses.
    fn choose_after(&mut self, drafts: &[Draft<'_>]) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        let next = drafts
            .iter()
            .map(|&Draft { slot, token, .. }| Next { slot, token });
        let next: Vec<Next> = next.collect();
        let parts: Vec<_> = next.iter().map(Next::part).collect();
        let chosen = self.read_and_choose(&parts, 1)?;
        Ok(chosen.into_iter().map(|chosen| vec![chosen]).collect())
    }

    /// Sees to it that so many rows can be noted and sampled, and says in which half of the log.
    fn make_room_for_guesses(&mut self, rows: usize) -> Result<usize, Error> {
        if self.log.as_ref().is_none_or(|log| log.rows() < rows) {
            self.settle(|_, _| true)?;
            let rows = rows.max(LEAST_ROWS).next_power_of_two();
            let rows = rows.min(self.most_guessed_rows());
            let model = Arc::clone(&self.model);
            self.plans.clear();
            self.log = None; // before there is another one
            self.log = Some(StateLog::new(&model.context, &model.hp, rows)?);
            self.sampler()?.make_room(&model.context, rows)?;
        }
        let half = self.log.as_ref().map_or(0, StateLog::next);
        self.settle(|_, due| due.half() == half)?;
        Ok(half)
    }

    /// Does what is due of these slots, for somebody who wants to see their states.
    pub(super) fn settle_slots(&mut self, slots: impl Fn(usize) -> bool) -> Result<(), Error> {
        self.settle(|slot, _| slots(slot))
    }

    fn settle(&mut self, is_meant: impl Fn(usize, Due) -> bool) -> Result<(), Error> {
        for half in [0, 1] {
            let Some(log) = &mut self.log else {
                return Ok(());
            };
            let due = log.take(half, &is_meant);
            if due.is_empty() {
                continue;
            }
            // What is due lies in the half that is not noted in.
            let guessing = self.guessing(1 - half, due.len());
            let context = Arc::clone(&self.model.context);
            if let Some(log) = &self.log {
                let replays = due.iter().map(|(slot, due)| Due::replay(*slot, Some(*due)));
                log.write(&context, replays.collect(), guessing.sequences)?;
                log.put_shifts(&context, &self.states, &due)?;
            }
            self.run(Step::Settle(guessing))?;
        }
        Ok(())
    }

    /// The slot's state is to be another one.
    pub(super) fn forget_due(&mut self, slot: usize) {
        if let Some(log) = &mut self.log {
            log.forget(slot);
        }
    }

    pub(super) fn record_guesses(
        &self,
        recorder: &mut Recorder<'_>,
        guessing: Guessing,
    ) -> Result<(), Error> {
        match &self.log {
            Some(log) => {
                let noting = log.noting(guessing.half, guessing.sequences);
                self.record_layers(recorder, Reading::Guesses(noting))
            }
            None => Ok(()),
        }
    }

    /// Does what is due in every layer.
    pub(super) fn record_settling(
        &self,
        recorder: &mut Recorder<'_>,
        guessing: Guessing,
    ) -> Result<(), Error> {
        let Some(log) = &self.log else {
            return Ok(());
        };
        let noting = log.noting(guessing.half, guessing.sequences);
        for index in 0..self.model.hp.layers {
            let step = self.layer_step(index, Reading::Guesses(noting));
            step.replay(recorder, &noting)?;
        }
        Ok(())
    }
}
