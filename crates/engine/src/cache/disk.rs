//! States that outlive the program: a folder of state files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::faults::Faults;
use super::tier::Tier;
use crate::state_file::{MOST_TOKENS, Peeked};
use crate::{Error, Snapshot, StateFormat};

/// Files of one model that are looked at when the folder is opened.
const MOST_FILES: usize = 1 << 16;
const EXTENSION: &str = "state";

/// The states of one model in a folder, which may hold those of others too.
#[derive(Debug)]
pub(super) struct DiskTier {
    folder: PathBuf,
    format: StateFormat,
    tier: Tier<Kept>,
    limit: u64,
}

/// A file, by what needs to be known without opening it.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    has_logits: bool,
}

impl DiskTier {
    /// Opens a folder, which is made if it does not exist. Files that cannot be used are left alone and told about.
    pub(super) fn open(
        folder: &Path,
        format: StateFormat,
        limit: u64,
        faults: &Faults,
    ) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(|error| Error::io("write", folder, error))?;
        let mut disk = Self {
            folder: folder.to_owned(),
            format,
            tier: Tier::new(),
            limit,
        };
        for (_, path) in disk.files()? {
            match disk.format.peek(&path) {
                Ok(peeked) => disk.list(&peeked, path),
                Err(error) => faults.note(error),
            }
        }
        disk.make_room(faults);
        Ok(disk)
    }

    /// The files of this model by their time of last use, oldest first.
    fn files(&self) -> Result<Vec<(SystemTime, PathBuf)>, Error> {
        let prefix = self.prefix();
        let entries = fs::read_dir(&self.folder);
        let entries = entries.map_err(|error| Error::io("read", &self.folder, error))?;
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            path.extension()
                .is_some_and(|extension| extension == EXTENSION)
                && name.is_some_and(|name| name.starts_with(&prefix))
        };
        let dated = |path: PathBuf| {
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
            Some((modified.ok()?, path))
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files: Vec<_> = paths
            .filter(is_ours)
            .filter_map(dated)
            .take(MOST_FILES)
            .collect();
        files.sort();
        Ok(files)
    }

    fn prefix(&self) -> String {
        let origin = self.format.origin();
        format!("{:016x}-{:016x}-", origin.model, origin.adapter)
    }

    fn path(&self, tokens: &[u32]) -> PathBuf {
        let mut checksum = crc32fast::Hasher::new();
        tokens
            .iter()
            .for_each(|token| checksum.update(&token.to_le_bytes()));
        let (prefix, length, checksum) = (self.prefix(), tokens.len(), checksum.finalize());
        let name = format!("{prefix}{length}-{checksum:08x}.{EXTENSION}");
        self.folder.join(name)
    }

    fn list(&mut self, peeked: &Peeked, path: PathBuf) {
        let kept = Kept {
            path,
            has_logits: peeked.has_logits,
        };
        self.tier.insert(&peeked.tokens, kept, peeked.bytes);
    }

    /// The length of the longest beginning of `tokens` that a file is for, if more than `more_than`.
    pub(super) fn longest(&mut self, tokens: &[u32], more_than: usize) -> Option<usize> {
        let accepts = |length: usize, kept: &Kept| {
            length > more_than && (length < tokens.len() || kept.has_logits)
        };
        self.tier.find(tokens, accepts).map(|(length, _)| length)
    }

    /// Reads the state after these very tokens. A file that turns out to be no good is forgotten.
    pub(super) fn load(&mut self, tokens: &[u32]) -> Result<Option<Snapshot>, Error> {
        let Some((_, kept)) = self.tier.find(tokens, |length, _| length == tokens.len()) else {
            return Ok(None);
        };
        let path = kept.path.clone();
        match self.format.load(&path) {
            Ok(saved) if saved.tokens == tokens => {
                mark_as_used(&path);
                Ok(Some(saved.snapshot))
            }
            // Another program replaced the file, by one for other tokens of the same name.
            Ok(_) => {
                self.tier.take(tokens);
                Ok(None)
            }
            Err(error) => {
                self.tier.take(tokens);
                Err(error)
            }
        }
    }

    /// Writes the state after `tokens`, unless there is one already that is as good.
    pub(super) fn save(
        &mut self,
        tokens: &[u32],
        snapshot: &Snapshot,
        faults: &Faults,
    ) -> Result<(), Error> {
        let has_logits = snapshot.logits.is_some();
        let is_as_good =
            |length: usize, kept: &Kept| length == tokens.len() && kept.has_logits >= has_logits;
        if tokens.len() > MOST_TOKENS || self.tier.find(tokens, is_as_good).is_some() {
            return Ok(());
        }
        let path = self.path(tokens);
        let bytes = self.format.save(&path, tokens, snapshot)?;
        let peeked = Peeked {
            tokens: tokens.to_vec(),
            bytes,
            has_logits,
        };
        self.list(&peeked, path);
        self.make_room(faults);
        Ok(())
    }

    fn make_room(&mut self, faults: &Faults) {
        while self.tier.bytes() > self.limit {
            let Some((_, kept)) = self.tier.pop_oldest() else {
                return;
            };
            match fs::remove_file(&kept.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    faults.note(Error::io("delete", &kept.path, error));
                }
                _ => {}
            }
        }
    }
}

/// For the order of use the next time the folder is opened; nothing is lost if that fails.
fn mark_as_used(path: &Path) {
    let file = File::options().write(true).open(path);
    let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
}
