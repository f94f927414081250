//! Where in a model numbers run away.

use std::fmt;

use crate::{Hyperparameters, State};

/// A part of a model, as where numbers became infinite or undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The embedding, or the norm after it.
    Embedding,
    /// A layer, counted from 0.
    Layer(usize),
    /// The final norm or the output matrix.
    Output,
    /// The channel mixing of the last layer or what comes after it, of which no state tells.
    End,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Embedding => write!(f, "the embedding"),
            Place::Layer(layer) => write!(f, "layer {layer}"),
            Place::Output => write!(f, "the output matrix"),
            Place::End => write!(
                f,
                "the channel mixing of the last layer or the output matrix"
            ),
        }
    }
}

impl State {
    /// Where the first numbers of the state lie that are infinite or undefined; nothing if all are as they should be.
    ///
    /// They rise through the layers and never sink: what a layer computes for a token is all that the next one is told of it.
    /// So the lowest layer with such numbers is the one where they began. There is one exception: where a layer had them for a
    /// while and not for the last tokens, only the matrices of the layer above have kept them.
    ///
    /// The state must have been computed through all layers, and be one of such a model.
    pub fn first_not_finite(&self, hp: &Hyperparameters) -> Option<Place> {
        let shifts = self.att_shift.chunks(hp.width);
        let later = self.ffn_shift.chunks(hp.width);
        let wkvs = self.wkv.chunks(hp.width * hp.head_size);
        let mut layers = shifts.zip(wkvs.zip(later)).enumerate();
        layers.find_map(|(layer, (input, (wkv, after_time_mix)))| {
            if !is_finite(input) {
                // That is what the part before it has computed.
                return Some(layer.checked_sub(1).map_or(Place::Embedding, Place::Layer));
            }
            let is_sound = is_finite(wkv) && is_finite(after_time_mix);
            (!is_sound).then_some(Place::Layer(layer))
        })
    }
}

fn is_finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ranks;

    fn shape() -> Hyperparameters {
        let ranks = Ranks {
            decay: 1,
            iclr: 1,
            value_residual: 1,
            gate: 1,
        };
        Hyperparameters {
            layers: 3,
            width: 4,
            heads: 2,
            head_size: 2,
            ffn: 8,
            vocab: 5,
            ranks,
            layer_norm_eps: 1e-5,
            context: 0,
        }
    }

    #[test]
    fn a_number_names_the_part_that_computed_it() {
        type Part = fn(&mut State) -> &mut [f32];
        const INPUT: Part = |state| &mut state.att_shift;
        const MATRICES: Part = |state| &mut state.wkv;
        const AFTER_TIME_MIX: Part = |state| &mut state.ffn_shift;
        let cases = [
            (INPUT, 3, Place::Embedding),
            (INPUT, 4, Place::Layer(0)),
            (INPUT, 11, Place::Layer(1)),
            (MATRICES, 7, Place::Layer(0)),
            (MATRICES, 8, Place::Layer(1)),
            (MATRICES, 23, Place::Layer(2)),
            (AFTER_TIME_MIX, 0, Place::Layer(0)),
            (AFTER_TIME_MIX, 11, Place::Layer(2)),
        ];
        for (part, index, place) in cases {
            for value in [f32::NAN, f32::NEG_INFINITY] {
                let mut state = State::zeros(&shape());
                assert_eq!(state.first_not_finite(&shape()), None);
                part(&mut state)[index] = value;
                assert_eq!(state.first_not_finite(&shape()), Some(place), "{index}");
            }
        }
    }

    #[test]
    fn the_lowest_layer_counts() {
        let mut state = State::zeros(&shape());
        state.wkv.fill(f32::NAN);
        state.ffn_shift.fill(f32::NAN);
        state.att_shift[4..].fill(f32::NAN);
        assert_eq!(state.first_not_finite(&shape()), Some(Place::Layer(0)));
        state.att_shift.fill(f32::NAN);
        assert_eq!(state.first_not_finite(&shape()), Some(Place::Embedding));
    }
}
