//! States worth returning to.

use std::collections::VecDeque;

use thalweg_rwkv::{Session, State};

use crate::Error;

/// Remembers the states after some token sequences, so that a sequence which begins with one of them is read from
/// there. A recurrent state has the same size after any number of tokens, which makes this cheap.
#[derive(Debug)]
pub struct PrefixCache {
    snapshots: VecDeque<Snapshot>,
    capacity: usize,
}

#[derive(Debug)]
struct Snapshot {
    tokens: Vec<u32>,
    state: State,
    logits: Vec<f32>,
}

impl PrefixCache {
    /// A cache of at most `capacity` states, at least one; the oldest leaves first.
    pub fn new(capacity: usize) -> Self {
        Self {
            snapshots: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    /// Remembers the session's state, which is that after `tokens`, and the logits there.
    ///
    /// # Errors
    ///
    /// What the session reports on reading its state.
    pub fn remember(
        &mut self,
        session: &mut dyn Session,
        tokens: &[u32],
        logits: &[f32],
    ) -> Result<(), Error> {
        self.snapshots.retain(|snapshot| snapshot.tokens != tokens);
        if self.snapshots.len() == self.capacity {
            self.snapshots.pop_front();
        }
        let state = session.state()?;
        self.snapshots.push_back(Snapshot {
            tokens: tokens.to_vec(),
            state,
            logits: logits.to_vec(),
        });
        Ok(())
    }

    /// Puts the session into the state after the longest remembered beginning of `tokens` and returns that
    /// beginning's length and the logits there. Without one the session is reset and the length is 0.
    ///
    /// # Errors
    ///
    /// What the session reports on writing its state.
    pub fn resume(
        &self,
        session: &mut dyn Session,
        tokens: &[u32],
    ) -> Result<(usize, Option<&[f32]>), Error> {
        let longest = self
            .snapshots
            .iter()
            .filter(|snapshot| tokens.starts_with(&snapshot.tokens))
            .max_by_key(|snapshot| snapshot.tokens.len());
        let Some(snapshot) = longest else {
            session.reset();
            return Ok((0, None));
        };
        session.set_state(&snapshot.state)?;
        Ok((snapshot.tokens.len(), Some(&snapshot.logits)))
    }
}
