//! A sequence on the CPU.

use super::CpuModel;
use crate::{Error, Hyperparameters, Session, State, Wanted};
use std::sync::Arc;

/// One sequence read by a [`CpuModel`], which it may share with others.
#[derive(Clone, Debug)]
pub struct CpuSession {
    model: Arc<CpuModel>,
    state: State,
}

impl CpuSession {
    /// A sequence at its start.
    pub fn new(model: Arc<CpuModel>) -> CpuSession {
        let state = State::zeros(model.hyperparameters());
        CpuSession { model, state }
    }

    /// The model that reads it.
    pub fn model(&self) -> &Arc<CpuModel> {
        &self.model
    }
}

impl Session for CpuSession {
    fn hyperparameters(&self) -> &Hyperparameters {
        self.model.hyperparameters()
    }

    fn forward(&mut self, tokens: &[u32], wanted: Wanted) -> Result<Vec<f32>, Error> {
        self.model.forward(tokens, &mut self.state, wanted, None)
    }

    fn state(&mut self) -> Result<State, Error> {
        Ok(self.state.clone())
    }

    fn set_state(&mut self, state: &State) -> Result<(), Error> {
        state.check(self.hyperparameters())?;
        self.state.clone_from(state);
        Ok(())
    }

    fn reset(&mut self) {
        self.state = State::zeros(self.model.hyperparameters());
    }
}
