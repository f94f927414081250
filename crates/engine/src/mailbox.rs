//! What passes between an engine and who asked it: tokens one way, cancellation the other.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{Ending, Error, Token};

/// Tokens on their way. There are never more than the request's limit.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    contents: Mutex<Contents>,
    arrived: Condvar,
    is_cancelled: AtomicBool,
    is_stopped: AtomicBool,
    /// Tokens of the prompt that are read.
    prompt_read: AtomicUsize,
}

#[derive(Debug, Default)]
struct Contents {
    tokens: VecDeque<Token>,
    end: Option<Result<Ending, Error>>,
    waker: Option<Waker>,
}

/// What is taken out of a mailbox.
pub(crate) enum Mail {
    Token(Token),
    End(Result<Ending, Error>),
}

impl Mailbox {
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn prompt_read(&self) -> usize {
        self.prompt_read.load(Ordering::Relaxed)
    }

    /// What has come, in its order; the end comes once.
    pub(crate) fn take(&self) -> Option<Mail> {
        self.lock().take()
    }

    /// The same for a task, which is woken when there is something.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Mail> {
        let mut contents = self.lock();
        match contents.take() {
            Some(mail) => Poll::Ready(mail),
            None => {
                contents.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The same, but waits until there is something. A thread must be there that brings it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn wait(&self) -> Mail {
        let mut contents = self.lock();
        loop {
            if let Some(mail) = contents.take() {
                return mail;
            }
            contents = self
                .arrived
                .wait(contents)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, put: impl FnOnce(&mut Contents)) {
        let waker = {
            let mut contents = self.lock();
            put(&mut contents);
            contents.waker.take()
        };
        self.arrived.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A panic elsewhere leaves nothing here half done.
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn take(&mut self) -> Option<Mail> {
        let token = self.tokens.pop_front().map(Mail::Token);
        token.or_else(|| self.end.take().map(Mail::End))
    }
}

/// Called with each token; breaking off cancels the request.
pub(crate) type Callback = Box<dyn FnMut(Token) -> ControlFlow<()> + Send>;

/// The engine's end: where a sequence's tokens go. Whatever happens to the engine, the other end hears of the end.
pub(crate) struct Outlet {
    mailbox: Arc<Mailbox>,
    callback: Option<Callback>,
    is_ended: bool,
}

impl Outlet {
    pub(crate) fn new(mailbox: Arc<Mailbox>, callback: Option<Callback>) -> Self {
        Self {
            mailbox,
            callback,
            is_ended: false,
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.mailbox.is_cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.mailbox.is_stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn tell_prompt_read(&self, tokens: usize) {
        self.mailbox.prompt_read.store(tokens, Ordering::Relaxed);
    }

    pub(crate) fn send(&mut self, token: Token) {
        match &mut self.callback {
            None => self
                .mailbox
                .put(|contents| contents.tokens.push_back(token)),
            Some(callback) => {
                if callback(token).is_break() {
                    self.mailbox.cancel();
                }
            }
        }
    }

    pub(crate) fn end(&mut self, end: Result<Ending, Error>) {
        if !self.is_ended {
            self.is_ended = true;
            self.mailbox.put(|contents| contents.end = Some(end));
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.end(Err(Error::stopped("it was dropped")));
    }
}
