//! Tunings that `thalweg tune` found, kept in the cache folder: a file for each device, model and arithmetic.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thalweg_rwkv::{Tuning, TuningKey};

use crate::failure::Failure;

/// A file of ours is far shorter.
const MOST_BYTES: u64 = 1 << 16;

/// Where the tuning for `key` is kept.
pub(crate) fn path(folder: &Path, key: &TuningKey) -> PathBuf {
    folder.join(format!("tuning-{}.json", key.short()))
}

/// The tuning for `key`; none if there is no file.
///
/// # Errors
/// Says what is wrong with the file.
pub(crate) fn load(path: &Path, key: &TuningKey) -> Result<Option<Tuning>, String> {
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| error.to_string())?,
    };
    file.take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    let mut stored: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if stored["for"] != key.to_string() {
        return Err("it was made for another device, model or version".to_owned());
    }
    serde_json::from_value(stored["tuning"].take())
        .map(Some)
        .map_err(|error| error.to_string())
}

/// Keeps the tuning in one step, so that no other process ever finds half of it.
pub(crate) fn save(path: &Path, key: &TuningKey, tuning: &Tuning) -> Result<(), Failure> {
    let contents = json!({ "for": key.to_string(), "tuning": tuning });
    replace(path, &format!("{contents:#}\n")).map_err(|error| Failure::path("write", path, &error))
}

fn replace(path: &Path, contents: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(contents.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
