//! The asking end of a request.

use std::sync::Arc;
use std::task::Poll;

use crate::mailbox::{Mail, Mailbox};
use crate::stream::TokenStream;
use crate::{Ending, Error, Token};

/// A request that was taken. Its tokens are to be had
///
/// - as an iterator that waits for each (where there are threads, from an engine that has [one of its
///   own](crate::Engine::spawn)),
/// - as an iterator that [drives the engine](crate::Engine::tokens) itself,
/// - as an async [`Stream`](Handle::into_stream),
/// - without waiting, by [`try_next`](Handle::try_next).
///
/// An error comes as the last item. Dropping the handle cancels the request within a step.
#[derive(Debug)]
pub struct Handle {
    mailbox: Arc<Mailbox>,
    ending: Option<Ending>,
    is_over: bool,
}

impl Handle {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            mailbox,
            ending: None,
            is_over: false,
        }
    }

    /// Ends the request within a step, with [`Finish::Interrupted`](crate::Finish::Interrupted). Tokens chosen until then
    /// still come.
    pub fn cancel(&self) {
        self.mailbox.cancel();
    }

    /// Ends the request with the next token that is chosen, as if that were the last one it may have, but with
    /// [`Finish::Interrupted`](crate::Finish::Interrupted). So there is a snapshot of its end if that was asked for, and the
    /// cache remembers it.
    pub fn stop(&self) {
        self.mailbox.stop();
    }

    /// How many of the prompt's tokens are read, those among them whose state was known.
    pub fn prompt_read(&self) -> usize {
        self.mailbox.prompt_read()
    }

    /// How it ended, once all tokens were taken; nothing before, and nothing if it failed.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// The next token if it is there already; `Ready(None)` after the last.
    pub fn try_next(&mut self) -> Poll<Option<Result<Token, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match self.mailbox.take() {
            Some(mail) => Poll::Ready(self.open(mail)),
            None => Poll::Pending,
        }
    }

    /// The tokens as a stream for any async runtime. Something must drive the engine meanwhile.
    ///
    /// ```
    #[doc = include_str!("doc_setup.txt")]
    /// # use std::{future::poll_fn, pin::Pin};
    /// # use futures_core::Stream;
    /// let engine = engine.spawn()?;
    /// let mut stream = engine.submit(request)?.into_stream();
    /// pollster::block_on(async {
    ///     // `stream.next().await` with the futures crate
    ///     while let Some(token) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
    ///         print!("{}", token?.text);
    ///     }
    ///     Ok::<(), thalweg_engine::Error>(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_stream(self) -> TokenStream {
        TokenStream::new(self)
    }

    pub(crate) fn poll_next(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Token, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.mailbox.poll(context).map(|mail| self.open(mail))
    }

    fn open(&mut self, mail: Mail) -> Option<Result<Token, Error>> {
        match mail {
            Mail::Token(token) => Some(Ok(token)),
            Mail::End(end) => {
                self.is_over = true;
                match end {
                    Ok(ending) => {
                        self.ending = Some(ending);
                        None
                    }
                    Err(error) => Some(Err(error)),
                }
            }
        }
    }

    /// Waits for the end and returns the whole text.
    ///
    /// # Errors
    ///
    /// Whatever ended the request before its end.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn collect_text(mut self) -> Result<(String, Ending), Error> {
        let mut text = String::new();
        for token in &mut self {
            text += &token?.text;
        }
        let ending = self.ending.take();
        ending
            .map(|ending| (text, ending))
            .ok_or_else(|| Error::stopped("its end was taken before"))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Iterator for Handle {
    type Item = Result<Token, Error>;

    /// Waits for the next token.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let mail = self.mailbox.wait();
        self.open(mail)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.mailbox.cancel();
    }
}
