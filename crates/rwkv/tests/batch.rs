//! Sequences in a batch are as they would be alone, whatever their slot, their neighbours and their chunks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::sync::Arc;
use thalweg_conformance::synth::{self, Types};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{Batch, CpuBatch, CpuModel, CpuSession, Error, Part, Place, Session, Wanted};

fn model() -> Arc<CpuModel> {
    let bytes = synth::model(&synth::shape(2, 64, 128), Types::all(TensorType::F32), 3);
    Arc::new(CpuModel::load(GgufFile::from_bytes(bytes).unwrap()).unwrap())
}

fn part(slot: usize, tokens: &[u32], wanted: Wanted) -> Part<'_> {
    Part {
        slot,
        tokens,
        wanted,
    }
}

#[test]
fn a_step_is_what_its_parts_are_alone() {
    let model = model();
    let mut batch = CpuBatch::new(Arc::clone(&model), 3);
    let parts = [
        part(2, &[1, 2, 3], Wanted::Last),
        part(0, &[4], Wanted::Nothing),
        part(1, &[5, 6], Wanted::All),
    ];
    let logits = batch.forward(&parts).unwrap();
    let mut expected = Vec::new();
    for Part {
        slot,
        tokens,
        wanted,
    } in parts
    {
        let mut alone = CpuSession::new(Arc::clone(&model));
        expected.extend(alone.forward(tokens, wanted).unwrap());
        assert_eq!(batch.state(slot).unwrap(), alone.state().unwrap());
    }
    assert_eq!(logits, expected);
}

#[test]
fn states_are_copied_set_and_reset() {
    let mut batch = CpuBatch::new(model(), 2);
    let fresh = batch.state(0).unwrap();
    batch.forward(&[part(0, &[1, 2], Wanted::Nothing)]).unwrap();
    let read = batch.state(0).unwrap();
    batch.copy_state(0, 1).unwrap();
    batch.reset(0).unwrap();
    assert_eq!(batch.state(1).unwrap(), read);
    assert_eq!(batch.state(0).unwrap(), fresh);
    batch.set_state(0, &read).unwrap();
    assert_eq!(batch.state(0).unwrap(), read);
}

#[test]
fn parts_that_make_no_step_are_refused_before_anything_is_read() {
    let mut batch = CpuBatch::new(model(), 2);
    let fresh = batch.state(0).unwrap();
    let one = part(0, &[1], Wanted::Last);
    let many = [1; CpuBatch::LARGEST_STEP];
    let refused = [
        (part(2, &[1], Wanted::Last), "slot 2 is not one"),
        (part(1, &[], Wanted::Last), "no tokens"),
        (part(0, &[2], Wanted::Last), "two parts"),
        (part(1, &many, Wanted::Last), "a step of 1025 tokens"),
        (part(1, &[512], Wanted::Last), "token 512"),
    ];
    for (wrong, says) in refused {
        let message = batch.forward(&[one, wrong]).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
        assert_eq!(batch.state(0).unwrap(), fresh);
    }
}

#[test]
fn a_sequence_that_runs_away_is_named_and_the_others_go_on() {
    let model = model();
    let mut batch = CpuBatch::new(Arc::clone(&model), 2);
    let mut state = batch.state(0).unwrap();
    state.wkv.fill(f32::INFINITY);
    batch.set_state(0, &state).unwrap();
    let parts = [part(0, &[1], Wanted::Last), part(1, &[1, 2], Wanted::Last)];
    let error = batch.forward(&parts).unwrap_err();
    let Error::Runaway { slots, logits } = error else {
        panic!("{error}");
    };
    assert_eq!(slots, [0]);
    let mut alone = CpuSession::new(model);
    let expected = alone.forward(&[1, 2], Wanted::Last).unwrap();
    assert_eq!(logits.0[512..], expected);
    assert_eq!(batch.state(1).unwrap(), alone.state().unwrap());
}

#[test]
fn a_sequence_that_runs_away_says_where_until_it_starts_anew() {
    let hp = synth::shape(3, 64, 128);
    for (name, place) in [
        ("token_embd", Place::Embedding),
        ("blk.0.time_mix_receptance", Place::Layer(0)),
        ("blk.1.time_mix_value", Place::Layer(1)),
        ("blk.2.channel_mix_key", Place::Layer(2)),
        ("output", Place::Output),
    ] {
        let bytes = synth::damaged_model(&hp, &format!("{name}.weight"), 3);
        let model = CpuModel::load(GgufFile::from_bytes(bytes).unwrap()).unwrap();
        let mut batch = CpuBatch::new(Arc::new(model), 2);
        // What is lost in a chunk without a choice is still lost in the next.
        if place != Place::Output {
            let nothing = batch.sample(&[part(1, &[0], Wanted::Nothing)]).unwrap();
            assert_eq!(nothing, []);
        }
        let chosen = batch.sample(&[part(1, &[0], Wanted::Last)]).unwrap();
        assert_eq!(chosen, [None], "{name}");
        assert_eq!(batch.runaway_place(1).unwrap(), place, "{name}");
    }

    let mut batch = CpuBatch::new(model(), 2);
    let mut state = batch.state(0).unwrap();
    state.ffn_shift[64] = f32::NAN;
    batch.set_state(0, &state).unwrap();
    let chosen = batch.sample(&[part(0, &[1], Wanted::Last)]).unwrap();
    assert_eq!(chosen, [None]);
    assert_eq!(batch.runaway_place(0).unwrap(), Place::Layer(1));
    batch.reset(0).unwrap();
    let chosen = batch.sample(&[part(0, &[1], Wanted::Last)]).unwrap();
    assert!(chosen[0].is_some());
}
