//! Files and input that cannot be run are refused by name, before anything is computed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::sync::Arc;
use thalweg_conformance::synth::{self, Tensor, Types};
use thalweg_gguf::writer::GgufWriter;
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{CpuModel, CpuSession, Error, Hyperparameters, Session, State, Wanted};

fn load(bytes: Vec<u8>) -> Result<CpuModel, Error> {
    CpuModel::load(GgufFile::from_bytes(bytes).unwrap())
}

/// Loads a model of two layers and width 64 after its tensors have been edited.
fn load_edited(edit: impl FnOnce(&mut Vec<Tensor>)) -> Result<CpuModel, Error> {
    let hp = synth::shape(2, 64, 128);
    let mut tensors = synth::tensors(&hp, Types::all(TensorType::Q8_0), 1);
    edit(&mut tensors);
    load(synth::file(synth::metadata(&hp), &tensors))
}

/// Loads a model whose metadata promise another shape than its tensors have.
fn load_as(claim: Hyperparameters) -> String {
    let tensors = synth::tensors(&synth::shape(2, 64, 128), Types::all(TensorType::Q8_0), 1);
    load(synth::file(synth::metadata(&claim), &tensors))
        .unwrap_err()
        .to_string()
}

fn find<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    tensors
        .iter_mut()
        .find(|tensor| tensor.name == name)
        .unwrap()
}

#[track_caller]
fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn another_architecture() {
    let message = load(
        GgufWriter::new()
            .str("general.architecture", "llama")
            .finish(),
    )
    .unwrap_err()
    .to_string();
    assert_names(
        &message,
        &["<memory>", "this file is 'llama', Thalweg runs rwkv7"],
    );
}

#[test]
fn a_file_without_metadata() {
    let message = load(GgufWriter::new().finish()).unwrap_err().to_string();
    assert_names(&message, &["general.architecture", "missing"]);
}

#[test]
fn hyperparameters_out_of_bounds() {
    let honest = synth::shape(2, 64, 128);
    let with_ranks = |decay| {
        let mut hp = honest.clone();
        hp.ranks.decay = decay;
        hp
    };
    let claims = [
        (
            Hyperparameters {
                layers: 0,
                ..honest.clone()
            },
            "rwkv7.block_count",
        ),
        (
            Hyperparameters {
                layers: u32::MAX as usize,
                ..honest.clone()
            },
            "rwkv7.block_count",
        ),
        (
            Hyperparameters {
                layers: 900,
                ..honest.clone()
            },
            "no more layers than the file has tensors",
        ),
        (
            Hyperparameters {
                width: 0,
                ..honest.clone()
            },
            "rwkv7.embedding_length",
        ),
        (
            Hyperparameters {
                width: 1 << 31,
                ..honest.clone()
            },
            "rwkv7.embedding_length",
        ),
        (
            Hyperparameters {
                head_size: 0,
                ..honest.clone()
            },
            "rwkv7.wkv.head_size",
        ),
        (
            Hyperparameters {
                head_size: 48,
                ..honest.clone()
            },
            "a divisor of rwkv7.embedding_length, which is 64",
        ),
        (
            Hyperparameters {
                head_size: 512,
                ..honest.clone()
            },
            "rwkv7.wkv.head_size",
        ),
        (
            Hyperparameters {
                ffn: 0,
                ..honest.clone()
            },
            "rwkv7.feed_forward_length",
        ),
        (
            Hyperparameters {
                layer_norm_eps: f32::NAN,
                ..honest.clone()
            },
            "rwkv7.attention.layer_norm_epsilon",
        ),
        (
            Hyperparameters {
                layer_norm_eps: -1e-5,
                ..honest.clone()
            },
            "rwkv7.attention.layer_norm_epsilon",
        ),
        (with_ranks(0), "rwkv7.attention.decay_lora_rank"),
        (
            with_ranks(u32::MAX as usize),
            "rwkv7.attention.decay_lora_rank",
        ),
    ];
    for (claim, part) in claims {
        assert_names(&load_as(claim), &[part, "expected"]);
    }
}

