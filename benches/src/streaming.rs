//! The ways to take tokens from an engine.

#![allow(
    clippy::expect_used,
    reason = "what measures them has nothing to do without them"
)]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use thalweg_engine::{Engine, EngineThread, Request, SamplerSettings, TokenStream};
use thalweg_rwkv::Batch;

/// Greedy, so many tokens.
pub fn greedy(tokens: usize) -> Request {
    Request {
        sampler: SamplerSettings::greedy(),
        ..sampled(tokens)
    }
}

/// Top-p alone: penalties cost time too.
pub fn sampled(tokens: usize) -> Request {
    let sampler = SamplerSettings {
        top_p: 0.9,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        ..SamplerSettings::default()
    };
    let mut request = Request::new(vec![1]);
    request.until.tokens = tokens;
    request.sampler = sampler;
    request
}

/// All tokens at once, when the last one is there.
pub fn collect<B: Batch>(engine: &mut Engine<B>, request: Request) {
    let mut handle = engine.submit(request).expect("the request is good");
    while engine.step() {}
    while let Poll::Ready(Some(token)) = handle.try_next() {
        black_box(token.expect("the engine goes on"));
    }
}

/// Each token when it is there, on the thread that computes it.
pub fn iterate<B: Batch>(engine: &mut Engine<B>, request: Request) {
    let mut handle = engine.submit(request).expect("the request is good");
    for token in engine.tokens(&mut handle) {
        black_box(token.expect("the engine goes on"));
    }
}

/// Each token when it is there, by a call.
pub fn call_back<B: Batch>(engine: &mut Engine<B>, request: Request) {
    let on_token = |token| {
        black_box(token);
        ControlFlow::Continue(())
    };
    let handle = engine.submit_with(request, on_token);
    while engine.step() {}
    drop(handle);
}

/// Each token when it is there, on another thread.
pub fn iterate_across(engine: &EngineThread, request: Request) {
    for token in engine.submit(request).expect("the request is good") {
        black_box(token.expect("the engine goes on"));
    }
}

/// The same, awaited.
pub fn stream_across(engine: &EngineThread, request: Request) {
    let handle = engine.submit(request).expect("the request is good");
    let mut stream: TokenStream = handle.into_stream();
    pollster::block_on(async {
        let mut poll = |context: &mut Context<'_>| Pin::new(&mut stream).poll_next(context);
        while let Some(token) = std::future::poll_fn(&mut poll).await {
            black_box(token.expect("the engine goes on"));
        }
    });
}
