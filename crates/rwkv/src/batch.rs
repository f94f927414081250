//! Several sequences on some backend.

use crate::{CpuModel, Error, Hyperparameters, State, Wanted};
use std::sync::Arc;

/// A part of a step: tokens of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The slot of the sequence.
    pub slot: usize,
    /// What it is to read; at least one token.
    pub tokens: &'a [u32],
    /// Whose logits are to be returned.
    pub wanted: Wanted,
}

/// Several sequences read by one model, each in a slot of its own. What a sequence computes depends neither on its slot
/// nor on the others in the step.
pub trait Batch {
    /// Sizes of the model behind.
    fn hyperparameters(&self) -> &Hyperparameters;

    /// Slots, numbered from 0.
    fn slots(&self) -> usize;

    /// The most tokens, of all parts together, that a step takes.
    fn largest_step(&self) -> usize;

    /// Reads each part's tokens into its slot; every slot at most once a call, no part empty. Returns the wanted logits
    /// in the order of the parts, `[rows, vocab]`.
    ///
    /// # Errors
    /// [`Error::Part`] or [`Error::Token`] before anything is computed. [`Error::Sequence`] names a slot whose numbers run
    /// away: its state is of no use until [`reset`](Batch::reset), the others' are as if the step had not failed. Errors
    /// of the backend, after which no state is of any use.
    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error>;

    /// A copy of the present state of a slot.
    ///
    /// # Errors
    /// [`Error::Part`] if there is no such slot; errors of the backend.
    fn state(&mut self, slot: usize) -> Result<State, Error>;

    /// Lets a slot continue from `state`.
    ///
    /// # Errors
    /// [`Error::StateShape`] if it belongs to another model; [`Error::Part`]; errors of the backend.
    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error>;

    /// Makes `to` a copy of `from`, without a way through the host where the backend can.
    ///
    /// # Errors
    /// [`Error::Part`] if there is no such slot; errors of the backend.
    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error>;

    /// Back to the start of a sequence.
    ///
    /// # Errors
    /// [`Error::Part`] if there is no such slot; errors of the backend.
    fn reset(&mut self, slot: usize) -> Result<(), Error>;
}

/// Whether the parts make a step of such a batch.
///
/// # Errors
/// [`Error::Part`] for the first that does not fit, [`Error::Token`] for the first token that the model does not have.
pub fn check_parts(
    parts: &[Part<'_>],
    slots: usize,
    largest_step: usize,
    vocab: usize,
) -> Result<(), Error> {
    let mut tokens = 0;
    for (index, part) in parts.iter().enumerate() {
        check_slot(part.slot, slots)?;
        tokens += part.tokens.len();
        let fault = if part.tokens.is_empty() {
            Some(("no token", "at least one".to_owned()))
        } else if parts[..index].iter().any(|other| other.slot == part.slot) {
            Some(("a second part", "one part a step".to_owned()))
        } else if tokens > largest_step {
            let expected = format!("at most {largest_step} tokens in all parts of a step");
            Some(("more tokens than fit", expected))
        } else {
            None
        };
        if let Some((found, expected)) = fault {
            return Err(Error::Part {
                slot: part.slot,
                found,
                expected,
            });
        }
        if let Some(position) = part
            .tokens
            .iter()
            .position(|&token| token as usize >= vocab)
        {
            return Err(Error::Token {
                token: part.tokens[position],
                position,
                vocab,
            });
        }
    }
    Ok(())
}

fn check_slot(slot: usize, slots: usize) -> Result<(), Error> {
    if slot < slots {
        return Ok(());
    }
    Err(Error::Part {
        slot,
        found: "no such slot",
        expected: format!("one of {slots} slots, numbered from 0"),
    })
}

/// Sequences on the CPU, one after another: each uses all cores while it is its turn.
#[derive(Clone, Debug)]
pub struct CpuBatch {
    model: Arc<CpuModel>,
    states: Vec<State>,
    largest_step: usize,
}

impl CpuBatch {
    /// `slots` sequences at their start, which read at most `largest_step` tokens in one step.
    ///
    /// # Errors
    /// [`Error::Setting`] if either is 0.
    pub fn new(model: Arc<CpuModel>, slots: usize, largest_step: usize) -> Result<CpuBatch, Error> {
        for (name, found) in [("number of slots", slots), ("largest step", largest_step)] {
            if found == 0 {
                let expected = "1 or more".to_owned();
                return Err(Error::Setting {
                    name,
                    found,
                    expected,
                });
            }
        }
        let states = vec![State::zeros(model.hyperparameters()); slots];
        Ok(CpuBatch {
            model,
            states,
            largest_step,
        })
    }

    fn state_mut(&mut self, slot: usize) -> Result<&mut State, Error> {
        check_slot(slot, self.states.len())?;
        Ok(&mut self.states[slot])
    }
}

impl Batch for CpuBatch {
    fn hyperparameters(&self) -> &Hyperparameters {
        self.model.hyperparameters()
    }

    fn slots(&self) -> usize {
        self.states.len()
    }

    fn largest_step(&self) -> usize {
        self.largest_step
    }

    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        let vocab = self.hyperparameters().vocab;
        check_parts(parts, self.slots(), self.largest_step, vocab)?;
        let (mut logits, mut failed) = (Vec::new(), None);
        for part in parts {
            let state = &mut self.states[part.slot];
            match self.model.forward(part.tokens, state, part.wanted, None) {
                Ok(rows) => logits.extend(rows),
                Err(error) => {
                    failed.get_or_insert(Error::Sequence {
                        slot: part.slot,
                        source: Box::new(error),
                    });
                }
            }
        }
        failed.map_or(Ok(logits), Err)
    }

    fn state(&mut self, slot: usize) -> Result<State, Error> {
        self.state_mut(slot).cloned()
    }

    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error> {
        state.check(self.hyperparameters())?;
        self.state_mut(slot)?.clone_from(state);
        Ok(())
    }

    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error> {
        let state = self.state(from)?;
        *self.state_mut(to)? = state;
        Ok(())
    }

    fn reset(&mut self, slot: usize) -> Result<(), Error> {
        *self.state_mut(slot)? = State::zeros(self.model.hyperparameters());
        Ok(())
    }
}
