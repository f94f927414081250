//! Tokens for async code.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::{Error, Handle, Token};

/// The tokens of a request as an async stream; needs no runtime of any kind. Dropping it cancels the request.
#[derive(Debug)]
pub struct TokenStream {
    handle: Handle,
}

impl TokenStream {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// The request behind, for its ending and for cancelling it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Stream for TokenStream {
    type Item = Result<Token, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.handle.poll_next(context)
    }
}
