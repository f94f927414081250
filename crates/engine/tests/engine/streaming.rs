//! The ways to take tokens give the same ones.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_core::Stream;
use thalweg_engine::{EngineOptions, EngineThread, Error, Finish, Token, TokenStream};

use crate::engine::{engine, expected, request};
use crate::fake_batch::FakeBatch;

fn thread() -> EngineThread {
    let engine = engine(FakeBatch::new(2, 8), EngineOptions::default());
    engine.spawn().unwrap()
}

/// Ids and texts, which unlike times are the same every time.
fn essence(token: Token) -> (u32, String, bool) {
    (token.id, token.text, token.is_end)
}

async fn next(stream: &mut TokenStream) -> Option<Result<Token, Error>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

#[test]
fn all_ways_give_the_same_tokens() {
    let engine = thread();
    let request = request(&[1, 2, 3], 60, 5);
    let in_turn: Vec<_> = engine
        .submit(request.clone())
        .unwrap()
        .map(|token| essence(token.unwrap()))
        .collect();

    let mut stream = engine.submit(request.clone()).unwrap().into_stream();
    let awaited = pollster::block_on(async {
        let mut tokens = Vec::new();
        while let Some(token) = next(&mut stream).await {
            tokens.push(essence(token.unwrap()));
        }
        tokens
    });
    assert_eq!(awaited, in_turn);
    assert_eq!(stream.handle().ending().unwrap().finish, Finish::Limit);

    let called = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&called);
    let on_token = move |token| {
        calls.lock().unwrap().push(essence(token));
        ControlFlow::Continue(())
    };
    let handle = engine.submit_with(request.clone(), on_token).unwrap();
    let (text, ending) = handle.collect_text().unwrap();
    assert_eq!(
        (text.as_str(), ending.tokens),
        ("", expected(&request).tokens)
    );
    assert_eq!(*called.lock().unwrap(), in_turn);

    let (text, ending) = engine
        .submit(request.clone())
        .unwrap()
        .collect_text()
        .unwrap();
    assert_eq!((text, ending.tokens), {
        let expected = expected(&request);
        (expected.text, expected.tokens)
    });
    let texts: String = in_turn.into_iter().map(|(_, text, _)| text).collect();
    assert_eq!(texts, expected(&request).text);
}

#[test]
fn a_stream_that_is_dropped_frees_its_slot() {
    let engine = thread();
    let long = || {
        engine
            .submit(request(&[1], 1 << 20, 1))
            .unwrap()
            .into_stream()
    };
    for _ in 0..5 {
        let mut streams = [long(), long()];
        let first = |stream| pollster::block_on(next(stream)).unwrap();
        for stream in &mut streams {
            assert!(first(stream).is_ok());
        }
    }
    let short = engine.submit(request(&[2], 3, 1)).unwrap();
    assert_eq!(short.collect_text().unwrap().1.tokens.len(), 3);
}

#[test]
fn a_stream_ends_with_the_error_once() {
    let engine = thread();
    let mut stream = engine
        .submit(request(&[1], 1 << 20, 1))
        .unwrap()
        .into_stream();
    drop(engine);
    pollster::block_on(async {
        let mut last = None;
        while let Some(token) = next(&mut stream).await {
            last = Some(token);
        }
        assert!(matches!(last, Some(Err(Error::Stopped { .. }))));
        assert!(next(&mut stream).await.is_none());
    });
}

#[test]
fn times_go_up() {
    let engine = thread();
    let mut handle = engine.submit(request(&[1; 100], 20, 1)).unwrap();
    let times: Vec<_> = (&mut handle).map(|token| token.unwrap().timing).collect();
    assert!(times.is_sorted());
    let timings = handle.ending().unwrap().timings;
    assert!(timings.first_token <= times[0] && timings.waiting <= timings.first_token);
    assert_eq!((timings.prefill_tokens, timings.decode_tokens), (100, 19));
}
