//! Choosing tokens on the device: what the sampler's passes work on, and how they are told about the slots.

mod passes;

use bytemuck::{Zeroable, bytes_of, cast_slice};
use thalweg_gpu::{Buffer, Context, Limits, PlanBuilder, ReadBuffer};
use thalweg_shaders::kernels::{Rows, SampleParams, SamplePass};
use thalweg_shaders::{
    MAX_SAMPLED_VOCAB, NO_TOKEN, NoToken, SampleBias, SampleCount, SampleReport, SampleRow,
};

use crate::{Chosen, Error, Hyperparameters, Sampling};

/// Most steps of a loop: at 50 ms a loop, models of more than 5,000 tokens a second would gain from more.
pub(super) const LONGEST_LOOP: usize = 256;

/// Where the settings of the rows begin, behind the number of rows: as far as any device wants its bindings.
const SETTINGS_OFFSET: u64 = 256;

/// What a run of the sampler is to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Finding {
    /// Whether more than the best tokens is wanted of any row, and so all passes.
    draws: bool,
    /// Whether log-probabilities are wanted of any row, and so whole reports.
    reports: bool,
}

/// The sampler of a batch: how each slot's tokens are chosen, what was counted, and scratch memory.
#[derive(Debug)]
pub(super) struct DeviceSampler {
    params: SampleParams,
    vocab: usize,
    scratch: Scratch,
    /// The biases of all slots, one after the other.
    biases: Buffer,
    /// [`SampleCount`] `[slots, 1 + vocab]`.
    counts: Buffer,
    /// Those of one slot on their way to another.
    counts_on_their_way: Buffer,
    /// Tokens of a loop, `[steps, rows]`, for the host; or of more rows in one step.
    tokens_read: ReadBuffer,
    /// Likewise reports.
    reports_read: ReadBuffer,
    slots: Vec<SlotSampling>,
    /// Whether the biases on the device are those of the slots.
    has_biases: bool,
}

/// What each row of a run takes: a row a slot, or more of them where tokens are guessed.
#[derive(Debug)]
struct Scratch {
    /// How many rows there are, then a [`SampleRow`] for each.
    rows: Buffer,
    /// `[rows, vocab]`
    keys: Buffer,
    work: Buffer,
    /// [`SampleReport`] `[rows]`
    reports: Buffer,
    /// The tokens of rows that are guesses, which must not lie where the rows' own do.
    drawn: Buffer,
}

/// How the tokens of a slot are chosen.
#[derive(Debug)]
struct SlotSampling {
    sampling: Sampling,
    /// The slot is to have counted nothing, but the device's counts have not been cleared.
    clearing_is_due: bool,
}

impl DeviceSampler {
    /// The most slots that a device with such limits can bind.
    pub(super) fn most_slots(hp: &Hyperparameters, limits: &Limits) -> usize {
        let largest = limits.storage_binding_bytes.min(limits.buffer_bytes);
        (largest / counts_bytes(hp.vocab)) as usize
    }

    /// For so many slots, no more than the device can bind, all greedy.
    pub(super) fn new(
        context: &Context,
        hp: &Hyperparameters,
        slots: usize,
    ) -> Result<DeviceSampler, Error> {
        let params = SampleParams::new(hp.vocab).ok_or_else(|| Error::Setting {
            name: "length of the vocabulary",
            found: hp.vocab,
            expected: format!("at most {MAX_SAMPLED_VOCAB} where the device chooses tokens"),
        })?;
        let count = slots as u64;
        let buffer =
            |label: &str, bytes: u64| context.buffer(&format!("the sampler ({label})"), bytes);
        let read = |label: &str, bytes: usize| {
            let bytes = count * (LONGEST_LOOP * bytes) as u64;
            context.read_buffer(label, bytes)
        };
        let one = || SlotSampling {
            sampling: Sampling::greedy(),
            clearing_is_due: false,
        };
        Ok(DeviceSampler {
            params,
            vocab: hp.vocab,
            scratch: Scratch::new(context, hp.vocab, slots)?,
            biases: buffer("biases", size_of::<SampleBias>() as u64)?,
            counts: buffer("counts", count * counts_bytes(hp.vocab))?,
            counts_on_their_way: buffer("counts on their way", counts_bytes(hp.vocab))?,
            tokens_read: read("tokens", size_of::<u32>())?,
            reports_read: read("reports", size_of::<SampleReport>())?,
            slots: std::iter::repeat_with(one).take(slots).collect(),
            has_biases: true,
        })
    }

