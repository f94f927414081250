//! The prefix cache: what begins like something that was read is read from there, and gives the same.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use thalweg_engine::{
    ChunkSize, EngineOptions, Error, Origin, PrefixCache, Snapshot, StateEncoding, StateFormat,
};
use thalweg_rwkv::{Session, Wanted};

use crate::engine::{drain, engine, expected, request, run};
use crate::fake::FakeSession;
use crate::fake_batch::FakeBatch;

const A: u32 = 1;
const B: u32 = 2;
const PLENTY: u64 = 1 << 20;

/// The state after some tokens, read at once.
fn fresh(tokens: &[u32]) -> Snapshot {
    let mut session = FakeSession::new();
    let logits = session.forward(tokens, Wanted::Last).unwrap();
    Snapshot {
        state: session.state().unwrap(),
        logits: Some(logits),
    }
}

/// Reads tokens through the cache and returns how many had to be read; the session must end up where it should.
fn read(cache: &mut PrefixCache, tokens: &[u32]) -> usize {
    let mut session = FakeSession::new();
    session.forward(&[9, 9, 9], Wanted::Nothing).unwrap();
    let interrupt = AtomicBool::new(false);
    let mut last = 0;
    let prefill = cache
        .read(
            &mut session,
            tokens,
            ChunkSize::default(),
            &interrupt,
            &mut |read| {
                assert!(read > last, "progress goes on");
                last = read;
            },
        )
        .unwrap();
    let expected = fresh(tokens);
    assert_eq!(session.state().unwrap(), expected.state);
    assert_eq!(Some(prefill.logits), expected.logits);
    assert_eq!(prefill.tokens, last);
    prefill.tokens
}

#[test]
fn the_longest_known_beginning_is_not_read_again() {
    let mut cache = PrefixCache::new(PLENTY);
    assert_eq!(read(&mut cache, &[A]), 1);
    assert_eq!(read(&mut cache, &[A, B, A]), 2);
    assert_eq!(read(&mut cache, &[A, B, A]), 0);
    assert_eq!(read(&mut cache, &[A, B, A, A]), 1);
    assert_eq!(read(&mut cache, &[A, B, B]), 2);
    assert_eq!(read(&mut cache, &[B]), 1);
}

#[test]
fn long_prompts_are_marked_on_the_way() {
    let prompt: Vec<u32> = (0..3000).map(|i| i % 11).collect();
    let other = [&prompt[..2500], &[A, A]].concat();
    let mut cache = PrefixCache::new(PLENTY);
    assert_eq!(read(&mut cache, &prompt), 3000);
    assert_eq!(read(&mut cache, &other), other.len() - 2048);
    let mut cache = PrefixCache::new(PLENTY).at_ends_alone();
    assert_eq!(read(&mut cache, &prompt), 3000);
    assert_eq!(read(&mut cache, &other), other.len());
}

#[test]
fn a_state_without_logits_is_no_end() {
    let mut cache = PrefixCache::new(PLENTY);
    let without = |tokens: &[u32]| Snapshot {
        logits: None,
        ..fresh(tokens)
    };
    cache.insert(&[A, B], Arc::new(without(&[A, B])));
    assert_eq!(cache.find(&[A, B]), None);
    assert_eq!(cache.find(&[A, B, A]).unwrap().0, 2);
    assert_eq!(read(&mut cache, &[A, B]), 2);
    assert_eq!(read(&mut cache, &[A, B]), 0);
}

#[test]
fn memory_is_bounded_and_the_unused_leaves_first() {
    let one = fresh(&[A]).bytes() + 4;
    let mut cache = PrefixCache::new(2 * one);
    for token in [1, 2] {
        read(&mut cache, &[token]);
    }
    assert_eq!(read(&mut cache, &[1]), 0);
    assert_eq!(read(&mut cache, &[3]), 1);
    assert_eq!(read(&mut cache, &[1]), 0);
    assert_eq!(read(&mut cache, &[2]), 1);
    assert_eq!(read(&mut PrefixCache::new(0), &[2]), 1);
}

#[test]
fn an_interrupt_says_how_far_it_came() {
    let mut cache = PrefixCache::new(PLENTY);
    let interrupt = AtomicBool::new(false);
    let mut raise = |read| interrupt.store(read >= 2000, std::sync::atomic::Ordering::Relaxed);
    let error = cache
        .read(
            &mut FakeSession::new(),
            &[A; 3000],
            ChunkSize::default(),
            &interrupt,
            &mut raise,
        )
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Interrupted {
                read: 2048,
                total: 3000
            }
        ),
        "{error}"
    );
    assert_eq!(read(&mut cache, &[A; 3000]), 3000 - 2048);
    let mut nothing = |_| {};
    let nothing = cache.read(
        &mut FakeSession::new(),
        &[],
        ChunkSize::default(),
        &interrupt,
        &mut nothing,
    );
    assert!(matches!(nothing, Err(Error::NothingToRead)));
}

