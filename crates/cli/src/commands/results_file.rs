//! Files of results, as `thalweg bench` wrote them.

use std::path::Path;

use thalweg_bench::{Error, Report};

use crate::failure::Failure;
use crate::flags;

/// The report in a file.
pub(crate) fn read(path: &Path) -> Result<Report, Failure> {
    Report::from_json(&text(path)?).map_err(|error| failure(path, &error))
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(flags::read_file(path)?).map_err(|error| {
        Failure::Model(format!(
            "{}: {error}, expected text in UTF-8; name a file of results",
            path.display()
        ))
    })
}

/// What is wrong with the contents of a file.
pub(crate) fn failure(path: &Path, error: &Error) -> Failure {
    Failure::Model(format!("{}: {error}", path.display()))
}
