//! The engine on a batch of fake sequences: what each request gets is what it would get alone.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use thalweg_engine::{
    Engine, EngineOptions, Error, Finish, Handle, Request, SamplerSettings, Token, Until,
};
use thalweg_rwkv::{Session, Wanted};

use crate::fake::{FakeSession, STOP, tokenizer};
use crate::fake_batch::{Answer, FakeBatch, alone};

const A: u32 = 1;

pub(crate) fn engine(batch: FakeBatch, options: EngineOptions) -> Engine<FakeBatch> {
    let clock = batch.clock.clone();
    let engine = Engine::new(batch, Arc::new(tokenizer()), options).unwrap();
    engine.with_clock(move || clock.now())
}

pub(crate) fn request(prompt: &[u32], tokens: usize, seed: u64) -> Request {
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
pub(crate) fn drain(handle: &mut Handle) -> Result<Answer, Error> {
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

pub(crate) fn expected(request: &Request) -> Answer {
    alone(request, &mut FakeSession::new())
}

pub(crate) fn run(engine: &mut Engine<FakeBatch>) {
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
