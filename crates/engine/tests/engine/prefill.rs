//! Reading a text into a session, a chunk at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_engine::{ChunkSize, Error, prefill};
use thalweg_rwkv::{Session, Wanted};

use crate::fake::FakeSession;

const A: u32 = 1;

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
