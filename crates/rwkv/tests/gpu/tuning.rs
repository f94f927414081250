//! However the work is divided, the logits are the same up to rounding, and the weights stay where they are.

use std::sync::Arc;

use thalweg_gguf::{GgufFile, TensorType};
use thalweg_gpu::Context;
use thalweg_rwkv::{
    Activations, GpuModel, GpuOptions, GpuSession, KNOBS, Precision, Session, TuningKey, Wanted,
};

use crate::{CONTEXT, chunks_of, largest_difference, synth_tiny, tokens};

/// Logits after a prompt and after one more token.
fn logits(model: GpuModel) -> Vec<f32> {
    let mut session = GpuSession::new(Arc::new(model)).unwrap();
    let tokens = tokens(150);
    let mut logits = session.forward(&tokens, Wanted::Last).unwrap();
    logits.extend(session.forward(&tokens[..1], Wanted::Last).unwrap());
    logits
}

#[test]
fn every_candidate_gives_the_logits_of_the_default() {
    let options = GpuOptions {
        tuning: chunks_of(128),
        ..GpuOptions::default()
    };
    let model = GpuModel::load(Arc::clone(&CONTEXT), &synth_tiny(), options).unwrap();
    let expected = logits(model.with_tuning(options.tuning).unwrap());
    let mut tried = 0;
    for knob in KNOBS {
        for candidate in knob.candidates(options.tuning, &model) {
            let found = logits(model.with_tuning(candidate).unwrap());
            let off = largest_difference(&found, &expected);
            assert!(
                off < 5e-5,
                "{} {}: {off:e}",
                knob.name,
                knob.value(candidate)
            );
            tried += 1;
        }
    }
    assert!(tried > 16, "{tried}");
}

#[test]
fn another_tuning_takes_no_memory_of_its_own() {
    let context = Arc::new(Context::of_any_kind().unwrap());
    let options = GpuOptions::default();
    let model = GpuModel::load(Arc::clone(&context), &synth_tiny(), options).unwrap();
    let bytes = context.memory().buffer_bytes;
    let another = model.with_tuning(chunks_of(32)).unwrap();
    assert_eq!(context.memory().buffer_bytes, bytes);
    assert_eq!(another.options().tuning, chunks_of(32));
    assert_eq!(model.options(), options);
    assert!(model.with_tuning(chunks_of(0)).is_err());
}

#[test]
fn the_key_tells_what_a_tuning_depends_on() {
    let key = |file: &GgufFile, precision, activations| {
        TuningKey::new(&CONTEXT, file, precision, activations).unwrap()
    };
    let file = synth_tiny();
    let expected = key(&file, Precision::Exact, Activations::F32);
    assert_eq!(
        key(&synth_tiny(), Precision::Exact, Activations::F32),
        expected
    );
    assert!(expected.to_string().contains(&CONTEXT.adapter().name));
    let hp = thalweg_rwkv::Hyperparameters::from_gguf(&file).unwrap();
    let types = thalweg_conformance::synth::Types::all(TensorType::Q8_0);
    let bytes = thalweg_conformance::synth::model(&hp, types, 1);
    let other_types = GgufFile::from_bytes(bytes).unwrap();
    for other in [
        key(&file, Precision::Fast, Activations::F32),
        key(&file, Precision::Exact, Activations::Q8),
        key(&other_types, Precision::Exact, Activations::F32),
    ] {
        assert_ne!(other, expected);
        assert_ne!(other.short(), expected.short());
    }
}
