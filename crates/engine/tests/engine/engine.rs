//! The engine on a batch of fake sequences: what each request gets is what it would get alone.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use thalweg_engine::{
    Engine, EngineOptions, Error, Finish, Handle, Request, SamplerSettings, Snapshot, Token, Until,
};
use thalweg_rwkv::{Session, Wanted};

use crate::fake::{FakeSession, STOP, VOCAB, tokenizer};
use crate::fake_batch::{Answer, FakeBatch, Fault, Log, alone};

const A: u32 = 1;

fn engine(batch: FakeBatch, options: EngineOptions) -> Engine<FakeBatch> {
    Engine::new(batch, Arc::new(tokenizer()), options).unwrap()
}

fn request(prompt: &[u32], tokens: usize, seed: u64) -> Request {
    Request {
        sampler: SamplerSettings {
            top_p: 1.0,
            seed,
            ..SamplerSettings::default()
        },
        until: Until {
            tokens,
            ..Until::default()
        },
        ..Request::new(prompt.to_vec())
    }
}

/// Everything that comes out of a request whose engine has nothing to do any more.
fn drain(handle: &mut Handle) -> Result<Answer, Error> {
    let (mut text, mut ids) = (String::new(), Vec::new());
    let mut ended = false;
    while let std::task::Poll::Ready(Some(token)) = handle.try_next() {
        let token = token?;
        assert!(!ended, "a token after the end");
        ended = token.is_end;
        text += &token.text;
        ids.push(token.id);
    }
    let ending = handle
        .ending()
        .expect("the engine is idle, but a request goes on");
    if let Finish::StopToken(stop) = ending.finish {
        assert_eq!(ids.pop(), Some(stop));
    }
    assert_eq!(ids, ending.tokens, "tokens were lost or repeated");
    Ok(Answer {
        tokens: ids,
        text,
        finish: ending.finish,
    })
}

fn expected(request: &Request) -> Answer {
    alone(request, &mut FakeSession::new()).unwrap()
}

fn run(engine: &mut Engine<FakeBatch>) {
    let mut steps = 0;
    while engine.step() {
        steps += 1;
        assert!(steps < 1_000_000, "the engine does not come to an end");
    }
}

#[test]
fn a_request_gives_what_it_gives_alone() {
    let mut engine = engine(FakeBatch::new(2, 4), EngineOptions::default());
    let mut request = request(&[3, 1, 2, 5, 7, 1, 1], 40, 9);
    request.until.stop_ids = vec![STOP];
    request.until.stop_strings = vec!["ab".to_owned(), "N".to_owned()];
    let mut handle = engine.submit(request.clone()).unwrap();
    let tokens: Result<Vec<Token>, _> = engine.tokens(&mut handle).collect();
    let text: String = tokens
        .unwrap()
        .into_iter()
        .map(|token| token.text)
        .collect();
    let expected = expected(&request);
    assert_eq!(text, expected.text);
    assert_eq!(handle.ending().unwrap().finish, expected.finish);
    assert_eq!(handle.ending().unwrap().tokens, expected.tokens);
}

#[test]
fn a_long_prompt_holds_nobody_up() {
    let batch = FakeBatch::new(3, 8);
    let log = Arc::clone(&batch.log);
    let mut engine = engine(batch, EngineOptions::default());
    let mut short = [1, 2].map(|seed| engine.submit(request(&[A], 50, seed)).unwrap());
    engine.step();
    let mut long = engine.submit(request(&[A; 1000], 1, 3)).unwrap();
    run(&mut engine);
    short
        .iter_mut()
        .for_each(|handle| assert_eq!(drain(handle).unwrap().tokens.len(), 50));
    drain(&mut long).unwrap();
    for step in &log.lock().unwrap().steps[1..49] {
        assert_eq!(
            step[..],
            [(0, 1), (1, 1), (2, 6)],
            "a chunk, and a token of each other"
        );
    }
}

#[test]
fn a_prompt_of_ten_million_tokens_is_read() {
    let mut engine = engine(FakeBatch::new(2, 4096), EngineOptions::default());
    let prompt = vec![A; 10_000_000];
    let mut handle = engine.submit(request(&prompt, 1, 1)).unwrap();
    let refused = engine.submit(request(&prompt, 1, 1));
    assert!(matches!(refused, Err(Error::QueueFull { requests: 1, .. })));
    run(&mut engine);
    assert_eq!(drain(&mut handle).unwrap().tokens.len(), 1);
}

