//! The job: lines go from the reader to the engine, and what comes of them to the output.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use serde::Serialize;
use thalweg_engine::{Error, Handle, Request};

use super::budget::Budget;
use super::entry::{Id, Mistake};
use super::progress::{Progress, Tally};
use super::reader::{Content, Line, Place};
use super::reply::{Fault, Generated, Reply};
use super::requests::Task;
use super::results::{Finished, Results};
use crate::failure::Failure;
use crate::model::BatchEngine;

/// How often an interrupt is looked for while nothing else happens.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the job waits for.
pub(super) enum Event {
    /// From the reader.
    Line(Line),
    /// From the reader, which reads no more.
    InputEnd(Result<(), Failure>),
    /// From the engine: nothing more is generated for the line at this position.
    Generated(u64, Generated),
}

/// Everything that a job works with.
pub(super) struct Job {
    pub(super) engine: BatchEngine,
    /// Where mistakes are found.
    pub(super) input_name: String,
    pub(super) results: Results,
    pub(super) budget: Arc<Budget>,
    pub(super) progress: Progress,
    /// Where the engine's thread tells of ends.
    pub(super) ends: Sender<Event>,
    pub(super) running: HashMap<u64, Running>,
    pub(super) tally: Tally,
    /// What went wrong first.
    pub(super) first_mistake: Option<String>,
    /// Tokens generated so far, those of replies that are not complete among them.
    pub(super) tokens: Arc<AtomicU64>,
}

/// A line that the engine works on.
pub(super) struct Running {
    place: Place,
    id: Id,
    seed: u64,
    has_logprobs: bool,
    is_message: bool,
    handle: Handle,
}

impl Job {
    /// Works until all lines are done with. Whatever ends it earlier, replies that are complete by then are written.
    pub(super) fn work(
        &mut self,
        events: &Receiver<Event>,
        interrupt: &AtomicBool,
    ) -> Result<(), Failure> {
        let worked = self.work_through(events, interrupt);
        if let Err(Failure::Interrupted | Failure::Device(_)) = worked {
            self.keep_complete(events)?;
        }
        worked
    }