fn with_folder(folder: &Path, model: u64, bytes: u64) -> PrefixCache {
    let origin = Origin { model, adapter: 0 };
    let hp = FakeSession::new().hyperparameters().clone();
    let format = StateFormat::new(origin, hp, StateEncoding::F32);
    PrefixCache::new(PLENTY)
        .with_folder(folder, format, bytes)
        .unwrap()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_folder_outlives_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("made/on the way");
    let mut cache = with_folder(&inside, 1, PLENTY);
    read(&mut cache, &[A, B]);
    read(&mut cache, &[A, B, A]);
    assert!(cache.close().is_empty());
    assert_eq!(files(&inside).len(), 2);

    let mut cache = with_folder(&inside, 1, PLENTY);
    assert_eq!(read(&mut cache, &[A, B, A, B]), 1);
    assert_eq!(read(&mut cache, &[A, B]), 0);
    let mut other = with_folder(&inside, 2, PLENTY);
    assert_eq!(read(&mut other, &[A, B]), 2, "a state of another model");
    assert!(other.take_faults().is_empty());
}

#[test]
fn damaged_files_are_passed_over_and_told_about() {
    let folder = tempfile::tempdir().unwrap();
    let mut cache = with_folder(folder.path(), 1, PLENTY);
    read(&mut cache, &[A, B]);
    drop(cache);
    let path = files(folder.path()).remove(0);
    let bytes = std::fs::read(&path).unwrap();

    let mut flipped = bytes.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    let mut cache = with_folder(folder.path(), 1, PLENTY);
    assert_eq!(read(&mut cache, &[A, B, A]), 3);
    let faults = cache.take_faults();
    assert!(
        matches!(&faults[..], [Error::StateFile { .. }]),
        "{faults:?}"
    );
    drop(cache);

    std::fs::write(&path, &bytes[..10]).unwrap();
    let mut cache = with_folder(folder.path(), 1, PLENTY);
    assert_eq!(cache.take_faults().len(), 1);
    assert_eq!(
        read(&mut cache, &[A, B, A]),
        0,
        "the other file is as good as ever"
    );
}

#[test]
fn the_folder_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut cache = with_folder(folder.path(), 1, PLENTY);
    read(&mut cache, &[A]);
    drop(cache);
    let one = std::fs::metadata(&files(folder.path())[0]).unwrap().len();

    let mut cache = with_folder(folder.path(), 1, 3 * (one + 20));
    for token in 2..6 {
        read(&mut cache, &[token, token]);
    }
    assert!(cache.close().is_empty());
    assert!(files(folder.path()).len() <= 3);
    let mut cache = with_folder(folder.path(), 1, PLENTY);
    assert_eq!(read(&mut cache, &[5, 5]), 0, "the newest stays");
    assert_eq!(read(&mut cache, &[A]), 1, "the oldest goes");

    let taken = folder.path().join("a file");
    std::fs::write(&taken, "x").unwrap();
    let origin = Origin {
        model: 1,
        adapter: 0,
    };
    let hp = FakeSession::new().hyperparameters().clone();
    let format = StateFormat::new(origin, hp, StateEncoding::F32);
    let refused = PrefixCache::new(0).with_folder(&taken, format, 1);
    assert!(matches!(refused, Err(Error::Io { .. })));
}

/// Two requests with a common beginning, one after the other: how many tokens the engine read, and how many states
/// travelled.
fn read_by_engine(spare: usize, cache: PrefixCache) -> (usize, usize) {
    let batch = FakeBatch::new(1 + spare, 64);
    let log = Arc::clone(&batch.log);
    let options = EngineOptions {
        sequences: Some(1),
        ..EngineOptions::default()
    };
    let mut engine = engine(batch, options).with_cache(cache);
    for (prompt, seed) in [
        (vec![A; 30], 1),
        ([A; 30].into(), 2),
        ([vec![A; 30], vec![B; 5]].concat(), 3),
    ] {
        let request = request(&prompt, 3, seed);
        let mut handle = engine.submit(request.clone()).unwrap();
        run(&mut engine);
        assert_eq!(drain(&mut handle).unwrap(), expected(&request));
        let resumed = handle.ending().unwrap().resumed;
        assert!(resumed == 0 || resumed == 30);
    }
    let log = log.lock().unwrap();
    let read = log.steps.iter().flatten().map(|(_, tokens)| tokens).sum();
    (read, log.transfers)
}

#[test]
fn an_engine_begins_where_an_earlier_request_was() {
    let generated = 3 * 2; // the last token of three is never read
    let (read, transfers) = read_by_engine(0, PrefixCache::new(PLENTY));
    assert_eq!(read, 30 + 5 + generated);
    assert!(transfers > 0);
    let (read, transfers) = read_by_engine(8, PrefixCache::new(0));
    assert_eq!(
        (read, transfers),
        (30 + 5 + generated, 0),
        "spare slots need no host"
    );
    let (read, _) = read_by_engine(1, PrefixCache::new(PLENTY));
    assert_eq!(
        read,
        30 + 5 + generated,
        "what leaves the slots goes to the cache"
    );
    assert_eq!(
        read_by_engine(0, PrefixCache::new(0)).0,
        30 + 30 + 35 + generated
    );
}

#[test]
fn a_conversation_is_not_read_again() {
    let mut engine = engine(FakeBatch::new(1, 64), EngineOptions::default())
        .with_cache(PrefixCache::new(PLENTY));
    let mut first = engine.submit(request(&[A; 20], 10, 1)).unwrap();
    run(&mut engine);
    let reply = drain(&mut first).unwrap().tokens;
    let second = request(&[&[A; 20][..], &reply, &[B; 4]].concat(), 2, 2);
    let mut handle = engine.submit(second.clone()).unwrap();
    run(&mut engine);
    assert_eq!(drain(&mut handle).unwrap(), expected(&second));
    assert_eq!(handle.ending().unwrap().resumed, 20 + 9);
}
