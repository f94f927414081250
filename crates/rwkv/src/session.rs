//! One sequence on some backend.

use crate::{Error, Hyperparameters, State};

/// Whose logits a forward pass returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// No token's: only the state is to advance.
    Nothing,
    /// The last token's, `[1, vocab]`.
    Last,
    /// Every token's, `[tokens, vocab]`.
    All,
}

impl Wanted {
    /// How many of `tokens` tokens that is.
    pub fn count(self, tokens: usize) -> usize {
        match self {
            Wanted::Nothing => 0,
            Wanted::Last => tokens.min(1),
            Wanted::All => tokens,
        }
    }
}

/// A sequence of tokens being read by a model. The result never depends on how the tokens are cut into calls.
pub trait Session {
    /// Sizes of the model behind.
    fn hyperparameters(&self) -> &Hyperparameters;

    /// Reads `tokens`, advancing the state, and returns the logits `[wanted tokens, vocab]`.
    ///
    /// No tokens at all is no error: the state stays and the result is empty.
    ///
    /// # Errors
    /// [`Error::Token`] for an unknown id, before anything is computed; [`Error::NonFinite`] when the numbers run
    /// away, after which the state is of no use until [`reset`](Session::reset); errors of the backend.
    fn forward(&mut self, tokens: &[u32], wanted: Wanted) -> Result<Vec<f32>, Error>;

    /// A copy of the present state.
    ///
    /// # Errors
    /// Errors of the backend.
    fn state(&mut self) -> Result<State, Error>;

    /// Continues from `state` instead.
    ///
    /// # Errors
    /// [`Error::StateShape`] if it belongs to another model; errors of the backend.
    fn set_state(&mut self, state: &State) -> Result<(), Error>;

    /// Back to the start of a sequence.
    fn reset(&mut self);
}