    /// Has runs have so many rows, which are no fewer than there are slots, no more than there are logits of, and no more than steps
    /// of a loop. The plans made before cannot be used any more.
    pub(super) fn make_room(&mut self, context: &Context, rows: usize) -> Result<(), Error> {
        let rows = rows.max(self.slots.len());
        self.scratch = Scratch::new(context, self.vocab, rows)?;
        Ok(())
    }

    /// Chooses the slot's tokens in this way, with none counted.
    pub(super) fn set(&mut self, slot: usize, sampling: Sampling) {
        self.has_biases &= self.slots[slot].sampling.biases == sampling.biases;
        self.slots[slot] = SlotSampling {
            sampling,
            clearing_is_due: true,
        };
    }

    /// Forgets what the slot counted.
    pub(super) fn clear(&mut self, slot: usize) {
        self.slots[slot].clearing_is_due = true;
    }

    /// Has `to` have counted what `from` has.
    pub(super) fn copy(&mut self, context: &Context, from: usize, to: usize) -> Result<(), Error> {
        let is_clear = self.slots[from].clearing_is_due;
        self.slots[to].clearing_is_due = is_clear;
        if is_clear || from == to {
            return Ok(());
        }
        let bytes = counts_bytes(self.vocab);
        let [from, to] = [from, to].map(|slot| slot as u64 * bytes);
        let between = &self.counts_on_their_way;
        let mut plan = PlanBuilder::new(context, "copying what a slot counted");
        plan.copy(&self.counts, from, between, 0, bytes);
        plan.copy(between, 0, &self.counts, to, bytes);
        Ok(plan.build()?.run(context)?)
    }

    /// What a run for these slots is to find out.
    pub(super) fn finding(&self, slots: &[usize]) -> Finding {
        let samplings = || slots.iter().map(|slot| &self.slots[*slot].sampling);
        Finding {
            draws: !samplings().all(Sampling::is_plain),
            reports: samplings().any(Sampling::wants_logprob),
        }
    }

    /// Tells the device whose tokens the next run chooses, in the order of the rows. All rows of a slot but its first are guesses.
    /// Says whether the plans made before cannot be used any more.
    pub(super) fn write(&mut self, context: &Context, slots: &[usize]) -> Result<bool, Error> {
        let is_rebound = self.write_biases(context)?;
        for &slot in slots {
            if std::mem::take(&mut self.slots[slot].clearing_is_due) {
                let zeros = vec![SampleCount::default(); 1 + self.vocab];
                let offset = slot as u64 * counts_bytes(self.vocab);
                context.write(&self.counts, offset, &zeros)?;
            }
        }
        let count = Rows {
            count: slots.len() as u32,
            first: 0,
        };
        let firsts = self.slots.iter().scan(0, |end, slot| {
            let first = *end;
            *end += slot.sampling.biases.len();
            Some(first)
        });
        let firsts: Vec<usize> = firsts.collect();
        let row = |&slot: &usize| self.slots[slot].sampling.row_in(slot, firsts[slot]);
        let rows = slots.chunk_by(|a, b| a == b).flat_map(|of_slot| {
            let rows = of_slot.iter().zip(0..);
            rows.map(|(slot, guessed)| row(slot).with_guessed(guessed))
        });
        let rows: Vec<SampleRow> = rows.collect();
        let settings: &[u8] = cast_slice(&rows);
        let mut bytes = Vec::with_capacity(SETTINGS_OFFSET as usize + settings.len());
        bytes.extend_from_slice(bytes_of(&count));
        bytes.resize(SETTINGS_OFFSET as usize, 0);
        bytes.extend_from_slice(settings);
        context.write(&self.scratch.rows, 0, &bytes)?;
        Ok(is_rebound)
    }

    /// Brings the biases to the device if they have changed. Says whether that took another buffer.
    fn write_biases(&mut self, context: &Context) -> Result<bool, Error> {
        if std::mem::replace(&mut self.has_biases, true) {
            return Ok(false);
        }
        let slots = self.slots.iter();
        let list: Vec<SampleBias> = slots
            .flat_map(|slot| &slot.sampling.biases)
            .copied()
            .collect();
        let bytes = size_of_val(list.as_slice()) as u64;
        let is_rebound = bytes > self.biases.bytes();
        if is_rebound {
            let bytes = bytes.next_power_of_two();
            self.biases = context.buffer("the sampler (biases)", bytes)?;
        }
        if !list.is_empty() {
            context.write(&self.biases, 0, &list)?;
        }
        Ok(is_rebound)
    }

