//! Reading a prompt, a chunk of tokens at a time.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thalweg_rwkv::{Session, Wanted};

use crate::Error;

/// Tokens read by one forward pass while a prompt is read: from 1 to [`ChunkSize::MAX`].
///
/// It trades memory (some megabytes of activations for each hundred tokens) for speed; the result does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSize(usize);

impl ChunkSize {
    /// The largest chunk. Beyond some hundred tokens no device gains from more.
    pub const MAX: usize = 4096;

    /// A chunk of `tokens` tokens.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if it is 0 or above [`ChunkSize::MAX`].
    pub fn new(tokens: usize) -> Result<Self, Error> {
        if (1..=Self::MAX).contains(&tokens) {
            Ok(Self(tokens))
        } else {
            Err(out_of_range(tokens.to_string()))
        }
    }

    /// The number of tokens.
    pub fn tokens(self) -> usize {
        self.0
    }
}

impl Default for ChunkSize {
    fn default() -> Self {
        Self(128)
    }
}

impl fmt::Display for ChunkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChunkSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse()
            .map_err(|_| out_of_range(text.to_owned()))
            .and_then(Self::new)
    }
}

fn out_of_range(found: String) -> Error {
    Error::Setting {
        name: "chunk-size",
        found,
        expected: "a whole number from 1 to 4096",
    }
}

/// A prompt that was read.
#[derive(Debug, Clone)]
pub struct Prefill {
    /// Logits after the last token, `[vocab]`.
    pub logits: Vec<f32>,
    /// Tokens read.
    pub tokens: usize,
    /// Time it took.
    pub elapsed: Duration,
}

/// Reads `tokens` into the session, from the state it is in. `on_progress` is told the number of tokens read so far.
///
/// # Errors
///
/// [`Error::NothingToRead`] without tokens, [`Error::Interrupted`] if `interrupt` is raised (looked at before every
/// chunk), or what the session reports. After an error the session's state is that after the last whole chunk.
pub fn prefill(
    session: &mut dyn Session,
    tokens: &[u32],
    chunk_size: ChunkSize,
    interrupt: &AtomicBool,
    on_progress: &mut dyn FnMut(usize),
) -> Result<Prefill, Error> {
    let start = Instant::now();
    let mut logits = None;
    let mut read = 0;
    for chunk in tokens.chunks(chunk_size.tokens()) {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted {
                read,
                total: tokens.len(),
            });
        }
        let last = read + chunk.len() == tokens.len();
        let wanted = if last { Wanted::Last } else { Wanted::Nothing };
        logits = Some(session.forward(chunk, wanted)?);
        read += chunk.len();
        on_progress(read);
    }
    let logits = logits.ok_or(Error::NothingToRead)?;
    Ok(Prefill {
        logits,
        tokens: read,
        elapsed: start.elapsed(),
    })
}
