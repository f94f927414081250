//! Where the program keeps what it has worked out and could work out again.

use std::env;
use std::path::PathBuf;

/// The variable that names another folder.
const VARIABLE: &str = "THALWEG_CACHE_DIR";

/// The folder, which may not exist yet; none where the system tells of no place for it.
pub(crate) fn folder() -> Option<PathBuf> {
    variable(VARIABLE).or_else(|| Some(of_the_user()?.join("thalweg")))
}

/// Where programs of this user keep such things.
fn of_the_user() -> Option<PathBuf> {
    if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        Some(variable("HOME")?.join("Library/Caches"))
    } else {
        // A relative path there is to be ignored, says the XDG Base Directory Specification.
        variable("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| Some(variable("HOME")?.join(".cache")))
    }
}

/// A path from the environment.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