#[test]
fn the_queue_is_bounded() {
    let options = EngineOptions {
        queue_requests: 2,
        ..EngineOptions::default()
    };
    let mut engine = engine(FakeBatch::new(1, 8), options);
    let mut handles: Vec<Handle> = (0..2)
        .map(|seed| engine.submit(request(&[A], 3, seed)).unwrap())
        .collect();
    let message = engine.submit(request(&[A], 3, 9)).unwrap_err().to_string();
    assert!(
        message.starts_with("the queue is full: 2 requests with 2 tokens"),
        "{message}"
    );
    assert!(engine.submit_fork(request(&[A], 3, 9), 2).is_err());
    engine.step();
    handles.push(engine.submit(request(&[A], 3, 2)).unwrap());
    run(&mut engine);
    for (seed, handle) in (0..).zip(&mut handles) {
        assert_eq!(drain(handle).unwrap(), expected(&request(&[A], 3, seed)));
    }
}

#[test]
fn cancelling_takes_effect_within_a_step() {
    let mut engine = engine(FakeBatch::new(1, 8), EngineOptions::default());
    let mut running = engine.submit(request(&[A], 1000, 1)).unwrap();
    let mut waiting = engine.submit(request(&[A], 1000, 2)).unwrap();
    let dropped = engine.submit(request(&[A], 1000, 3)).unwrap();
    engine.step();
    engine.step();
    running.cancel();
    waiting.cancel();
    drop(dropped);
    assert!(!engine.step(), "nothing should be left to do");
    let answer = drain(&mut running).unwrap();
    assert_eq!(
        (answer.finish, answer.tokens.len()),
        (Finish::Interrupted, 2)
    );
    assert_eq!(drain(&mut waiting).unwrap().finish, Finish::Interrupted);
}