    /// What a run repeated so many times chose for these slots, `[times, slots]`; `rows` are those that its plan has room for.
    pub(super) fn chosen(
        &self,
        context: &Context,
        slots: &[usize],
        (rows, finding): (u32, Finding),
        times: usize,
    ) -> Result<Vec<Option<Chosen>>, Error> {
        let rows = rows as usize;
        if finding.reports {
            let mut reports = vec![SampleReport::zeroed(); times * rows];
            self.reports_read.read(context, 0, &mut reports)?;
            let wants = |slot: &usize| self.slots[*slot].sampling.wants_logprob();
            let chosen = |(report, slot)| Chosen::reported(report, wants(slot));
            let rows = reports.chunks_exact(rows);
            return Ok(cut_at_failures(
                rows.map(|row| row.iter().zip(slots).map(chosen)),
            ));
        }
        let mut tokens = vec![NO_TOKEN; times * rows];
        self.tokens_read.read(context, 0, &mut tokens)?;
        let chosen = |token: &u32| match *token {
            NO_TOKEN => Err(NoToken::NothingAllowed),
            token => Ok(plain(token)),
        };
        let rows = tokens.chunks_exact(rows);
        Ok(cut_at_failures(
            rows.map(|row| row[..slots.len()].iter().map(chosen)),
        ))
    }
}

impl Scratch {
    fn new(context: &Context, vocab: usize, rows: usize) -> Result<Scratch, Error> {
        let count = rows as u64;
        let buffer =
            |label: &str, bytes: u64| context.buffer(&format!("the sampler ({label})"), bytes);
        let settings_bytes = SETTINGS_OFFSET + count * size_of::<SampleRow>() as u64;
        Ok(Scratch {
            rows: buffer("settings", settings_bytes)?,
            keys: buffer("keys", count * 4 * vocab as u64)?,
            work: buffer("work", count * SamplePass::WORK_BYTES)?,
            reports: buffer("reports", count * size_of::<SampleReport>() as u64)?,
            drawn: buffer("drawn tokens", 4 * count)?,
        })
    }
}

/// How a device is told of it.
impl Sampling {
    /// The row for a slot whose biases begin at this entry of the list.
    fn row_in(&self, slot: usize, first_bias: usize) -> SampleRow {
        let count = self.biases.len() as u32;
        self.row
            .in_slot(slot as u32)
            .with_biases(first_bias as u32, count)
    }

    /// Whether all there is to find is the best token.
    fn is_plain(&self) -> bool {
        self.row.is_greedy() && !self.row.wants_logprob()
    }

    fn wants_logprob(&self) -> bool {
        self.row.wants_logprob()
    }
}

/// A token of which nothing more is known.
fn plain(token: u32) -> Chosen {
    Chosen {
        token,
        logprob: None,
        top: Vec::new(),
    }
}

/// What follows in a column after a row without a token means nothing.
fn cut_at_failures(
    rows: impl Iterator<Item = impl Iterator<Item = Result<Chosen, NoToken>>>,
) -> Vec<Option<Chosen>> {
    let mut has_failed = Vec::new();
    let mut chosen = Vec::new();
    for row in rows {
        for (column, found) in row.enumerate() {
            if column == has_failed.len() {
                has_failed.push(false);
            }
            has_failed[column] |= found.is_err();
            chosen.push(found.ok().filter(|_| !has_failed[column]));
        }
    }
    chosen
}

fn counts_bytes(vocab: usize) -> u64 {
    ((1 + vocab) * size_of::<SampleCount>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counts_after_a_failure() {
        let token = |token| Ok(plain(token));
        let failed = || Err(NoToken::NothingAllowed);
        let rows = [
            [token(1), token(2)],
            [failed(), token(3)],
            [token(4), token(5)],
        ];
        let chosen = cut_at_failures(rows.into_iter().map(IntoIterator::into_iter));
        let tokens: Vec<_> = chosen.iter().map(|c| c.as_ref().map(|c| c.token)).collect();
        assert_eq!(tokens, [Some(1), Some(2), None, Some(3), None, Some(5)]);
    }
}
