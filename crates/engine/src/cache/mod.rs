//! States worth returning to.

#[cfg(not(target_arch = "wasm32"))]
mod disk;
mod faults;
mod radix;
mod tier;

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;

pub use faults::Faults;
pub(crate) use tier::Tier;

use crate::Snapshot;
use crate::state_file::MOST_TOKENS;
#[cfg(not(target_arch = "wasm32"))]
use crate::{Error, StateFormat};

/// Remembers the states after some sequences of tokens, so that a sequence which begins with one of them is read from
/// there. A recurrent state has the same size after any number of tokens, so a hit costs the same at any length.
///
/// States are kept in memory up to a limit in bytes; those used longest ago leave first. A [folder](Self::with_folder)
/// may take what leaves, and in the end all of it, and outlives the program. An [`Engine`](crate::Engine) puts the spare
/// slots of its batch in front, from which states need not travel.
///
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use thalweg_engine::{PrefixCache, Snapshot};
/// # use thalweg_gguf::GgufFile;
/// # use thalweg_rwkv::{CpuModel, CpuSession, Session, Wanted};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = GgufFile::open(Path::new("../../assets/thalweg-demo-29m-q4_k_m.gguf"))?;
/// let mut session = CpuSession::new(Arc::new(CpuModel::load(file)?));
/// let mut cache = PrefixCache::new(64 << 20);
/// let logits = Some(session.forward(&[1, 2, 3], Wanted::Last)?);
/// cache.insert(&[1, 2, 3], Arc::new(Snapshot { state: session.state()?, logits }));
/// let known = cache.find(&[1, 2, 3, 4]).map(|(known, _)| known);
/// assert_eq!(known, Some(3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PrefixCache {
    memory: Tier<Arc<Snapshot>>,
    limit: u64,
    /// Tokens between two snapshots within a prompt.
    stride: Option<usize>,
    #[cfg(not(target_arch = "wasm32"))]
    disk: Option<disk::DiskTier>,
    faults: Faults,
}

impl PrefixCache {
    /// Tokens between two snapshots within a long prompt.
    pub const STRIDE: usize = 1024;

    /// A cache of at most so many bytes of memory.
    pub fn new(bytes: u64) -> Self {
        Self {
            memory: Tier::new(),
            limit: bytes,
            stride: Some(Self::STRIDE),
            #[cfg(not(target_arch = "wasm32"))]
            disk: None,
            faults: Faults::default(),
        }
    }

    /// Takes no snapshots within prompts, but at their ends alone: for texts that only ever grow at their end.
    pub fn at_ends_alone(mut self) -> Self {
        self.stride = None;
        self
    }

    /// Keeps what leaves the memory in a folder, and all of it at the end, and finds there what was kept before. The
    /// model's files there take at most `bytes`; those used longest ago are deleted first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder can be neither made nor read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_folder(
        mut self,
        folder: &Path,
        format: StateFormat,
        bytes: u64,
    ) -> Result<Self, Error> {
        self.disk = Some(disk::DiskTier::open(folder, format, bytes, &self.faults)?);
        Ok(self)
    }

    /// Where to ask what went wrong with the folder's files.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Whether anything that is inserted has a place to stay.
    pub(crate) fn has_room(&self) -> bool {
        self.limit > 0 || self.has_folder()
    }

    /// Whether anything outlives the cache.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn has_folder(&self) -> bool {
        self.disk.is_some()
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn has_folder(&self) -> bool {
        false
    }

    /// Tokens between two snapshots within a prompt, if there are any.
    pub(crate) fn stride(&self) -> Option<usize> {
        self.stride
    }

    /// The state after the longest known beginning of `tokens`, and the length of that. All of them count only if the
    /// logits there are known.
    pub fn find(&mut self, tokens: &[u32]) -> Option<(usize, Arc<Snapshot>)> {
        let (known, snapshot) = self.find_in_memory(tokens);
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(found) = self.find_on_disk(tokens, known) {
            return Some(found);
        }
        snapshot.map(|snapshot| (known, snapshot))
    }

    /// The length of the longest known beginning of `tokens`; nothing is read from the folder for it.
    pub(crate) fn known(&mut self, tokens: &[u32]) -> usize {
        let (known, _) = self.find_in_memory(tokens);
        #[cfg(not(target_arch = "wasm32"))]
        let known = self
            .disk
            .as_mut()
            .and_then(|disk| disk.longest(tokens, known))
            .unwrap_or(known);
        known
    }

    fn find_in_memory(&mut self, tokens: &[u32]) -> (usize, Option<Arc<Snapshot>>) {
        let accepts = |length: usize, snapshot: &Arc<Snapshot>| {
            length < tokens.len() || snapshot.logits.is_some()
        };
        let found = self.memory.find(tokens, accepts);
        found.map_or((0, None), |(length, snapshot)| {
            (length, Some(Arc::clone(snapshot)))
        })
    }

    /// The same in the folder, if it knows more; then it is in memory from now on.
    #[cfg(not(target_arch = "wasm32"))]
    fn find_on_disk(&mut self, tokens: &[u32], known: usize) -> Option<(usize, Arc<Snapshot>)> {
        loop {
            let disk = self.disk.as_mut()?;
            let length = disk.longest(tokens, known)?;
            match disk.load(&tokens[..length]) {
                Ok(Some(snapshot)) => {
                    let snapshot = Arc::new(snapshot);
                    self.insert(&tokens[..length], Arc::clone(&snapshot));
                    return Some((length, snapshot));
                }
                Ok(None) => {}
                Err(fault) => self.faults.note(fault),
            }
        }
    }

    /// Remembers the state after `tokens`, from the beginning of a sequence.
    pub fn insert(&mut self, tokens: &[u32], snapshot: Arc<Snapshot>) {
        if tokens.is_empty() || tokens.len() > MOST_TOKENS {
            return;
        }
        let bytes = snapshot.bytes();
        self.memory.insert(tokens, snapshot, bytes);
        while self.memory.bytes() > self.limit {
            let Some((tokens, snapshot)) = self.memory.pop_oldest() else {
                return;
            };
            self.keep(&tokens, &snapshot);
        }
    }

    /// Whether the state after these very tokens is known, and the logits too. Counts as a use.
    pub(crate) fn knows(&mut self, tokens: &[u32]) -> bool {
        let accepts = |length: usize, snapshot: &Arc<Snapshot>| {
            length == tokens.len() && snapshot.logits.is_some()
        };
        self.memory.find(tokens, accepts).is_some()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn keep(&mut self, tokens: &[u32], snapshot: &Snapshot) {
        let Some(disk) = &mut self.disk else { return };
        if let Err(fault) = disk.save(tokens, snapshot, &self.faults) {
            self.faults.note(fault);
        }
    }

    #[cfg(target_arch = "wasm32")]
    fn keep(&mut self, _tokens: &[u32], _snapshot: &Snapshot) {}
}

/// What is in memory goes to the folder, if there is one.
impl Drop for PrefixCache {
    fn drop(&mut self) {
        while let Some((tokens, snapshot)) = self.memory.pop_oldest() {
            self.keep(&tokens, &snapshot);
        }
    }
}
