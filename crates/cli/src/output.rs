//! Standard output for results, standard error for everything else.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

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
    ProgressBar::new(length as u64)
        .with_style(style(TEMPLATE))
        .with_prefix(doing)
}

/// A bar on standard error that counts bytes and clears itself. It appears on a terminal alone, and only once the work
/// has taken long enough to wonder about.
pub(crate) struct BytesProgress {
    bar: ProgressBar,
    start: Instant,
}

impl BytesProgress {
    const PATIENCE: Duration = Duration::from_millis(500);

    pub(crate) fn new(doing: &'static str) -> BytesProgress {
        const TEMPLATE: &str = "{prefix} {bar:32} {binary_bytes}/{binary_total_bytes} ({eta} left)";
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
            .with_style(style(TEMPLATE))
            .with_prefix(doing)
            .with_finish(ProgressFinish::AndClear);
        BytesProgress {
            bar,
            start: Instant::now(),
        }
    }

    pub(crate) fn set(&self, done_bytes: u64, total_bytes: u64) {
        if self.bar.is_hidden() && self.start.elapsed() > Self::PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total_bytes);
        self.bar.set_position(done_bytes);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
