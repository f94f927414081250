//! What is timed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use thalweg_bench::{Setting, Task};
use thalweg_engine::{ChunkSize, SamplerSettings, prefill};
use thalweg_rwkv::{Batch, Logits, Next, Part, Session, State, Wanted};

use crate::failure::Failure;
use crate::interrupt;
use crate::some_ids::some_ids;

/// Reads tokens into the given state, or an empty one, and returns the time that took.
pub(super) fn read(
    session: &mut dyn Session,
    setting: &Setting,
    chunk_size: ChunkSize,
    state: Option<&State>,
) -> Result<Duration, Failure> {
    let ids = some_ids(setting.tokens, session.hyperparameters().vocab);
    session.reset();
    if let Some(state) = state {
        session.set_state(state)?;
    }
    session.forward(&[], Wanted::Nothing)?; // the state is where reading starts, not a part of it
    let interrupt = interrupt::watch();
    let start = Instant::now();
    let ids_at_once = match setting.task {
        Task::Prefill => ids.len(),
        _ => 1,
    };
    for ids in ids.chunks(ids_at_once) {
        prefill(session, ids, chunk_size, interrupt, &mut |_| ())?;
    }
    Ok(start.elapsed())
}

/// Has each slot read tokens, one a step, and returns the time that took.
pub(super) fn decode(
    batch: &mut dyn Batch,
    setting: &Setting,
    state: Option<&State>,
) -> Result<Duration, Failure> {
    let sequences = setting.sequences;
    set_slots(batch, sequences, state)?;
    batch.state(0)?; // waits until the slots are ready
    let ids = some_ids(sequences * setting.tokens, batch.hyperparameters().vocab);
    let start = Instant::now();
    for ids in ids.chunks(sequences) {
        stop_if_interrupted()?;
        let part = |(slot, id)| Part {
            slot,
            tokens: std::slice::from_ref(id),
            wanted: Wanted::Last,
        };
        let parts: Vec<_> = ids.iter().enumerate().map(part).collect();
        batch.forward(&parts)?;
    }
    Ok(start.elapsed())
}

/// Has each slot generate tokens, asking for them after so many steps, and returns the time that took.
pub(super) fn generate(
    batch: &mut dyn Batch,
    setting: &Setting,
    steps_at_once: usize,
    state: Option<&State>,
) -> Result<Duration, Failure> {
    let sequences = setting.sequences;
    set_slots(batch, sequences, state)?;
    let ids = some_ids(sequences, batch.hyperparameters().vocab);
    let mut next = Vec::new();
    for (slot, token) in ids.into_iter().enumerate() {
        let settings = SamplerSettings {
            seed: slot as u64,
            ..SamplerSettings::default()
        };
        batch.set_sampling(slot, settings.sampling(None))?;
        next.push(Next { slot, token });
    }
    batch.state(0)?; // waits until the slots are ready
    let start = Instant::now();
    let mut left = setting.tokens;
    while left > 0 {
        stop_if_interrupted()?;
        let steps = left.min(steps_at_once);
        let chosen = batch.decode(&next, steps)?;
        for (next, chosen) in next.iter_mut().zip(&chosen[(steps - 1) * sequences..]) {
            next.token = match chosen {
                Some(chosen) => chosen.token,
                None => return Err(ran_away(next.slot)),
            };
        }
        left -= steps;
    }
    Ok(start.elapsed())
}

/// The state behind so many tokens.
pub(super) fn state_of_session(
    session: &mut dyn Session,
    depth: usize,
    chunk_size: ChunkSize,
) -> Result<State, Failure> {
    let ids = some_ids(depth, session.hyperparameters().vocab);
    session.reset();
    prefill(session, &ids, chunk_size, interrupt::watch(), &mut |_| ())?;
    Ok(session.state()?)
}

/// The same, by the first slot of a batch.
pub(super) fn state_of_batch(batch: &mut dyn Batch, depth: usize) -> Result<State, Failure> {
    let ids = some_ids(depth, batch.hyperparameters().vocab);
    batch.reset(0)?;
    for tokens in ids.chunks(batch.largest_step()) {
        stop_if_interrupted()?;
        batch.forward(&[Part {
            slot: 0,
            tokens,
            wanted: Wanted::Nothing,
        }])?;
    }
    Ok(batch.state(0)?)
}

/// Has the first slots continue from the state, or from the start.
fn set_slots(batch: &mut dyn Batch, slots: usize, state: Option<&State>) -> Result<(), Failure> {
    let Some(state) = state else {
        return Ok((0..slots).try_for_each(|slot| batch.reset(slot))?);
    };
    batch.set_state(0, state)?;
    Ok((1..slots).try_for_each(|slot| batch.copy_state(0, slot))?)
}

/// Ends what is going on if Ctrl-C was pressed.
pub(super) fn stop_if_interrupted() -> Result<(), Failure> {
    match interrupt::watch().load(Ordering::Relaxed) {
        true => Err(Failure::Interrupted),
        false => Ok(()),
    }
}

fn ran_away(slot: usize) -> Failure {
    let (slots, logits) = (vec![slot], Logits(Vec::new()));
    thalweg_rwkv::Error::Runaway { slots, logits }.into()
}
