//! The engine on whatever device there is: loops and neighbours change no token.

use std::sync::Arc;

use thalweg_conformance::synth::{self, Types};
use thalweg_engine::{Ending, Engine, EngineOptions, Request, SamplerSettings, Speculation};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_gpu::Context;
use thalweg_rwkv::{
    GpuBatch, GpuModel, GpuOptions, GpuSession, Hyperparameters, Session, Tuning, Wanted,
};
use thalweg_tokenizer::Tokenizer;

use crate::engine::request;
use crate::failures::runaway_error;
use crate::fake_batch::alone;

const PROMPT: [u32; 5] = [3, 1, 4, 1, 5];

/// A small model, and a tokenizer for it.
fn model() -> (Arc<GpuModel>, Arc<Tokenizer>) {
    let hp = Hyperparameters {
        vocab: 257,
        ..synth::shape(2, 64, 128)
    };
    let bytes = synth::model(&hp, Types::all(TensorType::F32), 5);
    let file = GgufFile::from_bytes(bytes).unwrap();
    let tokenizer = Tokenizer::from_gguf(file.metadata()).unwrap();
    let options = GpuOptions {
        tuning: Tuning {
            chunk: 32,
            ..Tuning::default()
        },
        ..GpuOptions::default()
    };
    let context = Arc::new(Context::of_any_kind().unwrap());
    let model = GpuModel::load(context, &file, options).unwrap();
    (Arc::new(model), Arc::new(tokenizer))
}

#[test]
fn a_sequence_that_runs_away_names_the_layer() {
    let error = runaway_error("blk.1.time_mix_value.weight", |file| {
        let context = Arc::new(Context::of_any_kind().unwrap());
        let model = GpuModel::load(context, &file, GpuOptions::default()).unwrap();
        GpuBatch::new(Arc::new(model), 1).unwrap()
    });
    assert!(error.to_string().contains("in layer 1"), "{error}");
}

fn greedy(tokens: usize) -> Request {
    Request {
        sampler: SamplerSettings {
            frequency_penalty: 0.3,
            ..SamplerSettings::greedy()
        },
        ..request(&PROMPT, tokens, 0)
    }
}

#[test]
fn the_engine_on_a_device_gives_what_the_host_samples() {
    let (model, tokenizer) = model();
    let batch = GpuBatch::new(Arc::clone(&model), 6).unwrap();
    let options = EngineOptions {
        sequences: Some(3),
        ..EngineOptions::default()
    };
    let mut engine = Engine::new(batch, tokenizer, options).unwrap();
    let mut session = GpuSession::new(Arc::clone(&model)).unwrap();
    let mut requests = [request(&PROMPT, 40, 7), greedy(25), request(&PROMPT, 9, 8)];
    let reply = alone(&requests[1], &mut session).tokens;
    requests[1].until.stop_ids = vec![reply[17]];
    requests[1].keeps_snapshot = true;

    let submit = |request: &Request| engine.submit(request.clone()).unwrap();
    let mut handles: Vec<_> = requests.iter().map(submit).collect();
    let mut steps = 1;
    while engine.step() {
        steps += 1;
    }
    assert!(steps < 30, "{steps} steps for 40 tokens");
    for (request, handle) in requests.iter().zip(&mut handles) {
        session.reset();
        let expected = alone(request, &mut session);
        let tokens: Result<Vec<_>, _> = engine.tokens(handle).collect();
        tokens.unwrap();
        assert_eq!(handle.ending().unwrap().tokens, expected.tokens);
    }

    let ending = handles[1].ending().unwrap();
    let snapshot = ending.snapshot.as_ref().unwrap();
    let read = [&PROMPT[..], &ending.tokens[..ending.read]].concat();
    session.reset();
    let logits = session.forward(&read, Wanted::Last).unwrap();
    assert_close(snapshot.logits.as_ref().unwrap(), &logits);
}

/// The first guess is made however fast the device is. It is right where a text repeats itself, as one does whose tokens are all
/// the same; penalties and random numbers make look-ups err. Without a slot for marks a sequence that keeps a snapshot goes in
/// single steps, the others in loops.
#[test]
fn guesses_on_a_device_change_no_token() {
    let (model, tokenizer) = model();
    let ending = |request: &Request, speculation: Speculation| {
        let batch = GpuBatch::new(Arc::clone(&model), 1).unwrap();
        let options = EngineOptions::default();
        let mut engine = Engine::new(batch, Arc::clone(&tokenizer), options).unwrap();
        let request = Request {
            speculation,
            ..request.clone()
        };
        let mut handle = engine.submit(request).unwrap();
        let tokens: Result<Vec<_>, _> = engine.tokens(&mut handle).collect();
        tokens.unwrap();
        handle.ending().unwrap().clone()
    };
    let mut repeating = Request {
        keeps_snapshot: true,
        ..request(&PROMPT, 40, 0)
    };
    repeating.sampler.biases = vec![(7, 100.0)];
    for request in [&repeating, &greedy(60), &request(&PROMPT, 60, 3)] {
        let without = ending(request, Speculation::Off);
        let with = ending(request, Speculation::Ngram);
        assert_eq!(without.timings.guesses.steps, 0);
        assert_eq!(with.tokens, without.tokens);
        if request.keeps_snapshot {
            assert!(with.timings.guesses.accepted > 0, "{:?}", with.timings);
            assert_same_logits(&with, &without);
        }
    }
}

fn assert_same_logits(found: &Ending, expected: &Ending) {
    let logits = |ending: &Ending| ending.snapshot.as_ref().unwrap().logits.clone().unwrap();
    assert_close(&logits(found), &logits(expected));
}

fn assert_close(found: &[f32], expected: &[f32]) {
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    assert!(off.fold(0.0, f32::max) < 1e-4);
}
