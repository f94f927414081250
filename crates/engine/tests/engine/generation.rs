//! Prefill, the decode loop on a session that follows a script.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::fake::{FakeSession, STOP, tokenizer};
use thalweg_engine::{
    ChunkSize, Error, Finish, Generation, Outcome, Sampler, SamplerSettings, Until, prefill,
};
use thalweg_rwkv::{Session, Wanted};

const A: u32 = 1;
const B: u32 = 2;
const E: u32 = 4;
const N: u32 = 5;
const D: u32 = 6;
const FIRST_BYTE: u32 = 11;
const SECOND_BYTE: u32 = 12;

/// Reads a prompt of three tokens and generates what the script says after it.
fn generate(script: &[u32], until: Until) -> (Vec<String>, Outcome) {
    let mut session = FakeSession::scripted(3, script);
    let (tokenizer, interrupt) = (tokenizer(), AtomicBool::new(false));
    let mut sampler = Sampler::new(SamplerSettings::greedy()).unwrap();
    let prefill = prefill(
        &mut session,
        &[A, A, A],
        ChunkSize::default(),
        &interrupt,
        &mut |_| {},
    )
    .unwrap();
    let mut generation = Generation::new(
        &mut session,
        &tokenizer,
        &mut sampler,
        prefill,
        until,
        &interrupt,
    );
    let pieces = (&mut generation).collect::<Result<Vec<_>, _>>().unwrap();
    (pieces, generation.outcome())
}

fn until(tokens: usize) -> Until {
    Until {
        tokens,
        stop_ids: vec![STOP],
        stop_strings: vec!["END".to_owned()],
    }
}

#[test]
fn chunk_sizes_are_bounded() {
    for tokens in [0, ChunkSize::MAX + 1] {
        let message = ChunkSize::new(tokens).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("chunk-size is {tokens}; expected a whole number from 1 to 4096")
        );
    }
    assert_eq!(ChunkSize::new(ChunkSize::MAX).unwrap().tokens(), 4096);
}

#[test]
fn prefill_reads_in_chunks_and_wants_only_the_last_logits() {
    let mut session = FakeSession::new();
    let mut progress = Vec::new();
    let chunk = ChunkSize::new(4).unwrap();
    let result = prefill(
        &mut session,
        &[A; 10],
        chunk,
        &AtomicBool::new(false),
        &mut |read| progress.push(read),
    )
    .unwrap();
    assert_eq!(
        session.calls,
        [
            (4, Wanted::Nothing),
            (4, Wanted::Nothing),
            (2, Wanted::Last)
        ]
    );
    assert_eq!(progress, [4, 8, 10]);
    assert_eq!(result.tokens, 10);

    let mut at_once = FakeSession::new();
    assert_eq!(
        at_once.forward(&[A; 10], Wanted::Last).unwrap(),
        result.logits
    );
}

#[test]
fn prefill_of_nothing_is_refused() {
    let error = prefill(
        &mut FakeSession::new(),
        &[],
        ChunkSize::default(),
        &AtomicBool::new(false),
        &mut |_| {},
    )
    .unwrap_err();
    assert!(matches!(error, Error::NothingToRead), "{error}");
}

#[test]
fn prefill_stops_between_chunks() {
    let interrupt = AtomicBool::new(false);
    let mut stop_after_four = |read| interrupt.store(read >= 4, Ordering::Relaxed);
    let error = prefill(
        &mut FakeSession::new(),
        &[A; 9],
        ChunkSize::new(2).unwrap(),
        &interrupt,
        &mut stop_after_four,
    )
    .unwrap_err();
    assert!(
        matches!(error, Error::Interrupted { read: 4, total: 9 }),
        "{error}"
    );
}

