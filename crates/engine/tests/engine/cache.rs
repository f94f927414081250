//! The prefix cache: what begins like something that was read is read from there, and gives the same.

use std::path::Path;
use std::sync::Arc;

use thalweg_engine::{
    Engine, EngineOptions, Error, Origin, PrefixCache, Snapshot, StateEncoding, StateFormat,
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

/// Looks tokens up as if to read them, and returns how many would have to be read; then all of them are known.
fn read(cache: &mut PrefixCache, tokens: &[u32]) -> usize {
    let known = cache.find(tokens).map_or(0, |(known, snapshot)| {
        let expected = fresh(&tokens[..known]);
        assert_eq!(snapshot.state, expected.state);
        assert!(snapshot.logits.is_none() || snapshot.logits == expected.logits);
        known
    });
    cache.insert(tokens, Arc::new(fresh(tokens)));
    tokens.len() - known
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

/// How many tokens of a prompt an engine finds read already.
fn resumed(engine: &mut Engine<FakeBatch>, prompt: &[u32]) -> usize {
    let mut handle = engine.submit(request(prompt, 1, 1)).unwrap();
    run(engine);
    drain(&mut handle).unwrap();
    handle.ending().unwrap().resumed
}

#[test]
fn the_first_token_does_not_wait_for_a_state_to_be_kept() {
    let batch = FakeBatch::new(1, 512);
    let log = Arc::clone(&batch.log);
    let mut engine = engine(batch, EngineOptions::default()).with_cache(PrefixCache::new(PLENTY));
    let mut handle = engine.submit(request(&[A, B, A], 3, 1)).unwrap();
    assert!(engine.step());
    assert!(handle.try_next().is_ready());
    assert_eq!(log.lock().unwrap().transfers, 0);
    assert!(engine.step());
    assert_eq!(log.lock().unwrap().transfers, 1);
    run(&mut engine);
    assert_eq!(resumed(&mut engine, &[A, B, A, B]), 3);
}

#[test]
fn a_state_that_is_due_is_kept_by_an_engine_that_goes() {
    let folder = tempfile::tempdir().unwrap();
    let new = || {
        let batch = FakeBatch::new(1, 512);
        engine(batch, EngineOptions::default()).with_cache(with_folder(folder.path(), 1, PLENTY))
    };
    let mut first = new();
    let _handle = first.submit(request(&[A, B, A], 3, 1)).unwrap();
    assert!(first.step());
    drop(first);
    assert_eq!(resumed(&mut new(), &[A, B, A, B]), 3);
}

#[test]
fn long_prompts_are_marked_on_the_way() {
    let prompt: Vec<u32> = (0..3000).map(|i| i % 11).collect();
    let other = [&prompt[..2500], &[A, A]].concat();
    let new = || engine(FakeBatch::new(1, 512), EngineOptions::default());
    let mut marking = new().with_cache(PrefixCache::new(PLENTY));
    assert_eq!(resumed(&mut marking, &prompt), 0);
    assert_eq!(resumed(&mut marking, &other), 2048);
    let mut at_ends = new().with_cache(PrefixCache::new(PLENTY).at_ends_alone());
    assert_eq!(resumed(&mut at_ends, &prompt), 0);
    assert_eq!(resumed(&mut at_ends, &other), 0);

    let mut interrupted = new().with_cache(PrefixCache::new(PLENTY));
    let handle = interrupted.submit(request(&prompt, 1, 1)).unwrap();
    (0..5).for_each(|_| assert!(interrupted.step()));
    drop(handle);
    run(&mut interrupted);
    assert_eq!(resumed(&mut interrupted, &prompt), 2048);
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
    let faults = cache.faults();
    drop(cache);
    assert!(faults.take().is_empty());
    assert_eq!(files(&inside).len(), 2);

    let mut cache = with_folder(&inside, 1, PLENTY);
    assert_eq!(read(&mut cache, &[A, B, A, B]), 1);
    assert_eq!(read(&mut cache, &[A, B]), 0);
    let mut other = with_folder(&inside, 2, PLENTY);
    assert_eq!(read(&mut other, &[A, B]), 2, "a state of another model");
    assert!(other.faults().take().is_empty());
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
    let faults = cache.faults().take();
    assert!(
        matches!(&faults[..], [Error::StateFile { .. }]),
        "{faults:?}"
    );
    drop(cache);

    std::fs::write(&path, &bytes[..10]).unwrap();
    let mut cache = with_folder(folder.path(), 1, PLENTY);
    assert_eq!(cache.faults().take().len(), 1);
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
    let faults = cache.faults();
    drop(cache);
    assert!(faults.take().is_empty());
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
fn what_an_engine_has_in_slots_goes_to_the_folder_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let new = || {
        let options = EngineOptions {
            sequences: Some(1),
            ..EngineOptions::default()
        };
        let cache = with_folder(folder.path(), 1, PLENTY);
        engine(FakeBatch::new(5, 64), options).with_cache(cache)
    };
    assert_eq!(resumed(&mut new(), &[A; 30]), 0);
    assert_eq!(resumed(&mut new(), &[A; 30]), 30);
    let thread = new().spawn().unwrap();
    let ending = |prompt: &[u32]| {
        let handle = thread.submit(request(prompt, 1, 1)).unwrap();
        handle.collect_text().unwrap().1
    };
    assert_eq!(ending(&[A; 40]).resumed, 30);
    drop(thread);
    assert_eq!(resumed(&mut new(), &[A; 50]), 40);
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
