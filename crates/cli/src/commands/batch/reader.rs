//! Reads the input on a thread of its own, as far ahead as the budget allows.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::budget::Budget;
use super::entry::{Entry, Id, Mistake};
use super::job::Event;
use super::lines::{Lines, RawLine};
use super::requests::{Requests, Task};
use crate::failure::Failure;

/// Bytes of a line at most. The engine's queue holds the tokens of the longest.
pub(super) const LONGEST_LINE: usize = 64 << 20;

/// Where the lines come from.
pub(super) struct Input {
    /// Its name in messages.
    pub(super) name: String,
    /// Bytes of a file; what comes through a pipe ends when it ends.
    pub(super) length: Option<u64>,
    reader: Box<dyn BufRead + Send>,
}

impl Input {
    /// Opens a file, or standard input by the name `-`.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            if io::stdin().is_terminal() {
                return Err(Failure::Usage(
                    "there are no prompts: standard input is a terminal, expected -i FILE or a pipe; give one of these"
                        .to_owned(),
                ));
            }
            return Ok(Self {
                name: "standard input".to_owned(),
                length: None,
                reader: Box::new(BufReader::new(io::stdin())),
            });
        }
        let cannot_read = |error| Failure::path("read", path, &error);
        let mut reader = BufReader::new(File::open(path).map_err(cannot_read)?);
        reader.fill_buf().map_err(cannot_read)?; // a folder can be opened, but not read
        let about = reader.get_ref().metadata().map_err(cannot_read)?;
        Ok(Self {
            name: path.display().to_string(),
            length: about.is_file().then_some(about.len()),
            reader: Box::new(reader),
        })
    }
}

/// A line of the input, understood as far as that goes without the model.
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// Which line it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Counted from 1.
    pub(super) number: u64,
    /// Counts the lines that are not blank, from 0.
    pub(super) position: u64,
    /// What it takes of the budget.
    pub(super) bytes: u64,
}

pub(super) enum Content {
    Task(Id, Box<Task>),
    /// There is a reply to it from before.
    Known,
    Mistake(Mistake),
}

/// What the thread works with.
pub(super) struct Reader {
    pub(super) input: Input,
    pub(super) requests: Requests,
    /// Ids with a reply from before.
    pub(super) known: HashSet<Id>,
    pub(super) budget: Arc<Budget>,
    pub(super) events: Sender<Event>,
}

impl Reader {
    /// Reads on to the end, of which the last event tells. The thread ends with the program at the latest: nothing can
    /// be waiting for it when standard input never ends.
    pub(super) fn spawn(self) -> Result<(), Failure> {
        let thread = std::thread::Builder::new().name("reader".to_owned());
        let run = move || {
            let events = self.events.clone();
            let end = self.read_all();
            let _ = events.send(Event::InputEnd(end)); // who does not listen has ended already
        };
        let started = thread.spawn(run);
        started.map(drop).map_err(|error| {
            Failure::Device(format!(
                "cannot start a thread: {error}; end other programs"
            ))
        })
    }

    fn read_all(self) -> Result<(), Failure> {
        let mut lines = Lines::new(self.input.reader, LONGEST_LINE);
        let understanding = Understanding {
            requests: self.requests,
            known: self.known,
        };
        let mut seen = HashMap::new();
        let mut position = 0;
        loop {
            let raw = lines.next().map_err(|error| {
                Failure::Path(format!(
                    "cannot read {} on: {error}; run the same command again when it can be read",
                    self.input.name
                ))
            })?;
            let Some(raw) = raw else { return Ok(()) };
            if raw
                .content
                .as_ref()
                .is_some_and(|line| line.trim_ascii().is_empty())
            {
                continue;
            }
            let (number, bytes) = (raw.number, raw.length.min(LONGEST_LINE as u64));
            let content = understanding.of(raw, &mut seen);
            self.budget.take(bytes);
            let place = Place {
                number,
                position,
                bytes,
            };
            let line = Line {
                place,
                content: content.unwrap_or_else(Content::Mistake),
            };
            if self.events.send(Event::Line(line)).is_err() {
                return Ok(());
            }
            position += 1;
        }
    }
}

/// What makes sense of lines.
struct Understanding {
    requests: Requests,
    known: HashSet<Id>,
}

impl Understanding {
    /// `seen` has the ids of earlier lines with their numbers.
    fn of(&self, raw: RawLine, seen: &mut HashMap<Id, u64>) -> Result<Content, Mistake> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let number = raw.number;
        let Some(line) = raw.content else {
            return Err(Mistake {
                id: Id::Number(number),
                what: format!(
                    "it has {} bytes, expected {LONGEST_LINE} at most; give it in parts",
                    raw.length
                ),
            });
        };
        let line = match number {
            1 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line),
            _ => &line,
        };
        let entry = Entry::parse(number, line)?;
        let id = entry.id.clone();
        if let Some(first) = seen.get(&id) {
            let what = format!(
                "id {id} is that of line {first} too, expected one that no other line has; give it another (a line without \
                 one has its number)"
            );
            return Err(Mistake { id, what });
        }
        seen.insert(id.clone(), number);
        if self.known.contains(&id) {
            return Ok(Content::Known);
        }
        match self.requests.make(number, entry) {
            Ok(task) => Ok(Content::Task(id, Box::new(task))),
            Err(error) => Err(Mistake {
                id,
                what: error.to_string(),
            }),
        }
    }
}
