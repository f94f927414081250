//! What cannot be done is refused by name.

use std::ops::ControlFlow;
use std::sync::Arc;

use thalweg_conformance::synth::{self, Types};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{
    Batch, Error, GpuBatch, GpuModel, GpuOptions, Next, Place, Session, Taps, Tuning, Wanted,
};

use crate::{CONTEXT, chunks_of, session, synth_tiny};

fn load(tuning: Tuning) -> Result<GpuModel, Error> {
    let options = GpuOptions {
        tuning,
        ..GpuOptions::default()
    };
    GpuModel::load(Arc::clone(&CONTEXT), &synth_tiny(), options)
}

#[test]
fn loading_ends_where_it_is_broken_off() {
    let mut told = Vec::new();
    let mut on_progress = |progress| {
        told.push(progress);
        if told.len() == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let options = GpuOptions::default();
    let context = Arc::clone(&CONTEXT);
    let result = GpuModel::load_with_progress(context, &synth_tiny(), options, &mut on_progress);
    assert!(matches!(result, Err(Error::Cancelled)));
    assert_eq!(told.len(), 3);
    assert!(0 < told[0].done_bytes && told[2].done_bytes < told[2].total_bytes);
}

#[test]
fn settings_beyond_the_device_are_refused() {
    for chunk in [0, u32::MAX] {
        let error = load(chunks_of(chunk)).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(
                error,
                Error::Setting {
                    name: "chunk size",
                    ..
                }
            ),
            "{text}"
        );
        assert!(
            text.contains(&chunk.to_string()) && text.contains("expected 1 to"),
            "{text}"
        );
    }
    for block_size in [0, 12, 64] {
        let error = load(Tuning {
            block_size,
            ..Tuning::default()
        })
        .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Setting {
                    name: "block size",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn tokens_that_the_model_lacks_are_refused_before_anything_is_computed() {
    let mut session = session(&synth_tiny(), 16);
    let error = session.forward(&[1, 512], Wanted::Last).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Token {
                token: 512,
                position: 1,
                vocab: 512
            }
        ),
        "{error}"
    );
    assert!(
        session
            .state()
            .unwrap()
            .wkv
            .iter()
            .all(|value| *value == 0.0)
    );
    let error = session
        .forward_tapped(&[1; 17], &mut Taps::default())
        .unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "{error}");
}

#[test]
fn infinities_are_an_error() {
    let mut session = session(&synth_tiny(), 16);
    let mut state = session.state().unwrap();
    state.wkv[70] = f32::NAN;
    session.set_state(&state).unwrap();
    let error = session.forward(&[1, 2, 3], Wanted::Last).unwrap_err();
    assert!(
        matches!(error, Error::NonFinite { position: 2, .. }),
        "{error}"
    );
    session.reset();
    session.forward(&[1, 2, 3], Wanted::Last).unwrap();
}

#[test]
fn infinities_name_the_layer_where_they_began() {
    let hp = synth::shape(3, 64, 128);
    for (name, place) in [
        ("token_embd", Place::Embedding),
        ("blk.0.channel_mix_key", Place::Layer(0)),
        ("blk.1.time_mix_receptance", Place::Layer(1)),
        ("blk.1.time_mix_value", Place::Layer(1)),
        ("blk.1.channel_mix_value", Place::Layer(1)),
        ("blk.2.time_mix_output", Place::Layer(2)),
        ("blk.2.channel_mix_value", Place::End),
        ("output", Place::End),
    ] {
        let bytes = synth::damaged_model(&hp, &format!("{name}.weight"), 3);
        let file = GgufFile::from_bytes(bytes).unwrap();
        let mut session = session(&file, 16);
        let error = session.forward(&[5, 0], Wanted::Last).unwrap_err();
        let Error::NonFinite { place: found, .. } = error else {
            panic!("{name}: {error}");
        };
        assert_eq!(found, place, "{name}, in a prompt");

        let mut batch = GpuBatch::new(Arc::clone(session.model()), 2).unwrap();
        let chosen = batch.decode(&[Next { slot: 1, token: 0 }], 3).unwrap();
        assert_eq!(chosen, [None, None, None], "{name}");
        assert_eq!(batch.runaway_place(1).unwrap(), place, "{name}, in a loop");
        batch.reset(1).unwrap();
        assert_eq!(batch.runaway_place(1).unwrap(), Place::End, "{name}");
    }
}

#[test]
fn heads_of_other_sizes_are_refused() {
    let mut hp = synth::shape(1, 64, 64);
    (hp.heads, hp.head_size) = (2, 32);
    let file = GgufFile::from_bytes(synth::model(&hp, Types::all(TensorType::F32), 1)).unwrap();
    let error = GpuModel::load(Arc::clone(&CONTEXT), &file, GpuOptions::default()).unwrap_err();
    assert!(error.to_string().contains("head_size is 32"), "{error}");
}
