//! What a request shows of itself: the text, piece by piece, how it ends, and how far the prompt is read.

use std::task::Poll;

use thalweg_engine::{
    Ending, EngineOptions, Finish, PrefixCache, Request, SamplerSettings, Token, Until,
};

use crate::engine::{drain, engine, expected, request, run};
use crate::fake::{FakeSession, STOP};
use crate::fake_batch::FakeBatch;

const A: u32 = 1;
const B: u32 = 2;
const E: u32 = 4;
const N: u32 = 5;
const D: u32 = 6;
const FIRST_BYTE: u32 = 11;
const SECOND_BYTE: u32 = 12;

/// Generates what the script says after a prompt of three tokens.
fn generate(script: &[u32], tokens: usize) -> (Vec<String>, Ending) {
    let batch = FakeBatch::of(1, 8, || FakeSession::scripted(3, script));
    let mut engine = engine(batch, EngineOptions::default());
    let request = Request {
        sampler: SamplerSettings::greedy(),
        until: Until {
            tokens,
            stop_ids: vec![STOP],
            stop_strings: vec!["END".to_owned()],
        },
        ..Request::new(vec![A; 3])
    };
    let mut handle = engine.submit(request).unwrap();
    let tokens: Result<Vec<Token>, _> = engine.tokens(&mut handle).collect();
    let texts = tokens.unwrap().into_iter().map(|token| token.text);
    let pieces = texts.filter(|text| !text.is_empty()).collect();
    (pieces, handle.ending().unwrap().clone())
}

#[test]
fn the_limit_ends_the_text() {
    let (pieces, ending) = generate(&[A, B, A, B, A], 3);
    assert_eq!(pieces, ["a", "b", "a"]);
    assert_eq!(ending.finish, Finish::Limit);
    assert_eq!(ending.tokens, [A, B, A]);
    assert_eq!(ending.read, 2);
    let timings = ending.timings;
    assert_eq!((timings.prefill_tokens, timings.decode_tokens), (3, 2));
}

#[test]
fn a_stop_token_ends_the_text_unseen() {
    let (pieces, ending) = generate(&[A, B, STOP, A], 100);
    assert_eq!(pieces.concat(), "ab");
    assert_eq!(ending.finish, Finish::StopToken(STOP));
    assert_eq!(ending.tokens, [A, B]);
    assert_eq!(ending.read, 2);
}

#[test]
fn a_stop_string_ends_the_text_unseen() {
    let (pieces, ending) = generate(&[A, E, N, A, E, N, D, A], 100);
    assert_eq!(pieces, ["a", "ENa"]);
    assert_eq!(ending.finish, Finish::StopString);
}

#[test]
fn text_held_back_comes_at_the_end() {
    assert_eq!(generate(&[A, E, N], 3).0, ["a", "EN"]);
    assert_eq!(generate(&[A, FIRST_BYTE], 2).0, ["a", "\u{FFFD}"]);
}

#[test]
fn characters_come_whole() {
    let (pieces, _) = generate(&[FIRST_BYTE, SECOND_BYTE, A], 3);
    assert_eq!(pieces, ["é", "a"]);
}

#[test]
fn a_handle_says_how_far_the_prompt_is_read() {
    let batch = FakeBatch::new(1, 4);
    let mut engine = engine(batch, EngineOptions::default()).with_cache(PrefixCache::new(1 << 20));
    let handle = engine.submit(request(&[A; 10], 5, 1)).unwrap();
    let mut read = vec![handle.prompt_read()];
    while engine.step() {
        read.push(handle.prompt_read());
    }
    assert_eq!(read, [0, 4, 8, 10, 10, 10, 10]);

    let longer = [&[A; 10][..], &[B; 6]].concat();
    let handle = engine.submit(request(&longer, 5, 1)).unwrap();
    engine.step();
    assert_eq!(handle.prompt_read(), 14, "what is known counts as read");
}

#[test]
fn what_is_stopped_is_remembered_up_to_its_end() {
    for longest_loop in [1, 8] {
        let mut batch = FakeBatch::new(2, 4);
        batch.longest_loop = longest_loop;
        let options = EngineOptions {
            sequences: Some(1),
            ..EngineOptions::default()
        };
        let mut engine = engine(batch, options).with_cache(PrefixCache::new(1 << 20));
        let mut handle = engine.submit(request(&[A; 10], 500, 1)).unwrap();
        (0..8).for_each(|_| assert!(engine.step()));
        handle.stop();
        run(&mut engine);
        let answer = drain(&mut handle).unwrap();
        let ending = handle.ending().unwrap();
        assert_eq!(ending.finish, Finish::Interrupted);
        let count = ending.tokens.len();
        assert_eq!(ending.read, count - 1);
        assert!((6..100).contains(&count), "{count}");
        assert_eq!(answer.text, expected(&request(&[A; 10], count, 1)).text);

        let longer = [&[A; 10][..], &ending.tokens, &[B]].concat();
        let next = request(&longer, 3, 1);
        let mut handle = engine.submit(next.clone()).unwrap();
        run(&mut engine);
        assert_eq!(drain(&mut handle).unwrap(), expected(&next));
        assert_eq!(handle.ending().unwrap().resumed, 10 + count - 1);
    }
}

#[test]
fn the_first_token_after_a_known_prompt_waits_for_no_step() {
    let batch = FakeBatch::new(1, 4);
    let log = batch.log.clone();
    let mut engine = engine(batch, EngineOptions::default()).with_cache(PrefixCache::new(1 << 20));
    let request = request(&[A; 10], 5, 1);
    let mut first = engine.submit(request.clone()).unwrap();
    run(&mut engine);
    drain(&mut first).unwrap();

    let steps = log.lock().unwrap().steps.len();
    let mut handle = engine.submit(request.clone()).unwrap();
    engine.step();
    assert_eq!(log.lock().unwrap().steps.len(), steps);
    let Poll::Ready(Some(Ok(token))) = handle.try_next() else {
        panic!("no token");
    };
    assert_eq!(token.id, expected(&request).tokens[0]);
    assert!(handle.try_next().is_pending());
    run(&mut engine);
    assert_eq!(handle.count(), 4);
}