#[test]
fn a_callback_gets_each_token_and_may_break_off() {
    let mut engine = engine(FakeBatch::new(1, 8), EngineOptions::default());
    let texts = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&texts);
    let on_token = move |token: Token| {
        let mut heard = heard.lock().unwrap();
        heard.push(token.id);
        match heard.len() {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    let mut handle = engine.submit_with(request(&[A], 9, 1), on_token).unwrap();
    assert_eq!(engine.tokens(&mut handle).count(), 0);
    assert_eq!(handle.ending().unwrap().finish, Finish::Interrupted);
    assert_eq!(
        *texts.lock().unwrap(),
        expected(&request(&[A], 3, 1)).tokens
    );
}

#[test]
fn log_probabilities_come_on_request() {
    let mut engine = engine(FakeBatch::new(1, 8), EngineOptions::default());
    let plain = request(&[A, A], 5, 1);
    let asked = Request {
        logprobs: Some(3),
        ..plain.clone()
    };
    let mut handles = [plain, asked].map(|request| engine.submit(request).unwrap());
    let [plain, asked] = handles.each_mut().map(|handle| {
        let tokens: Result<Vec<Token>, _> = engine.tokens(handle).collect();
        tokens.unwrap()
    });
    for (plain, asked) in plain.iter().zip(&asked) {
        assert_eq!((plain.logprob, plain.top.len()), (None, 0));
        assert_eq!(plain.id, asked.id);
        assert_eq!(asked.top.len(), 3);
        assert!(asked.logprob.unwrap() <= asked.top[0].logprob);
        assert!(asked.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
    }
}

#[test]
fn a_limit_of_nothing_reads_the_prompt_and_keeps_the_state() {
    let mut engine = engine(FakeBatch::new(1, 8), EngineOptions::default());
    let nothing = Request {
        keeps_snapshot: true,
        ..request(&[A, 2, 3], 0, 1)
    };
    let mut handle = engine.submit(nothing).unwrap();
    assert_eq!(engine.tokens(&mut handle).count(), 0);
    let ending = handle.ending().unwrap();
    assert_eq!((ending.finish, ending.read), (Finish::Limit, 0));
    let snapshot = ending.snapshot.clone().unwrap();
    let mut session = FakeSession::new();
    let logits = session.forward(&[A, 2, 3], Wanted::Last).unwrap();
    assert_eq!(snapshot.state, session.state().unwrap());
    assert_eq!(snapshot.logits, Some(logits));

    let mut goes_on = Request {
        start: Some(snapshot),
        ..request(&[], 6, 4)
    };
    let mut handle = engine.submit(goes_on.clone()).unwrap();
    run(&mut engine);
    assert_eq!(
        drain(&mut handle).unwrap(),
        expected(&request(&[A, 2, 3], 6, 4))
    );

    goes_on.prompt = vec![7, 8].into();
    let mut handle = engine.submit(goes_on).unwrap();
    run(&mut engine);
    assert_eq!(
        drain(&mut handle).unwrap(),
        expected(&request(&[A, 2, 3, 7, 8], 6, 4))
    );
}

#[test]
fn a_prompt_is_read_once_for_all_its_continuations() {
    let batch = FakeBatch::new(3, 16);
    let log = Arc::clone(&batch.log);
    let mut engine = engine(batch, EngineOptions::default());
    let prompt = [5; 40];
    let mut handles = engine.submit_fork(request(&prompt, 4, 7), 5).unwrap();
    run(&mut engine);
    for (seed, handle) in (7..).zip(&mut handles) {
        assert_eq!(drain(handle).unwrap(), expected(&request(&prompt, 4, seed)));
    }
    let steps = &log.lock().unwrap().steps;
    let read: usize = steps.iter().flatten().map(|(_, tokens)| tokens).sum();
    assert_eq!(read, 40 + 5 * 3);
}

#[test]
fn continuations_outlive_the_one_that_read_the_prompt() {
    let mut engine = engine(FakeBatch::new(1, 4), EngineOptions::default());
    let mut handles = engine.submit_fork(request(&[5; 10], 4, 7), 3).unwrap();
    engine.step();
    drop(handles.remove(0));
    run(&mut engine);
    for (seed, handle) in (8..).zip(&mut handles) {
        assert_eq!(
            drain(handle).unwrap(),
            expected(&request(&[5; 10], 4, seed))
        );
    }
    for continuations in [0, Request::MOST_CONTINUATIONS + 1] {
        assert!(
            engine
                .submit_fork(request(&[A], 1, 1), continuations)
                .is_err()
        );
    }
}

#[test]
fn bad_requests_are_refused_before_anything_is_computed() {
    let batch = FakeBatch::new(1, 8);
    let log = Arc::clone(&batch.log);
    let options = EngineOptions {
        longest_reply: 1000,
        ..EngineOptions::default()
    };
    let engine = engine(batch, options);
    let good = || request(&[A], 3, 1);
    let state = |numbers| Snapshot {
        state: thalweg_rwkv::State {
            att_shift: vec![0.0; numbers],
            ffn_shift: vec![0.0],
            wkv: vec![0.0],
        },
        logits: None,
    };
    let with_sampler = |sampler| Request { sampler, ..good() };
    let sampler = SamplerSettings::default;
    let bad = [
        (request(&[], 3, 1), "nothing to read"),
        (
            request(&[A, VOCAB as u32], 3, 1),
            "outside the model's vocabulary",
        ),
        (request(&[A], 1001, 1), "tokens is 1001"),
        (request(&[A], usize::MAX, 1), "tokens is"),
        (
            with_sampler(SamplerSettings {
                temperature: f32::NAN,
                ..sampler()
            }),
            "temp is NaN",
        ),
        (
            with_sampler(SamplerSettings {
                top_p: 1.5,
                ..sampler()
            }),
            "top-p is 1.5",
        ),
        (
            Request {
                logprobs: Some(129),
                ..good()
            },
            "logprobs is 129",
        ),
        (
            Request {
                start: Some(Arc::new(state(2))),
                ..good()
            },
            "state with 2 numbers",
        ),
        (
            Request {
                start: Some(Arc::new(state(1))),
                ..request(&[], 3, 1)
            },
            "nothing to read",
        ),
        (
            Request {
                start: Some(Arc::new(Snapshot {
                    logits: Some(vec![0.0]),
                    ..state(1)
                })),
                ..good()
            },
            "as its logits",
        ),
        (
            Request {
                prompt: "x".into(),
                ..good()
            },
            "x",
        ),
        (
            Request {
                until: Until {
                    stop_strings: vec!["a".to_owned(); 65],
                    ..Until::default()
                },
                ..good()
            },
            "number of stop strings is 65",
        ),
        (
            Request {
                until: Until {
                    stop_strings: vec!["a".repeat(4097)],
                    ..Until::default()
                },
                ..good()
            },
            "length of a stop string is 4097",
        ),
    ];
    for (request, says) in bad {
        let message = engine.submit(request).unwrap_err().to_string();
        assert!(message.contains(says), "{says:?} is not in: {message}");
    }
    assert!(!engine.is_busy());
    assert!(log.lock().unwrap().steps.is_empty());
}

#[test]
fn options_out_of_range_are_refused() {
    type Change = fn(&mut EngineOptions);
    let bad: [(Change, &str); 4] = [
        (|o| o.sequences = Some(0), "sequences is 0"),
        (|o| o.sequences = Some(3), "sequences is 3"),
        (|o| o.step_tokens = Some(0), "step-tokens is 0"),
        (|o| o.step_tokens = Some(9), "step-tokens is 9"),
    ];
    for (change, says) in bad {
        let mut options = EngineOptions::default();
        change(&mut options);
        let refused = Engine::new(FakeBatch::new(2, 8), Arc::new(tokenizer()), options);
        let message = refused.err().unwrap().to_string();
        assert!(message.starts_with(says), "{message}");
    }
}

/// Starts three requests, lets something happen to the second one's part of a step, and returns what came of each.
fn three_with_a_fault(step: usize, fault: Fault) -> [Result<Answer, Error>; 3] {
    let batch = FakeBatch::new(3, 8);
    batch.log.lock().unwrap().faults.insert(step, fault);
    let mut engine = engine(batch, EngineOptions::default());
    let mut handles = [1, 2, 3].map(|seed| engine.submit(request(&[A; 9], 10, seed)).unwrap());
    run(&mut engine);
    handles.each_mut().map(drain)
}

#[test]
fn a_sequence_that_runs_away_fails_alone() {
    for (step, fault) in [
        (0, Fault::Sequence(1)),
        (4, Fault::Sequence(1)),
        (6, Fault::Logits(1)),
    ] {
        let [first, guilty, last] = three_with_a_fault(step, fault);
        assert_eq!(
            first.unwrap(),
            expected(&request(&[A; 9], 10, 1)),
            "{fault:?}"
        );
        assert!(guilty.is_err(), "{fault:?}");
        assert_eq!(
            last.unwrap(),
            expected(&request(&[A; 9], 10, 3)),
            "{fault:?}"
        );
    }
}

#[test]
fn a_failed_device_fails_what_runs_and_not_what_waits() {
    let batch = FakeBatch::new(1, 8);
    batch.log.lock().unwrap().faults.insert(2, Fault::Device);
    let mut engine = engine(batch, EngineOptions::default());
    let mut running = engine.submit(request(&[A], 10, 1)).unwrap();
    let mut waiting = engine.submit(request(&[A], 10, 2)).unwrap();
    run(&mut engine);
    let error = engine.tokens(&mut running).last().unwrap().unwrap_err();
    assert!(matches!(error, Error::Step(_)), "{error}");
    assert_eq!(
        drain(&mut waiting).unwrap(),
        expected(&request(&[A], 10, 2))
    );
}

#[test]
fn a_lost_device_ends_the_engine() {
    let batch = FakeBatch::new(1, 8);
    let log = Arc::clone(&batch.log);
    let mut engine = engine(batch, EngineOptions::default());
    let mut running = engine.submit(request(&[A], 10, 1)).unwrap();
    let mut waiting = engine.submit(request(&[A], 10, 2)).unwrap();
    engine.step();
    log.lock().unwrap().is_lost = true;
    run(&mut engine);
    let error = engine.tokens(&mut running).last().unwrap().unwrap_err();
    assert!(matches!(error, Error::Step(_)), "{error}");
    let stopped = [
        engine.tokens(&mut waiting).last().unwrap().unwrap_err(),
        engine.submit(request(&[A], 10, 2)).unwrap_err(),
    ];
    for error in stopped {
        assert!(matches!(error, Error::Stopped { .. }), "{error}");
    }
}

#[test]
fn an_engine_that_goes_leaves_nobody_waiting() {
    let engine = engine(FakeBatch::new(1, 8), EngineOptions::default());
    let submitter = engine.submitter();
    let mut handle = submitter.submit(request(&[A], 10, 1)).unwrap();
    drop(engine);
    assert!(matches!(handle.next(), Some(Err(Error::Stopped { .. }))));
    assert!(handle.next().is_none());
    assert!(matches!(
        submitter.submit(request(&[A], 1, 1)),
        Err(Error::Stopped { .. })
    ));
}

#[test]
fn threads_share_an_engine() {
    let engine = engine(FakeBatch::new(3, 8), EngineOptions::default())
        .spawn()
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..10 {
                    let request = request(&[A, thread + 1], 20, round);
                    let (text, ending) = engine
                        .submit(request.clone())
                        .unwrap()
                        .collect_text()
                        .unwrap();
                    let expected = expected(&request);
                    assert_eq!((text, ending.tokens), (expected.text, expected.tokens));
                }
            });
        }
    });
    let mut endless = engine.submit(request(&[A], 1 << 20, 1)).unwrap();
    assert!(endless.next().unwrap().is_ok());
    drop(engine);
    assert!(matches!(endless.last(), Some(Err(Error::Stopped { .. }))));
}

