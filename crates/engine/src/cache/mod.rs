//! States worth returning to.

#[cfg(not(target_arch = "wasm32"))]
mod disk;
mod radix;
mod tier;

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use thalweg_rwkv::Session;
pub(crate) use tier::Tier;

#[cfg(not(target_arch = "wasm32"))]
use crate::StateFormat;
use crate::state_file::MOST_TOKENS;
use crate::{ChunkSize, Error, Prefill, Snapshot, prefill};

/// Faults of the folder that are remembered until they are asked for.
#[cfg(not(target_arch = "wasm32"))]
const MOST_FAULTS: usize = 16;

/// Remembers the states after some sequences of tokens, so that a sequence which begins with one of them is read from
/// there. A recurrent state has the same size after any number of tokens, so a hit costs the same at any length.
///
/// States are kept in memory up to a limit in bytes; those used longest ago leave first. A [folder](Self::with_folder)
/// may take what leaves, and outlives the program. An [`Engine`](crate::Engine) puts the spare slots of its batch in front,
/// from which states need not travel.
///
/// ```
/// # use std::{path::Path, sync::Arc, sync::atomic::AtomicBool};
/// # use thalweg_engine::{ChunkSize, PrefixCache};
/// # use thalweg_gguf::GgufFile;
/// # use thalweg_rwkv::{CpuModel, CpuSession};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = GgufFile::open(Path::new("../../assets/thalweg-demo-29m-q4_k_m.gguf"))?;
/// let mut session = CpuSession::new(Arc::new(CpuModel::load(file)?));
/// let mut cache = PrefixCache::new(64 << 20);
/// let interrupt = AtomicBool::new(false);
/// let mut read = |tokens: &[u32]| {
///     cache.read(&mut session, tokens, ChunkSize::default(), &interrupt, &mut |_| {})
/// };
/// assert_eq!(read(&[1, 2, 3])?.tokens, 3);
/// assert_eq!(read(&[1, 2, 3, 4])?.tokens, 1); // the others were known
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
    faults: Vec<Error>,
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
            faults: Vec::new(),
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
        let mut faults = Vec::new();
        self.disk = Some(disk::DiskTier::open(folder, format, bytes, &mut faults)?);
        faults.into_iter().for_each(|fault| self.note(fault));
        Ok(self)
    }

    /// What went wrong with the folder's files since this was last asked: such files are passed over.
    pub fn take_faults(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.faults)
    }

    /// Whether anything that is inserted has a place to stay.
    pub(crate) fn has_room(&self) -> bool {
        #[cfg(not(target_arch = "wasm32"))]
        let has_folder = self.disk.is_some();
        #[cfg(target_arch = "wasm32")]
        let has_folder = false;
        self.limit > 0 || has_folder
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
    pub fn known(&mut self, tokens: &[u32]) -> usize {
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
                Err(fault) => self.note(fault),
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

    /// Whether the state after these very tokens is known, and the logits too if they are wanted. Counts as a use.
    pub(crate) fn knows(&mut self, tokens: &[u32], with_logits: bool) -> bool {
        let accepts = |length: usize, snapshot: &Arc<Snapshot>| {
            length == tokens.len() && snapshot.logits.is_some() >= with_logits
        };
        self.memory.find(tokens, accepts).is_some()
    }

    /// Brings what is in memory into the folder too, if there is one, and says what went wrong. This happens by itself when
    /// the cache is dropped, but then nobody hears of it.
    pub fn close(mut self) -> Vec<Error> {
        self.empty();
        self.take_faults()
    }

    fn empty(&mut self) {
        while let Some((tokens, snapshot)) = self.memory.pop_oldest() {
            self.keep(&tokens, &snapshot);
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn keep(&mut self, tokens: &[u32], snapshot: &Snapshot) {
        let Some(disk) = &mut self.disk else { return };
        let mut faults = Vec::new();
        let saved = disk.save(tokens, snapshot, &mut faults);
        faults.extend(saved.err());
        faults.into_iter().for_each(|fault| self.note(fault));
    }

    #[cfg(target_arch = "wasm32")]
    fn keep(&mut self, _tokens: &[u32], _snapshot: &Snapshot) {}

    #[cfg(not(target_arch = "wasm32"))]
    fn note(&mut self, fault: Error) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Remembers the session's state, which is that after `tokens` from the beginning, and the logits there.
    ///
    /// # Errors
    ///
    /// What the session reports on reading its state.
    pub fn remember(
        &mut self,
        session: &mut dyn Session,
        tokens: &[u32],
        logits: Option<&[f32]>,
    ) -> Result<(), Error> {
        if !self.knows(tokens, logits.is_some()) {
            let snapshot = Snapshot {
                state: session.state()?,
                logits: logits.map(<[f32]>::to_vec),
            };
            self.insert(tokens, Arc::new(snapshot));
        }
        Ok(())
    }

    /// Brings the session to the end of `tokens`, from the longest known beginning, and remembers the states on the way.
    /// `on_progress` is told the number of tokens read so far.
    ///
    /// # Errors
    ///
    /// As for [`prefill`](crate::prefill()). What was read until then is remembered up to the last snapshot.
    pub fn read(
        &mut self,
        session: &mut dyn Session,
        tokens: &[u32],
        chunk_size: ChunkSize,
        interrupt: &AtomicBool,
        on_progress: &mut dyn FnMut(usize),
    ) -> Result<Prefill, Error> {
        if tokens.is_empty() {
            return Err(Error::NothingToRead);
        }
        let (known, logits) = self.resume(session, tokens)?;
        let mut whole = Prefill {
            logits: logits.unwrap_or_default(),
            tokens: 0,
            elapsed: Default::default(),
        };
        let mut at = known;
        while at < tokens.len() {
            let end = self.next_stop(at).min(tokens.len());
            let part = &tokens[at..end];
            let mut on_part = |read| on_progress(at - known + read);
            let read = prefill(session, part, chunk_size, interrupt, &mut on_part);
            let read = read.map_err(|error| match error {
                Error::Interrupted { read, .. } => Error::Interrupted {
                    read: at - known + read,
                    total: tokens.len() - known,
                },
                error => error,
            })?;
            self.remember(session, &tokens[..end], Some(&read.logits))?;
            at = end;
            whole.logits = read.logits;
            whole.tokens += read.tokens;
            whole.elapsed += read.elapsed;
        }
        Ok(whole)
    }

    fn next_stop(&self, at: usize) -> usize {
        match self.stride {
            Some(stride) => (at / stride + 1) * stride,
            None => usize::MAX,
        }
    }

    /// Puts the session into the state after the longest known beginning of `tokens`, or to its start.
    fn resume(
        &mut self,
        session: &mut dyn Session,
        tokens: &[u32],
    ) -> Result<(usize, Option<Vec<f32>>), Error> {
        let Some((known, snapshot)) = self.find(tokens) else {
            session.reset();
            return Ok((0, None));
        };
        session.set_state(&snapshot.state)?;
        Ok((known, snapshot.logits.clone()))
    }
}

impl Drop for PrefixCache {
    fn drop(&mut self) {
        self.empty();
    }
}
