//! What goes wrong with a cache's folder, which stops nobody.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;

/// Faults that are remembered until they are asked for.
#[cfg(not(target_arch = "wasm32"))]
const MOST_FAULTS: usize = 16;

/// What went wrong with the files of a [cache](crate::PrefixCache)'s folder: such files are passed over. It may be asked
/// while an engine has the cache, and after that.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Error>>>);

impl Faults {
    /// What went wrong since this was last asked; the first few, if it was much.
    pub fn take(&self) -> Vec<Error> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn note(&self, fault: Error) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() < MOST_FAULTS {
            faults.push(fault);
        }
    }
}
