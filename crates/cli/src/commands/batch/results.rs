//! Where the lines of the output go, and in which order.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::entry::Id;
use super::progress::Tally;
use super::resume;
use crate::failure::Failure;
use crate::output;

/// The output of a job.
pub(super) struct Results {
    to: Destination,
    order: Option<Order>,
}

enum Destination {
    StandardOutput,
    File(PathBuf, File),
}

/// Lines wait here for those before them. There are never more than the budget lets in.
#[derive(Default)]
struct Order {
    next: u64,
    waiting: BTreeMap<u64, Finished>,
}

/// A line that is done with.
pub(super) struct Finished {
    /// What is to be written; nothing if it stands there from before.
    pub(super) text: Option<String>,
    /// What it takes of the budget.
    pub(super) bytes: u64,
    /// What it adds to the tally once it is written.
    pub(super) counts: Tally,
}

impl Results {
    /// Opens a file, or standard output by the name `-`. Returns the ids that it has replies to.
    pub(super) fn open(path: &Path, is_ordered: bool) -> Result<(Self, HashSet<Id>), Failure> {
        let (to, known) = match path == Path::new("-") {
            true => (Destination::StandardOutput, HashSet::new()),
            false => open_file(path)?,
        };
        let order = is_ordered.then(Order::default);
        Ok((Self { to, order }, known))
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        match &self.to {
            Destination::StandardOutput => "standard output".to_owned(),
            Destination::File(path, _) => path.display().to_string(),
        }
    }

    pub(super) fn is_standard_output(&self) -> bool {
        matches!(self.to, Destination::StandardOutput)
    }

    /// Takes what became of the line at `position`; every line must come. Returns those that are written now.
    pub(super) fn put(
        &mut self,
        position: u64,
        finished: Finished,
    ) -> Result<Vec<Finished>, Failure> {
        let ready = match &mut self.order {
            None => vec![finished],
            Some(order) => order.put(position, finished),
        };
        for text in ready.iter().filter_map(|finished| finished.text.as_ref()) {
            self.to.write(format!("{text}\n").as_bytes())?;
        }
        Ok(ready)
    }
}

impl Order {
    /// Those whose turn it is now.
    fn put(&mut self, position: u64, finished: Finished) -> Vec<Finished> {
        self.waiting.insert(position, finished);
        let mut ready = Vec::new();
        while let Some(finished) = self.waiting.remove(&self.next) {
            ready.push(finished);
            self.next += 1;
        }
        ready
    }
}

impl Destination {
    /// A line is written as a whole and at once, so that what is done stays done.
    fn write(&mut self, line: &[u8]) -> Result<(), Failure> {
        match self {
            Self::StandardOutput => output::write(line),
            Self::File(path, file) => file.write_all(line).map_err(|error| match error.kind() {
                ErrorKind::BrokenPipe => Failure::BrokenPipe,
                _ => Failure::path("write", path, &error),
            }),
        }
    }
}

/// A file is gone on with; a pipe or a device has nothing to go on with.
fn open_file(path: &Path) -> Result<(Destination, HashSet<Id>), Failure> {
    let is_file = path.metadata().is_ok_and(|about| about.is_file());
    let known = match is_file {
        true => resume::tidy(path)?,
        false => HashSet::new(),
    };
    let opened = File::options().append(true).create(true).open(path);
    let file = opened.map_err(|error| Failure::path("write", path, &error))?;
    Ok((Destination::File(path.to_owned(), file), known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_for_those_before_them() {
        let mut order = Order::default();
        let mut put = |position| {
            let finished = Finished {
                text: None,
                bytes: position,
                counts: Tally::default(),
            };
            let ready = order.put(position, finished);
            ready.iter().map(|ready| ready.bytes).collect::<Vec<_>>()
        };
        assert!(put(2).is_empty());
        assert!(put(1).is_empty());
        assert_eq!(put(0), [0, 1, 2]);
        assert_eq!(put(3), [3]);
    }
}
