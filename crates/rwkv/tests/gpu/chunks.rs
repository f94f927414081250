//! However a prompt is cut, logits and state are the CPU's.

use std::sync::{Arc, LazyLock};

use thalweg_rwkv::{CpuModel, CpuSession, Session, State, Wanted};

use crate::{largest_difference, session, synth_tiny, tokens};

const TOKENS: usize = 1100;
const LOGITS: f32 = 5e-5;
const VOCAB: usize = 512;

/// Logits after every token and the state after the last, of the CPU.
static EXPECTED: LazyLock<(Vec<f32>, State)> = LazyLock::new(|| {
    let mut session = CpuSession::new(Arc::new(CpuModel::load(synth_tiny()).unwrap()));
    let logits = session.forward(&tokens(TOKENS), Wanted::All).unwrap();
    (logits, session.state().unwrap())
});

fn assert_same_state(found: &State, expected: &State, what: &str) {
    for (name, found, expected) in [
        ("att shift", &found.att_shift, &expected.att_shift),
        ("ffn shift", &found.ffn_shift, &expected.ffn_shift),
        ("wkv", &found.wkv, &expected.wkv),
    ] {
        let largest = expected
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        let off = largest_difference(found, expected) / largest;
        assert!(
            off <= 1e-5,
            "{what}: {name} is off by {off:e} of its largest value"
        );
    }
}

#[test]
fn every_chunk_size_gives_the_logits_and_the_state_of_the_cpu() {
    let (logits, state) = &*EXPECTED;
    for chunk in [7, 64, 255, 256, 257, 288, 512, 1024] {
        let mut session = session(&synth_tiny(), chunk);
        let found = session.forward(&tokens(TOKENS), Wanted::Last).unwrap();
        let off = largest_difference(&found, &logits[(TOKENS - 1) * VOCAB..]);
        println!("chunks of {chunk}: {off:.1e}");
        assert!(
            off <= LOGITS,
            "chunks of {chunk}: logits are off by {off:e}"
        );
        assert_same_state(
            &session.state().unwrap(),
            state,
            &format!("chunks of {chunk}"),
        );
    }
}

#[test]
fn token_by_token_and_in_uneven_pieces() {
    let (logits, _) = &*EXPECTED;
    let mut session = session(&synth_tiny(), 96);
    let tokens = tokens(TOKENS);
    let (mut read, mut found) = (0, Vec::new());
    for piece in [1, 1, 2, 3, 4, 5, 6, 7, 8, 1, 64, 96, 33, 97, 200, 1] {
        found.extend(
            session
                .forward(&tokens[read..read + piece], Wanted::All)
                .unwrap(),
        );
        read += piece;
    }
    let off = largest_difference(&found, &logits[..read * VOCAB]);
    assert!(off <= LOGITS, "logits are off by {off:e}");
}

#[test]
fn wanted_logits_are_a_part_of_all_logits() {
    let mut session = session(&synth_tiny(), 64);
    assert!(session.forward(&[], Wanted::Last).unwrap().is_empty());
    let all = session.forward(&tokens(150), Wanted::All).unwrap();
    session.reset();
    assert!(
        session
            .forward(&tokens(150)[..100], Wanted::Nothing)
            .unwrap()
            .is_empty()
    );
    let last = session.forward(&tokens(150)[100..], Wanted::Last).unwrap();
    assert!(largest_difference(&last, &all[149 * VOCAB..]) <= 1e-5);
}

#[test]
fn a_state_put_back_continues_as_if_nothing_had_happened() {
    let mut session = session(&synth_tiny(), 64);
    session.forward(&[1, 2, 3], Wanted::Nothing).unwrap();
    let state = session.state().unwrap();
    let expected = session.forward(&[4], Wanted::Last).unwrap();
    session.reset();
    assert_eq!(
        session.state().unwrap(),
        State::zeros(session.hyperparameters())
    );
    assert_ne!(session.forward(&[4], Wanted::Last).unwrap(), expected);
    session.set_state(&state).unwrap();
    assert_eq!(session.forward(&[4], Wanted::Last).unwrap(), expected);
}