/// A request at some step of a run, and what its owner does with it.
#[derive(Debug, Clone)]
struct Arrival {
    at_step: usize,
    prompt: Vec<u32>,
    tokens: usize,
    stops: bool,
    cancelled_after: Option<usize>,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let arrival = (
        0_usize..40,
        prop::collection::vec(0..VOCAB as u32, 1..60),
        0_usize..30,
        any::<bool>(),
        prop::option::weighted(0.2, 0_usize..20),
    );
    let arrival = arrival.prop_map(
        |(at_step, prompt, tokens, stops, cancelled_after)| Arrival {
            at_step,
            prompt,
            tokens,
            stops,
            cancelled_after,
        },
    );
    prop::collection::vec(arrival, 1..20)
}

fn faults() -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let fault = prop_oneof![
        3 => (0_usize..8).prop_map(Fault::Sequence),
        1 => Just(Fault::Device),
        1 => (0_usize..8).prop_map(Fault::Logits),
    ];
    prop::collection::vec((0_usize..100, fault), 0..4)
}

fn request_of(seed: usize, arrival: &Arrival) -> Request {
    let mut request = request(&arrival.prompt, arrival.tokens, seed as u64);
    if arrival.stops {
        request.until.stop_ids = vec![STOP];
        request.until.stop_strings = vec!["ab".to_owned()];
    }
    request
}

