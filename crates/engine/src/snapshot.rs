//! A point of a sequence to go on from.

use thalweg_rwkv::{Hyperparameters, State};

use crate::Error;

/// A state, and what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// What the model remembers.
    pub state: State,
    /// The logits in that state, `[vocab]`, where they are known: then nothing needs to be read to choose the next token.
    pub logits: Option<Vec<f32>>,
}

impl Snapshot {
    /// Memory that it takes.
    pub fn bytes(&self) -> u64 {
        let State {
            att_shift,
            ffn_shift,
            wkv,
        } = &self.state;
        let logits = self.logits.as_ref().map_or(0, Vec::len);
        4 * (att_shift.len() + ffn_shift.len() + wkv.len() + logits) as u64
    }

    /// Whether it may be one of such a model, by its lengths.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if not.
    pub fn check(&self, hp: &Hyperparameters) -> Result<(), Error> {
        self.state.check(hp)?;
        match &self.logits {
            Some(logits) if logits.len() != hp.vocab => {
                Err(Error::Model(thalweg_rwkv::Error::StateShape {
                    part: "logits",
                    found: logits.len(),
                    expected: hp.vocab,
                }))
            }
            _ => Ok(()),
        }
    }
}
