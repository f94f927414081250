//! Models are told apart by their hash.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use thalweg_conformance::synth::{self, Types};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::model_hash;

#[test]
fn the_hash_depends_on_shape_encoding_and_weights() {
    let hash = |layers, ty, seed| {
        let bytes = synth::model(&synth::shape(layers, 64, 128), Types::all(ty), seed);
        model_hash(&GgufFile::from_bytes(bytes).unwrap()).unwrap()
    };
    let one = hash(1, TensorType::F32, 1);
    assert_eq!(hash(1, TensorType::F32, 1), one);
    assert_ne!(hash(2, TensorType::F32, 1), one);
    assert_ne!(hash(1, TensorType::F16, 1), one);
    assert_ne!(hash(1, TensorType::F32, 2), one);
}