#[test]
fn the_limit_ends_the_text() {
    let (pieces, outcome) = generate(&[A, B, A, B, A], until(3));
    assert_eq!(pieces, ["a", "b", "a"]);
    assert_eq!(outcome.finish, Some(Finish::Limit));
    assert_eq!(
        (outcome.tokens.as_slice(), outcome.read),
        ([A, B, A].as_slice(), 2)
    );
    assert_eq!(
        (
            outcome.timings.prefill_tokens,
            outcome.timings.decode_tokens
        ),
        (3, 2)
    );
}

#[test]
fn a_limit_of_nothing_generates_nothing() {
    let (pieces, outcome) = generate(&[A], until(0));
    assert!(pieces.is_empty());
    assert_eq!(outcome.finish, Some(Finish::Limit));
}

#[test]
fn a_stop_token_ends_the_text_unseen() {
    let (pieces, outcome) = generate(&[A, B, STOP, A], until(100));
    assert_eq!(pieces.concat(), "ab");
    assert_eq!(outcome.finish, Some(Finish::StopToken(STOP)));
    assert_eq!(
        (outcome.tokens.as_slice(), outcome.read),
        ([A, B].as_slice(), 2)
    );
}

#[test]
fn a_stop_string_ends_the_text_unseen() {
    let (pieces, outcome) = generate(&[A, E, N, A, E, N, D, A], until(100));
    assert_eq!(pieces, ["a", "ENa"]);
    assert_eq!(outcome.finish, Some(Finish::StopString));
}

#[test]
fn text_held_back_comes_at_the_end() {
    let (pieces, _) = generate(&[A, E, N], until(3));
    assert_eq!(pieces, ["a", "EN"]);
    let (pieces, _) = generate(&[A, FIRST_BYTE], until(2));
    assert_eq!(pieces, ["a", "\u{FFFD}"]);
}

#[test]
fn characters_come_whole() {
    let (pieces, _) = generate(&[FIRST_BYTE, SECOND_BYTE, A], until(3));
    assert_eq!(pieces, ["é", "a"]);
}

#[test]
fn an_interrupt_ends_the_text() {
    let mut session = FakeSession::scripted(1, &[A; 100]);
    let (tokenizer, interrupt) = (tokenizer(), AtomicBool::new(false));
    let mut sampler = Sampler::new(SamplerSettings::greedy()).unwrap();
    let prefill = prefill(
        &mut session,
        &[A],
        ChunkSize::default(),
        &interrupt,
        &mut |_| {},
    )
    .unwrap();
    let mut generation = Generation::new(
        &mut session,
        &tokenizer,
        &mut sampler,
        prefill,
        until(100),
        &interrupt,
    );
    assert_eq!(generation.next().unwrap().unwrap(), "a");
    interrupt.store(true, Ordering::Relaxed);
    assert!(generation.next().is_none());
    let outcome = generation.outcome();
    assert_eq!(outcome.finish, Some(Finish::Interrupted));
    assert_eq!(outcome.tokens, [A]);
}

#[test]
fn the_outcome_describes_the_session() {
    let mut session = FakeSession::new();
    let (tokenizer, interrupt) = (tokenizer(), AtomicBool::new(false));
    let mut sampler = Sampler::new(SamplerSettings::default()).unwrap();
    let read = prefill(
        &mut session,
        &[A, B],
        ChunkSize::default(),
        &interrupt,
        &mut |_| {},
    )
    .unwrap();
    let until = Until {
        tokens: 20,
        ..Until::default()
    };
    let mut generation = Generation::new(
        &mut session,
        &tokenizer,
        &mut sampler,
        read,
        until,
        &interrupt,
    );
    for piece in &mut generation {
        piece.unwrap();
    }
    let outcome = generation.outcome();
    let state = session.state().unwrap();

    let mut again = FakeSession::new();
    let tokens = [&[A, B], &outcome.tokens[..outcome.read]].concat();
    assert_eq!(
        again.forward(&tokens, Wanted::Last).unwrap(),
        outcome.logits
    );
    assert_eq!(again.state().unwrap(), state);
}
