//! Loops of steps: nothing shows of them but the speed.

use std::sync::{Arc, Mutex};

use thalweg_engine::{Engine, EngineOptions, Finish, Handle, PrefixCache, Request};
use thalweg_rwkv::{Session, Wanted};

use crate::engine::{drain, engine, expected, request, run};
use crate::fake::{FakeSession, STOP};
use crate::fake_batch::{FakeBatch, Fault, Log};

const A: u32 = 1;

/// An engine for so many sequences that loops, with spare slots.
fn looping(sequences: usize, spare: usize) -> (Engine<FakeBatch>, Arc<Mutex<Log>>) {
    let mut batch = FakeBatch::new(sequences + spare, 16);
    batch.longest_loop = 8;
    let log = Arc::clone(&batch.log);
    let options = EngineOptions {
        sequences: Some(sequences),
        ..EngineOptions::default()
    };
    (engine(batch, options), log)
}

/// Engine steps until nothing is left to do.
fn steps(engine: &mut Engine<FakeBatch>) -> usize {
    let mut steps = 1;
    while engine.step() {
        steps += 1;
    }
    steps
}

fn stopping(seed: u64) -> Request {
    let mut request = request(&[A, 2, 3], 60, seed);
    request.until.stop_ids = vec![STOP];
    request.until.stop_strings = vec!["ab".to_owned(), "N".to_owned()];
    request
}

/// The snapshot at the end is that of the prompt and the tokens which it says it has read.
fn check_snapshot(handle: &mut Handle, request: &Request) {
    assert_eq!(drain(handle).unwrap(), expected(request));
    let ending = handle.ending().unwrap();
    let mut session = FakeSession::new();
    let read = [&[A, 2, 3], &ending.tokens[..ending.read]].concat();
    let logits = session.forward(&read, Wanted::Last).unwrap();
    let snapshot = ending.snapshot.as_ref().unwrap();
    assert_eq!(snapshot.state, session.state().unwrap());
    assert_eq!(snapshot.logits, Some(logits));
}

#[test]
fn loops_take_few_steps_and_give_the_same_tokens() {
    let (mut engine, log) = looping(2, 0);
    let requests = [1, 2].map(|seed| request(&[A], 100, seed));
    let mut handles = requests
        .clone()
        .map(|request| engine.submit(request).unwrap());
    assert!(steps(&mut engine) < 25);
    for (handle, request) in handles.iter_mut().zip(&requests) {
        assert_eq!(drain(handle).unwrap(), expected(request));
    }
    // The limits are known before: no loop is longer than all have left.
    assert_eq!(log.lock().unwrap().steps.len(), 100);
}

#[test]
fn a_prompt_ends_the_loops_until_it_is_read() {
    let (mut engine, log) = looping(2, 0);
    let mut long = engine.submit(request(&[A], 200, 1)).unwrap();
    (0..6).for_each(|_| assert!(engine.step()));
    let before = log.lock().unwrap().steps.len();
    let mut other = engine.submit(request(&[A; 40], 5, 2)).unwrap();
    engine.step();
    assert_eq!(log.lock().unwrap().steps[before..], [vec![(0, 1), (1, 15)]]);
    run(&mut engine);
    assert_eq!(drain(&mut long).unwrap(), expected(&request(&[A], 200, 1)));
    assert_eq!(
        drain(&mut other).unwrap(),
        expected(&request(&[A; 40], 5, 2))
    );
}

#[test]
fn ends_within_loops_leave_the_state_where_they_are() {
    let (mut engine, _) = looping(3, 3);
    let requests: Vec<Request> = (0..30)
        .map(|seed| Request {
            keeps_snapshot: true,
            ..stopping(seed)
        })
        .collect();
    let submit = |request: &Request| engine.submit(request.clone()).unwrap();
    let mut handles: Vec<Handle> = requests.iter().map(submit).collect();
    run(&mut engine);
    let mut stopped = 0;
    for (handle, request) in handles.iter_mut().zip(&requests) {
        check_snapshot(handle, request);
        stopped += usize::from(handle.ending().unwrap().finish != Finish::Limit);
    }
    assert!(stopped > 10, "only {stopped} stopped within a loop");
}

#[test]
fn without_room_for_marks_whoever_wants_the_state_goes_step_by_step() {
    let (mut engine, _) = looping(1, 0);
    let request = Request {
        keeps_snapshot: true,
        ..request(&[A, 2, 3], 40, 1)
    };
    let mut handle = engine.submit(request.clone()).unwrap();
    assert_eq!(steps(&mut engine), 40);
    check_snapshot(&mut handle, &request);
}

#[test]
fn the_cache_gets_the_states_at_the_ends() {
    let (engine, log) = looping(1, 1);
    let mut engine = engine.with_cache(PrefixCache::new(1 << 20));
    for seed in 0..12 {
        let mut handle = engine.submit(stopping(seed)).unwrap();
        run(&mut engine);
        let first = drain(&mut handle).unwrap();
        let ending = handle.ending().unwrap();
        let said = [&[A, 2, 3], &ending.tokens[..ending.read], &[5]].concat();
        let mut next = engine.submit(request(&said, 4, seed)).unwrap();
        run(&mut engine);
        assert_eq!(
            drain(&mut next).unwrap(),
            expected(&request(&said, 4, seed))
        );
        assert!(
            next.ending().unwrap().resumed >= said.len() - 1,
            "{first:?}"
        );
    }
    assert!(log.lock().unwrap().steps.len() > 12);
}

#[test]
fn a_sequence_that_runs_away_within_a_loop_fails_alone() {
    let (mut engine, log) = looping(2, 0);
    log.lock().unwrap().faults.insert(10, Fault::Sequence(1));
    let requests = [1, 2].map(|seed| request(&[A], 60, seed));
    let mut handles = requests
        .clone()
        .map(|request| engine.submit(request).unwrap());
    run(&mut engine);
    assert_eq!(drain(&mut handles[0]).unwrap(), expected(&requests[0]));
    let mut came = 0;
    let error = loop {
        match handles[1].next().unwrap() {
            Ok(_) => came += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(came, 10, "what was chosen before is not lost");
    assert!(
        error.to_string().contains("after 10 of its tokens"),
        "{error}"
    );
}