#[test]
fn ranks_are_confirmed_by_shapes() {
    let mut claim = synth::shape(2, 64, 128);
    claim.ranks.gate = 161;
    let message = load_as(claim);
    assert_names(
        &message,
        &[
            "blk.0.time_mix_g1.weight: shape [64, 160], expected [64, 161]",
            "4 tensors",
        ],
    );
}

#[test]
fn missing_misshapen_and_undecodable_tensors_are_listed_together() {
    let message = load_edited(|tensors| {
        tensors.retain(|tensor| tensor.name != "blk.1.attn_norm.bias");
        find(tensors, "output_norm.bias").shape = vec![32, 2];
        let iq4_nl = find(tensors, "blk.0.time_mix_key.weight");
        (iq4_nl.ty, iq4_nl.data) = (TensorType::IQ4_NL, vec![0; 64 * 64 / 32 * 18]);
    })
    .unwrap_err()
    .to_string();
    assert_names(
        &message,
        &[
            "blk.1.attn_norm.bias: missing, expected shape [64]",
            "output_norm.bias: shape [32, 2], expected [64]",
            "blk.0.time_mix_key.weight: type IQ4_NL is not supported",
        ],
    );
}

#[test]
fn at_most_twenty_tensors_are_listed() {
    let error = load_edited(|tensors| tensors.truncate(10)).unwrap_err();
    let message = error.to_string();
    let Error::Tensors { problems, .. } = error else {
        panic!("{message}")
    };
    // Six outside of the layers, 25 in layer 0 and 28 in layer 1.
    assert_eq!(problems.len(), 6 + 25 + 28 - 10);
    assert_eq!(message.matches("missing").count(), 20);
    assert_names(&message, &["and 29 more"]);
}

#[test]
fn dimensions_of_one_do_not_matter() {
    load_edited(|tensors| {
        find(tensors, "blk.0.channel_mix_lerp_k.weight").shape = vec![64, 1, 1];
        find(tensors, "blk.0.time_mix_lerp_fused.weight").shape = vec![64, 6];
    })
    .unwrap();
}

#[test]
fn value_residual_tensors_of_layer_0_may_be_absent() {
    load_edited(|tensors| tensors.retain(|tensor| !tensor.name.starts_with("blk.0.time_mix_v0")))
        .unwrap();
}

#[test]
fn non_finite_weights_are_found_on_request() {
    let model = load_edited(|tensors| {
        // The f16 scale of the third block of 32 elements becomes infinite.
        find(tensors, "blk.1.channel_mix_value.weight").data[2 * 34..][..2]
            .copy_from_slice(&[0x00, 0x7c]);
    })
    .unwrap();
    let message = model.check_tensors().unwrap_err().to_string();
    assert_names(
        &message,
        &["blk.1.channel_mix_value.weight", "at element 64", "finite"],
    );
}

#[test]
fn non_finite_numbers_are_found_where_they_begin() {
    for (name, scale) in [
        ("time_mix_g2", [0x00, 0x7c]),
        ("channel_mix_key", [0x00, 0x7e]),
    ] {
        let model = load_edited(|tensors| {
            find(tensors, &format!("blk.1.{name}.weight")).data[..2].copy_from_slice(&scale);
        })
        .unwrap();
        let error = CpuSession::new(Arc::new(model))
            .forward(&[1, 2], Wanted::Last)
            .unwrap_err();
        assert_names(&error.to_string(), &["in layer 1", "at token 0"]);
    }
}

#[test]
fn unknown_tokens_leave_the_state_alone() {
    let mut session = CpuSession::new(Arc::new(load_edited(|_| ()).unwrap()));
    let error = session.forward(&[1, 2, 512], Wanted::Last).unwrap_err();
    assert_names(
        &error.to_string(),
        &["token 512 at position 2", "below 512"],
    );
    assert_eq!(
        session.state().unwrap(),
        State::zeros(session.hyperparameters())
    );
}

#[test]
fn a_state_of_another_model() {
    let mut session = CpuSession::new(Arc::new(load_edited(|_| ()).unwrap()));
    let error = session
        .set_state(&State::zeros(&synth::shape(3, 64, 128)))
        .unwrap_err();
    assert_names(
        &error.to_string(),
        &["att_shift", "192 numbers", "expected 128"],
    );
}
