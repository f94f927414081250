//! What results should be: those of the CPU twins.

use std::sync::Arc;

use thalweg_rwkv::{Batch, CpuBatch, Part, State, Wanted};

use super::stop_if_interrupted;
use crate::failure::Failure;
use crate::model::SharedModel;
use crate::some_ids::some_ids;

/// Sequences, each with a prompt of its own.
pub(super) const SEQUENCES: usize = 3;
/// Single tokens behind each prompt.
pub(super) const STEPS: usize = 4;

const PROMPTS: [usize; SEQUENCES] = [33, 24, 17];

/// What the twins come to with one sequence.
pub(super) struct Expected {
    /// The prompt, the tokens that it is gone on with greedily, and the one after them.
    pub(super) tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub(super) prompt: usize,
    /// Behind each token that was read, `[prompt + STEPS, vocab]`.
    logits: Vec<f32>,
    vocab: usize,
    pub(super) behind_prompt: State,
    /// Behind the single tokens.
    pub(super) end: State,
}

impl Expected {
    /// What the twins of the model come to with each sequence.
    pub(super) fn of_twins(shared: &SharedModel) -> Result<[Expected; SEQUENCES], Failure> {
        let mut twins = CpuBatch::new(Arc::clone(shared.twins()), 1);
        let ids = some_ids(PROMPTS.iter().sum(), twins.hyperparameters().vocab);
        let (first, others) = ids.split_at(PROMPTS[0]);
        let (second, third) = others.split_at(PROMPTS[1]);
        let mut of = |prompt| Expected::of_prompt(&mut twins, prompt);
        Ok([of(first)?, of(second)?, of(third)?])
    }

    fn of_prompt(twins: &mut CpuBatch, prompt: &[u32]) -> Result<Expected, Failure> {
        let vocab = twins.hyperparameters().vocab;
        let mut tokens = prompt.to_vec();
        twins.reset(0)?;
        let mut logits = read(twins, &tokens)?;
        let behind_prompt = twins.state(0)?;
        for step in 0..=STEPS {
            let last = &logits[logits.len() - vocab..];
            let chosen = twins.choose(0, last)?.map_or(0, |chosen| chosen.token);
            tokens.push(chosen);
            if step < STEPS {
                logits.extend(read(twins, &[chosen])?);
            }
        }
        Ok(Expected {
            tokens,
            prompt: prompt.len(),
            logits,
            vocab,
            behind_prompt,
            end: twins.state(0)?,
        })
    }

    /// The logits behind the first `read` tokens, `[vocab]`.
    pub(super) fn logits_behind(&self, read: usize) -> &[f32] {
        &self.logits[(read - 1) * self.vocab..read * self.vocab]
    }
}

/// The logits behind each of the tokens.
fn read(twins: &mut CpuBatch, tokens: &[u32]) -> Result<Vec<f32>, Failure> {
    stop_if_interrupted()?;
    Ok(twins.forward(&[Part {
        slot: 0,
        tokens,
        wanted: Wanted::All,
    }])?)
}