/// Runs all arrivals, each cancelled when it wants to be, to their ends.
fn run_arrivals(engine: &mut Engine<FakeBatch>, arrivals: &[Arrival]) -> Vec<Handle> {
    let mut handles: Vec<Option<Handle>> = arrivals.iter().map(|_| None).collect();
    let mut step = 0;
    while step < 60 || engine.is_busy() {
        for (index, arrival) in arrivals.iter().enumerate() {
            if arrival.at_step == step {
                handles[index] = Some(engine.submit(request_of(index, arrival)).unwrap());
            }
            let is_cancelled = arrival
                .cancelled_after
                .is_some_and(|after| step == arrival.at_step + after);
            if let Some(handle) = handles[index].as_ref().filter(|_| is_cancelled) {
                handle.cancel();
            }
        }
        engine.step();
        step += 1;
        assert!(step < 10_000, "the engine does not come to an end");
    }
    handles.into_iter().map(Option::unwrap).collect()
}

/// No slot goes without a token for longer than its turn takes, and no step is larger than it may be.
fn check_fairness(log: &Log, slots: usize, budget: usize) {
    for step in &log.steps {
        assert!(step.iter().map(|(_, tokens)| tokens).sum::<usize>() <= budget);
        assert!(step.len() <= slots.min(budget));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whoever shares the engine, whenever they come and go, and whatever fails beside it: a request gets what it would
    /// get alone, or the beginning of it if it was cancelled, or an error if it was to blame or the device failed.
    #[test]
    fn neighbours_do_not_matter(
        arrivals in arrivals(),
        faults in faults(),
        slots in 1_usize..6,
        budget in 1_usize..20,
    ) {
        let batch = FakeBatch::new(slots, budget);
        let log = Arc::clone(&batch.log);
        let fails = !faults.is_empty();
        log.lock().unwrap().faults = faults.into_iter().collect();
        let mut engine = engine(batch, EngineOptions::default());
        let mut handles = run_arrivals(&mut engine, &arrivals);
        for (index, handle) in handles.iter_mut().enumerate() {
            let expected = expected(&request_of(index, &arrivals[index]));
            match drain(handle) {
                Ok(answer) if answer.finish == Finish::Interrupted => {
                    prop_assert!(arrivals[index].cancelled_after.is_some());
                    prop_assert!(expected.tokens.starts_with(&answer.tokens));
                    prop_assert!(expected.text.starts_with(&answer.text));
                }
                Ok(answer) => prop_assert_eq!(answer, expected),
                Err(error) => prop_assert!(fails, "{}", error),
            }
        }
        check_fairness(&log.lock().unwrap(), slots, budget);
    }
}
