//! What goes wrong: requests that make no sense, sequences that run away, devices that fail.

use std::sync::Arc;

use thalweg_conformance::synth;
use thalweg_engine::{
    Engine, EngineOptions, Error, PrefixCache, Request, SamplerSettings, Snapshot, Until,
};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{Batch, CpuBatch, CpuModel, Place};
use thalweg_tokenizer::Tokenizer;

use crate::engine::{drain, engine, expected, request, run};
use crate::fake::{VOCAB, tokenizer};
use crate::fake_batch::{Answer, FakeBatch, Fault};

const A: u32 = 1;

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
            with_sampler(SamplerSettings {
                biases: vec![(VOCAB as u32, 1.0)],
                ..sampler()
            }),
            "a token with a bias or a ban is",
        ),
        (
            with_sampler(SamplerSettings {
                biases: vec![(A, f32::NAN)],
                ..sampler()
            }),
            "logit-bias is NaN",
        ),
        (
            with_sampler(SamplerSettings {
                bans: vec![u32::MAX],
                ..sampler()
            }),
            "a token with a bias or a ban is 4294967295",
        ),
        (
            with_sampler(SamplerSettings {
                bans: (0..VOCAB as u32).collect(),
                ..sampler()
            }),
            "every token of the vocabulary is banned",
        ),
        (
            Request {
                logprobs: Some(21),
                ..good()
            },
            "logprobs is 21",
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

/// What a sequence fails with in a model of three layers with infinities in this matrix.
pub(crate) fn runaway_error<B: Batch>(name: &str, batch: impl FnOnce(GgufFile) -> B) -> Error {
    let bytes = synth::damaged_model(&synth::shape(3, 64, 128), name, 3);
    let file = GgufFile::from_bytes(bytes).unwrap();
    let tokenizer = Arc::new(Tokenizer::from_gguf(file.metadata()).unwrap());
    let mut engine = Engine::new(batch(file), tokenizer, EngineOptions::default()).unwrap();
    let mut handle = engine.submit(request(&[5, 1, 0], 9, 1)).unwrap();
    engine.tokens(&mut handle).last().unwrap().unwrap_err()
}

#[test]
fn a_sequence_that_runs_away_names_the_layer_and_what_to_do() {
    let error = runaway_error("blk.1.channel_mix_value.weight", |file| {
        CpuBatch::new(Arc::new(CpuModel::load(file).unwrap()), 1)
    });
    assert!(
        matches!(
            error,
            Error::Runaway {
                read: 0,
                place: Place::Layer(1)
            }
        ),
        "{error}"
    );
    let message = error.to_string();
    assert!(
        message.contains("in layer 1") && message.contains("--check-tensors"),
        "{message}"
    );
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
fn a_failed_device_takes_the_states_in_its_slots_with_it() {
    let batch = FakeBatch::new(3, 64);
    let log = Arc::clone(&batch.log);
    let options = EngineOptions {
        sequences: Some(1),
        ..EngineOptions::default()
    };
    let mut engine = engine(batch, options).with_cache(PrefixCache::new(0));
    let request = request(&[A; 30], 3, 1);
    for fails in [false, true, false] {
        let step = log.lock().unwrap().steps.len() + 1;
        if fails {
            log.lock().unwrap().faults.insert(step, Fault::Device);
        }
        let mut handle = engine.submit(request.clone()).unwrap();
        run(&mut engine);
        match drain(&mut handle) {
            Ok(answer) => assert_eq!(answer, expected(&request)),
            Err(error) => assert!(fails, "{error}"),
        }
    }
}
