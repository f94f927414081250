//! What a pass would do to a state, for a caller who does not know yet how many of its tokens are right.

use thalweg_shaders::twins;

use super::layer::Projections;
use super::model::layer_states;
use crate::{Hyperparameters, State};

/// What takes a state through the tokens of a pass, one or several of them. It is small beside a copy of the state after each.
#[derive(Debug, Default)]
pub(crate) struct StateLog {
    /// For each layer the normed input of time mixing, `[tokens, width]`.
    att_rows: Vec<Vec<f32>>,
    /// Likewise that of channel mixing.
    ffn_rows: Vec<Vec<f32>>,
    /// What enters each layer's recurrence.
    updates: Vec<Projections>,
}

impl StateLog {
    /// Of the next layer.
    pub(super) fn note_time_mix(&mut self, normed: &[f32], updates: Projections) {
        self.att_rows.push(normed.to_vec());
        self.updates.push(updates);
    }

    /// Of the next layer.
    pub(super) fn note_channel_mix(&mut self, normed: &[f32]) {
        self.ffn_rows.push(normed.to_vec());
    }

    /// Takes the state, which is as it was at the beginning of the pass, through the first `tokens` of its tokens: it becomes what
    /// a pass of these alone would have made of it, to the bit.
    ///
    /// # Panics
    /// If the pass had fewer tokens, or there are none.
    pub(crate) fn commit(&self, hp: &Hyperparameters, tokens: usize, state: &mut State) {
        let numbers = tokens * hp.width;
        let mut unread = vec![0.0; numbers];
        let rows = self.att_rows.iter().zip(&self.ffn_rows);
        let layers = rows.zip(&self.updates).zip(layer_states(state, hp));
        for (((att_rows, ffn_rows), updates), state) in layers {
            let last = numbers - hp.width..numbers;
            state.att_shift.copy_from_slice(&att_rows[last.clone()]);
            state.ffn_shift.copy_from_slice(&ffn_rows[last]);
            let inputs = updates.inputs().first(numbers);
            twins::wkv7(inputs, hp.head_size, state.wkv, &mut unread);
        }
    }
}
