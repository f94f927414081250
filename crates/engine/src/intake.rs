//! Where requests come in, from any thread.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use thalweg_rwkv::Hyperparameters;
use thalweg_tokenizer::Tokenizer;

use crate::mailbox::{Callback, Mailbox, Outlet};
use crate::queue::{Queue, Weight};
use crate::sequence::Sequence;
use crate::{Error, Handle, Request, Speculation, Token};

/// Hands requests to an [`Engine`](crate::Engine), from any thread and as often as wanted.
#[derive(Clone)]
pub struct Submitter {
    pub(crate) intake: Arc<Intake>,
}

/// What submitters and the engine share.
pub(crate) struct Intake {
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) hp: Hyperparameters,
    pub(crate) longest_reply: usize,
    pub(crate) has_draft_model: AtomicBool,
    pub(crate) line: Mutex<Line>,
    pub(crate) arrived: Condvar,
}

/// The queue, as long as there is an engine.
pub(crate) struct Line {
    pub(crate) queue: Queue<Sequence>,
    /// Why nothing is taken any more.
    pub(crate) closed: Option<String>,
}

impl Submitter {
    pub(crate) fn new(intake: Arc<Intake>) -> Self {
        Self { intake }
    }

    /// See [`Engine::submit`](crate::Engine::submit).
    ///
    /// # Errors
    ///
    /// The same.
    pub fn submit(&self, request: Request) -> Result<Handle, Error> {
        let prompt = self.check(&request)?;
        let (sequence, handle) = prepare(&request, prompt, None);
        self.enqueue(sequence)?;
        Ok(handle)
    }

    /// See [`Engine::submit_with`](crate::Engine::submit_with).
    ///
    /// # Errors
    ///
    /// The same.
    pub fn submit_with(
        &self,
        request: Request,
        on_token: impl FnMut(Token) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Handle, Error> {
        let prompt = self.check(&request)?;
        let (sequence, handle) = prepare(&request, prompt, Some(Box::new(on_token)));
        self.enqueue(sequence)?;
        Ok(handle)
    }

    /// See [`Engine::submit_fork`](crate::Engine::submit_fork).
    ///
    /// # Errors
    ///
    /// The same.
    pub fn submit_fork(
        &self,
        mut request: Request,
        continuations: usize,
    ) -> Result<Vec<Handle>, Error> {
        if !(1..=Request::MOST_CONTINUATIONS).contains(&continuations) {
            return Err(Error::Setting {
                name: "continuations",
                found: continuations.to_string(),
                expected: "a whole number from 1 to 256",
            });
        }
        let prompt = self.check(&request)?;
        let (mut first, handle) = prepare(&request, prompt.clone(), None);
        let mut handles = vec![handle];
        for _ in 1..continuations {
            request.sampler.seed = request.sampler.seed.wrapping_add(1);
            let (follower, handle) = prepare(&request, prompt.clone(), None);
            first.followers.push(follower);
            handles.push(handle);
        }
        self.enqueue(first)?;
        Ok(handles)
    }

    fn check(&self, request: &Request) -> Result<Vec<u32>, Error> {
        let Intake {
            tokenizer,
            hp,
            longest_reply,
            has_draft_model,
            ..
        } = &*self.intake;
        let is_drafted = request.speculation == Speculation::Draft;
        if is_drafted && !has_draft_model.load(Ordering::Relaxed) {
            return Err(Error::Setting {
                name: "speculate",
                found: "draft".to_owned(),
                expected: "auto, off or ngram, as the engine has no draft model",
            });
        }
        request.check(tokenizer, hp, *longest_reply)
    }

    fn enqueue(&self, sequence: Sequence) -> Result<(), Error> {
        let requests = 1 + sequence.followers.len();
        let weight = Weight {
            requests,
            tokens: requests.saturating_mul(sequence.tokens().len()),
        };
        let mut line = self.intake.lock();
        if let Some(reason) = &line.closed {
            return Err(Error::stopped(reason));
        }
        let waiting = line.queue.waiting();
        line.queue
            .push(weight, sequence)
            .map_err(|_| Error::QueueFull {
                requests: waiting.requests,
                tokens: waiting.tokens,
            })?;
        drop(line);
        self.intake.arrived.notify_one();
        Ok(())
    }
}

fn prepare(request: &Request, prompt: Vec<u32>, callback: Option<Callback>) -> (Sequence, Handle) {
    let mailbox = Arc::new(Mailbox::default());
    let outlet = Outlet::new(Arc::clone(&mailbox), callback);
    let sequence = Sequence::new(request, prompt, outlet);
    (sequence, Handle::new(mailbox))
}

impl Intake {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the engine's thread is to go on. It sleeps here while there is nothing to do.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn goes_on(&self, is_busy: bool) -> bool {
        let mut line = self.lock();
        while !is_busy && line.queue.is_empty() && line.closed.is_none() {
            line = self
                .arrived
                .wait(line)
                .unwrap_or_else(PoisonError::into_inner);
        }
        line.closed.is_none()
    }

    /// Takes no more requests. Those that wait hear of the end.
    pub(crate) fn close(&self, reason: &str) {
        let waiting = {
            let mut line = self.lock();
            line.closed.get_or_insert_with(|| reason.to_owned());
            line.queue.take_out(|_| true)
        };
        self.arrived.notify_all();
        for sequence in waiting {
            end_all(sequence, reason);
        }
    }
}

/// Ends a sequence and those that follow it.
pub(crate) fn end_all(mut sequence: Sequence, reason: &str) {
    for follower in std::mem::take(&mut sequence.followers) {
        follower.fail(Error::stopped(reason));
    }
    sequence.fail(Error::stopped(reason));
}
