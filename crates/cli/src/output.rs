//! Standard output for results, standard error for everything else.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// Writes to standard output at once. A reader that went away is no error but the end of the work.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::Path(format!(
                "cannot write to standard output: {error}; check where it leads"
            )),
        })
}

/// Writes one line to standard output.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes one line to standard error. If nobody listens there, nobody can be told.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes to standard error without ending the line.
pub(crate) fn note_part(text: impl Display) {
    let _ = write!(io::stderr().lock(), "{text}");
}

/// Whether a person watches both the results and the notes.
pub(crate) fn is_watched() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// A bar on standard error that clears itself. It is invisible unless that is a terminal and the work has several steps.
pub(crate) fn progress(length: usize, step: usize, doing: &'static str) -> ProgressBar {
    const TEMPLATE: &str = "{prefix} {bar:32} {pos}/{len} {msg} ({eta} left)";
    if length <= step {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64)
        .with_style(style)
        .with_prefix(doing)
}
