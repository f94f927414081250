//! However a prompt is cut into chunks, logits and state are the same to the last bit.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use proptest::prelude::*;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{CpuModel, CpuSession, Session, State, Wanted};

const TOKENS: usize = 600;

static MODEL: LazyLock<Arc<CpuModel>> = LazyLock::new(|| {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/synth-tiny-q4_k_m.gguf"
    ));
    Arc::new(CpuModel::load(GgufFile::open(path).unwrap()).unwrap())
});

/// Logits and state after reading all tokens at once.
static WHOLE: LazyLock<(Vec<f32>, State)> = LazyLock::new(|| {
    let mut session = CpuSession::new(Arc::clone(&MODEL));
    let logits = session.forward(&tokens(), Wanted::All).unwrap();
    (logits, session.state().unwrap())
});

fn tokens() -> Vec<u32> {
    (0..TOKENS as u32).map(|index| index * 7919 % 512).collect()
}

/// Reads all tokens in chunks of the given lengths, over and over, and compares every logit and the state.
fn check_chunks(lengths: &[usize]) {
    let (whole_logits, whole_state) = &*WHOLE;
    let tokens = tokens();
    let mut session = CpuSession::new(Arc::clone(&MODEL));
    let (mut rest, mut logits) = (&tokens[..], Vec::new());
    for &length in lengths.iter().cycle() {
        let (chunk, after) = rest.split_at(length.min(rest.len()));
        logits.extend(session.forward(chunk, Wanted::All).unwrap());
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    assert!(
        logits == *whole_logits,
        "logits differ for chunks of {lengths:?}"
    );
    assert!(
        session.state().unwrap() == *whole_state,
        "states differ for chunks of {lengths:?}"
    );
}

#[test]
fn even_chunks() {
    for length in [1, 7, 64, 257, 512] {
        check_chunks(&[length]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn uneven_chunks(lengths in proptest::collection::vec(1usize..200, 1..8)) {
        check_chunks(&lengths);
    }
}

#[test]
fn wanted_logits_are_a_part_of_all_logits() {
    let (whole, _) = &*WHOLE;
    let mut session = CpuSession::new(Arc::clone(&MODEL));
    assert!(
        session
            .forward(&tokens()[..300], Wanted::Nothing)
            .unwrap()
            .is_empty()
    );
    assert!(session.forward(&[], Wanted::Last).unwrap().is_empty());
    let last = session.forward(&tokens()[300..], Wanted::Last).unwrap();
    assert!(last == whole[whole.len() - 512..]);
}

#[test]
fn a_state_put_back_continues_as_if_nothing_had_happened() {
    let mut session = CpuSession::new(Arc::clone(&MODEL));
    session.forward(&[1, 2, 3], Wanted::Nothing).unwrap();
    let state = session.state().unwrap();
    let expected = session.forward(&[4], Wanted::Last).unwrap();
    session.reset();
    assert_ne!(session.forward(&[4], Wanted::Last).unwrap(), expected);
    session.set_state(&state).unwrap();
    assert_eq!(session.forward(&[4], Wanted::Last).unwrap(), expected);
}