    fn work_through(
        &mut self,
        events: &Receiver<Event>,
        interrupt: &AtomicBool,
    ) -> Result<(), Failure> {
        let mut input_end = None;
        loop {
            if interrupt.load(Ordering::Relaxed) {
                return Err(Failure::Interrupted);
            }
            if let Some(end) = input_end.take_if(|_| self.running.is_empty()) {
                return end;
            }
            match events.recv_timeout(PATIENCE) {
                Ok(Event::Line(line)) => self.begin(line)?,
                Ok(Event::InputEnd(end)) => input_end = Some(end),
                Ok(Event::Generated(position, generated)) => self.end(position, generated)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            let tokens = self.tokens.load(Ordering::Relaxed);
            self.progress.show(&self.tally, tokens);
        }
    }

    /// An error if some lines failed.
    pub(super) fn failed_lines(&self) -> Result<(), Failure> {
        match &self.first_mistake {
            None => Ok(()),
            Some(first) => Err(Failure::Model(format!(
                "lines failed: {}, as {} says of each; the first: {first}; correct them and run the same command again",
                self.tally.failed,
                self.results.name()
            ))),
        }
    }

    /// Lines that have just ended need not be done again.
    fn keep_complete(&mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        for event in events.try_iter() {
            if let Event::Generated(position, generated) = event {
                match self.end(position, generated) {
                    // the engine failed, which is known
                    Err(Failure::Device(_)) | Ok(()) => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(())
    }

    /// Hands a line to the engine, if there is anything to be done for it.
    fn begin(&mut self, line: Line) -> Result<(), Failure> {
        let Line { place, content } = line;
        let (id, task) = match content {
            Content::Task(id, task) => (id, *task),
            Content::Known => {
                let counts = Tally {
                    skipped: 1,
                    ..Tally::default()
                };
                return self.finish(place, None, counts);
            }
            Content::Mistake(mistake) => return self.fail(place, mistake),
        };
        let Task {
            request,
            is_message,
        } = task;
        let seed = request.sampler.seed;
        let has_logprobs = request.logprobs.is_some();
        match self.submit(place.position, request) {
            Ok(handle) => {
                let running = Running {
                    place,
                    id,
                    seed,
                    has_logprobs,
                    is_message,
                    handle,
                };
                self.running.insert(place.position, running);
                Ok(())
            }
            Err(error) => {
                let what = blame_the_line(error)?;
                self.fail(place, Mistake { id, what })
            }
        }
    }

    /// The reply gathers on the engine's thread, and comes as one event.
    fn submit(&self, position: u64, request: Request) -> Result<Handle, Error> {
        let mut reply = Gathering {
            position,
            generated: Generated::default(),
            ends: self.ends.clone(),
        };
        let tokens = Arc::clone(&self.tokens);
        self.engine.thread.submit_with(request, move |token| {
            tokens.fetch_add(1, Ordering::Relaxed);
            reply.generated.push(token);
            ControlFlow::Continue(())
        })
    }

    /// Writes what came of a line.
    fn end(&mut self, position: u64, generated: Generated) -> Result<(), Failure> {
        let Some(running) = self.running.remove(&position) else {
            return Ok(()); // the engine did not take it, which has been dealt with
        };
        let Running {
            place,
            id,
            seed,
            has_logprobs,
            is_message,
            handle,
        } = running;
        let ending = match handle.collect_text() {
            Ok((_, ending)) => ending,
            Err(error) => {
                let what = blame_the_line(error)?;
                return self.fail(place, Mistake { id, what });
            }
        };
        let logprobs = has_logprobs.then_some(generated.logprobs.as_slice());
        let text = match is_message {
            true => generated.text.trim_start(),
            false => &generated.text,
        };
        let reply = Reply::new(&id, place.number, seed, text, logprobs, &ending);
        let counts = Tally {
            replies: 1,
            prompt_tokens: reply.prompt_tokens as u64,
            tokens: reply.tokens as u64,
            timings: ending.timings,
            ..Tally::default()
        };
        self.finish(place, Some(json(&reply)?), counts)
    }

    fn fail(&mut self, place: Place, mistake: Mistake) -> Result<(), Failure> {
        let line = place.number;
        let error = format!("{}, line {line}: {}", self.input_name, mistake.what);
        let fault = Fault {
            id: &mistake.id,
            line,
            error: &error,
        };
        let text = json(&fault)?;
        self.first_mistake.get_or_insert(error);
        let counts = Tally {
            failed: 1,
            ..Tally::default()
        };
        self.finish(place, Some(text), counts)
    }

    /// Writes what is to be written of a line, and of those that wait for it.
    fn finish(&mut self, place: Place, text: Option<String>, counts: Tally) -> Result<(), Failure> {
        let finished = Finished {
            text,
            bytes: place.bytes,
            counts,
        };
        let write = || self.results.put(place.position, finished);
        for written in self.progress.hide_during(write)? {
            self.tally += written.counts;
            self.progress.advance(written.bytes);
            self.budget.give_back(written.bytes);
        }
        Ok(())
    }
}

/// A reply on its way. It is sent when the engine lets go of it, which it does after the handle knows the end.
struct Gathering {
    position: u64,
    generated: Generated,
    ends: Sender<Event>,
}

impl Drop for Gathering {
    fn drop(&mut self) {
        let generated = std::mem::take(&mut self.generated);
        let _ = self.ends.send(Event::Generated(self.position, generated)); // or nobody listens any more
    }
}

/// What is wrong with one line; the failure of all if it is not the line's fault.
fn blame_the_line(error: Error) -> Result<String, Failure> {
    match error {
        Error::Step(_) | Error::Stopped { .. } => Err(go_on_later(error.into())),
        error => Ok(error.to_string()),
    }
}

fn go_on_later(failure: Failure) -> Failure {
    match failure {
        Failure::Device(message) => Failure::Device(format!(
            "{message}; the replies so far are kept: run the same command again to go on"
        )),
        other => other,
    }
}

fn json(line: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(line)
        .map_err(|error| Failure::Path(format!("cannot write a line of the output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_not_blamed_for_the_engine() {
        let stopped = Error::Stopped {
            reason: "the device was lost".to_owned(),
        };
        let Err(Failure::Device(message)) = blame_the_line(stopped) else {
            panic!("no failure of the device");
        };
        assert!(message.contains("the device was lost") && message.contains("go on"));
        let runaway = Error::Runaway {
            read: 3,
            place: thalweg_rwkv::Place::End,
        };
        assert!(blame_the_line(runaway).is_ok());
    }
}
