//! The recurrent state of one sequence.

use crate::{Error, Hyperparameters};

/// All that a model remembers of the tokens it has read. Zeros at the start of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// `[layers, width]`: the last token's input to time mixing, after its layer norm.
    pub att_shift: Vec<f32>,
    /// `[layers, width]`: the last token's input to channel mixing, after its layer norm.
    pub ffn_shift: Vec<f32>,
    /// `[layers, heads, value, key]`: the matrices of the recurrence; value and key are both `head_size`.
    pub wkv: Vec<f32>,
}

impl State {
    /// The state before the first token.
    pub fn zeros(hp: &Hyperparameters) -> State {
        State {
            att_shift: vec![0.0; hp.layers * hp.width],
            ffn_shift: vec![0.0; hp.layers * hp.width],
            wkv: vec![0.0; hp.layers * hp.width * hp.head_size],
        }
    }

    /// Size of a state of such a model.
    pub fn bytes(hp: &Hyperparameters) -> u64 {
        4 * hp.layers as u64 * hp.width as u64 * (2 + hp.head_size as u64)
    }

    /// Whether the state is one of such a model, by its lengths.
    ///
    /// # Errors
    /// [`Error::StateShape`] if not.
    pub fn check(&self, hp: &Hyperparameters) -> Result<(), Error> {
        let shift = hp.layers * hp.width;
        let parts = [
            ("att_shift", self.att_shift.len(), shift),
            ("ffn_shift", self.ffn_shift.len(), shift),
            ("wkv", self.wkv.len(), shift * hp.head_size),
        ];
        match parts
            .into_iter()
            .find(|(_, found, expected)| found != expected)
        {
            None => Ok(()),
            Some((part, found, expected)) => Err(Error::StateShape {
                part,
                found,
                expected,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ranks;

    #[test]
    fn size_of_a_published_model() {
        let ranks = Ranks {
            decay: 96,
            iclr: 96,
            value_residual: 64,
            gate: 320,
        };
        let hp = Hyperparameters {
            layers: 32,
            width: 2560,
            heads: 40,
            head_size: 64,
            ffn: 10_240,
            vocab: 65_536,
            ranks,
            layer_norm_eps: 1e-5,
            context: 4096,
        };
        let state = State::zeros(&hp);
        let numbers = state.att_shift.len() + state.ffn_shift.len() + state.wkv.len();
        assert_eq!(State::bytes(&hp), 4 * numbers as u64);
        assert_eq!(
            format!("{:.1}", State::bytes(&hp) as f64 / 1048576.0),
            "20.6"
        );
    }
}
