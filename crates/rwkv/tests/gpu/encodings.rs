//! Small random models in every tensor type, against the CPU.

use std::sync::Arc;

use thalweg_conformance::synth::{self, Types};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{CpuModel, CpuSession, Hyperparameters, Session, Wanted};

use crate::{largest_difference, session, tokens};

fn compare(hp: &Hyperparameters, types: Types, what: &str) {
    let bytes = synth::model(hp, types, 7);
    let open = || GgufFile::from_bytes(bytes.clone()).unwrap();
    let mut cpu = CpuSession::new(Arc::new(CpuModel::load(open()).unwrap()));
    let mut gpu = session(&open(), 32);
    for count in [40, 1] {
        let expected = cpu.forward(&tokens(count), Wanted::All).unwrap();
        let off = largest_difference(
            &gpu.forward(&tokens(count), Wanted::All).unwrap(),
            &expected,
        );
        println!("{what}, {count} tokens: {off:.1e}");
        assert!(
            off <= 5e-5,
            "{what}, {count} tokens: logits are off by {off:e}"
        );
    }
}

#[test]
fn every_type() {
    let hp = synth::shape(2, 256, 512);
    for ty in TensorType::all().filter(|ty| ty.is_supported()) {
        compare(&hp, Types::all(ty), ty.name());
    }
}

#[test]
fn widths_that_are_no_powers_of_two() {
    let types = Types {
        large: TensorType::Q8_0,
        output: TensorType::Q8_0,
        low_rank: TensorType::F16,
    };
    for (width, ffn) in [(64, 256), (192, 544), (320, 1280)] {
        compare(
            &synth::shape(2, width, ffn),
            types,
            &format!("width {width}"),
        );
    }
}

#[test]
fn low_ranks_of_mixed_types_and_odd_lengths() {
    let mut hp = synth::shape(2, 256, 256);
    hp.ranks.decay = 24;
    hp.ranks.gate = 320;
    let types = Types {
        large: TensorType::Q4_K,
        output: TensorType::Q6_K,
        low_rank: TensorType::F32,
    };
    compare(&hp, types, "ranks 24, 64, 96, 320");
}
