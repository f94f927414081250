//! What guessed tokens would make of the states: noted until it is clear which of them are right, and done when somebody asks.
//!
//! A run that reads guesses writes no state. It notes in one half of the log what each row would do; what turns out right is
//! **due**. The next run replays what is due from there while it loads the states, which it writes, and notes in the other
//! half. So a state is read and written once for all tokens that a run brought, and what is wrong costs nothing to undo.

use std::collections::BTreeMap;

use thalweg_gpu::{Binding, Buffer, Context, Limits, PlanBuilder};
use thalweg_shaders::kernels::{Replay, Wkv7Replay};

use super::states::{Branch, DeviceStates, shift_bytes};
use crate::{Error, Hyperparameters};

/// The log. It takes `56 * layers * width` bytes for each row that there is room for: 4.6 MB for a model of 2.9B.
#[derive(Debug)]
pub(super) struct StateLog {
    halves: [Half; 2],
    /// The half that the next run notes in.
    next: usize,
    /// For each sequence of a run, a [`Replay`].
    replays: Buffer,
    /// Rows that there is room for in each half.
    rows: usize,
    /// What is due of slots.
    due: BTreeMap<usize, Due>,
}

/// What the rows of one run would do.
#[derive(Debug)]
struct Half {
    /// Of both branches the normed rows, `[rows, layers, width]`.
    shifts: [Buffer; 2],
    /// For each layer what enters the recurrence, `[rows, updates, width]`.
    updates: Vec<Buffer>,
}

/// Rows of the log, at least one, by which a slot's state lags behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    half: usize,
    first: usize,
    count: usize,
}

/// The log as a plan sees it that notes in one of the halves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noting<'a> {
    log: &'a StateLog,
    half: usize,
    /// How many sequences there may be.
    sequences: u32,
}

impl StateLog {
    /// The most rows that a device with such limits can bind.
    pub(super) fn most_rows(hp: &Hyperparameters, limits: &Limits) -> usize {
        let largest = limits.storage_binding_bytes.min(limits.buffer_bytes);
        (largest / shift_bytes(hp).max(update_bytes(hp))) as usize
    }

    /// Room for so many rows in each half, no more than the device can bind. Nothing is due.
    pub(super) fn new(
        context: &Context,
        hp: &Hyperparameters,
        rows: usize,
    ) -> Result<StateLog, Error> {
        let count = rows as u64;
        let buffer = |label: &str, bytes: u64| {
            context.buffer(&format!("the log of guesses ({label})"), count * bytes)
        };
        let half = || -> Result<Half, Error> {
            let updates = |layer| buffer(&format!("layer {layer}"), update_bytes(hp));
            Ok(Half {
                shifts: [
                    buffer("att shifts", shift_bytes(hp))?,
                    buffer("ffn shifts", shift_bytes(hp))?,
                ],
                updates: (0..hp.layers).map(updates).collect::<Result<_, _>>()?,
            })
        };
        Ok(StateLog {
            halves: [half()?, half()?],
            next: 0,
            replays: buffer("replays", size_of::<Replay>() as u64)?,
            rows,
            due: BTreeMap::new(),
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The half that the next run notes in.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// What a plan binds that notes in this half what up to so many sequences read.
    pub(super) fn noting(&self, half: usize, sequences: u32) -> Noting<'_> {
        Noting {
            log: self,
            half,
            sequences,
        }
    }

    pub(super) fn due(&self, slot: usize) -> Option<Due> {
        self.due.get(&slot).copied()
    }

    /// The slot's state is to be another one.
    pub(super) fn forget(&mut self, slot: usize) {
        self.due.remove(&slot);
    }

    /// Says how the sequences of the next run are replayed, which may have room for more.
    pub(super) fn write(
        &self,
        context: &Context,
        mut replays: Vec<Replay>,
        room: u32,
    ) -> Result<(), Error> {
        replays.resize(room as usize, Replay::default());
        Ok(context.write(&self.replays, 0, &replays)?)
    }

    /// A run has noted: of these slots, so many rows from a first one are due.
    pub(super) fn noted(&mut self, right: impl IntoIterator<Item = (usize, usize, usize)>) {
        let half = self.next;
        let due = right
            .into_iter()
            .map(|(slot, first, count)| (slot, Due { half, first, count }));
        self.due.extend(due);
        self.next = 1 - half;
    }

    /// What is no longer due, as it is about to be done: that of such slots in one of the halves.
    pub(super) fn take(
        &mut self,
        half: usize,
        is_meant: impl Fn(usize, Due) -> bool,
    ) -> Vec<(usize, Due)> {
        let due = self.due.iter().map(|(slot, due)| (*slot, *due));
        let taken: Vec<_> = due
            .filter(|(slot, due)| due.half == half && is_meant(*slot, *due))
            .collect();
        taken.iter().for_each(|(slot, _)| self.forget(*slot));
        taken
    }

    /// Has the shifts of these slots be those of the last rows that were due.
    pub(super) fn put_shifts(
        &self,
        context: &Context,
        states: &DeviceStates,
        due: &[(usize, Due)],
    ) -> Result<(), Error> {
        let mut plan = PlanBuilder::new(context, "shifts out of the log");
        for (slot, due) in due {
            let from = &self.halves[due.half].shifts;
            states.take_shifts(&mut plan, *slot, from, due.last_row());
        }
        Ok(plan.build()?.run(context)?)
    }
}

impl Due {
    /// The half that it lies in.
    pub(super) fn half(self) -> usize {
        self.half
    }

    /// The last token's row.
    pub(super) fn last_row(self) -> usize {
        self.first + self.count - 1
    }

    /// How a sequence is replayed that reads nothing new.
    pub(super) fn replay(slot: usize, due: Option<Due>) -> Replay {
        Replay {
            slot: slot as u32,
            first_due: due.map_or(0, |due| due.first as u32),
            due: due.map_or(0, |due| due.count as u32),
            ..Replay::default()
        }
    }
}

impl<'a> Noting<'a> {
    /// How many sequences there may be.
    pub(super) fn sequences(&self) -> u32 {
        self.sequences
    }

    /// A [`Replay`] for each sequence.
    pub(super) fn replays(&self) -> Binding<'a> {
        Binding::Buffer(&self.log.replays)
    }

    /// A branch's normed rows, due and noted.
    pub(super) fn shifts(&self, branch: Branch) -> [Binding<'a>; 2] {
        self.halves()
            .map(|half| Binding::Buffer(&half.shifts[branch as usize]))
    }

    /// A layer's updates, due and noted.
    pub(super) fn updates(&self, layer: usize) -> [Binding<'a>; 2] {
        self.halves()
            .map(|half| Binding::Buffer(&half.updates[layer]))
    }

    fn halves(&self) -> [&'a Half; 2] {
        let halves = &self.log.halves;
        [&halves[1 - self.half], &halves[self.half]]
    }
}

fn update_bytes(hp: &Hyperparameters) -> u64 {
    4 * (Wkv7Replay::UPDATES * hp.width) as u64
}
