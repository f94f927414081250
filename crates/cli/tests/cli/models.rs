//! Small models written for the tests, and the demo model.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thalweg_conformance::synth::{self, Tensor, Types};
use thalweg_gguf::TensorType;
use thalweg_gguf::writer::GgufWriter;
use thalweg_rwkv::Hyperparameters;

/// Tokens of the random models: one that ends the text, and the bytes.
pub(crate) const VOCAB: usize = 257;

/// The demo model in the checkout.
pub(crate) fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/thalweg-demo-29m-q4_k_m.gguf")
}

/// A directory for the files of one test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn save(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A random model over bytes. With `--temp 0` it never ends its text: the logit of its stop token is always zero.
pub(crate) fn random(folder: &TempDir) -> PathBuf {
    write(folder, "random.gguf", TensorType::F32, |head| {
        let stop_row = shape().width * size_of::<f32>();
        head.data[..stop_row].fill(0);
    })
}

/// A random model whose output matrix has a scale that is not a number.
pub(crate) fn with_nan_scale(folder: &TempDir) -> PathBuf {
    const F16_NAN: [u8; 2] = 0x7e00_u16.to_le_bytes();
    write(folder, "nan.gguf", TensorType::Q8_0, |head| {
        head.data[..2].copy_from_slice(&F16_NAN)
    })
}

/// A file with the vocabulary of the random models and without weights.
pub(crate) fn vocabulary_only(folder: &TempDir) -> PathBuf {
    save(
        folder,
        "vocabulary.gguf",
        &synth::metadata(&shape()).finish(),
    )
}

/// A file with a vocabulary of one letter, which names no begin-of-text token.
pub(crate) fn without_begin_of_text(folder: &TempDir) -> PathBuf {
    let writer = GgufWriter::new()
        .str("general.architecture", "rwkv7")
        .str("tokenizer.ggml.model", "rwkv");
    let writer = writer
        .strings("tokenizer.ggml.tokens", ["<s>", "x"])
        .i32s("tokenizer.ggml.token_type", [3, 1]);
    save(folder, "letter.gguf", &writer.finish())
}

fn write(
    folder: &TempDir,
    name: &str,
    ty: TensorType,
    change_head: impl Fn(&mut Tensor),
) -> PathBuf {
    let mut tensors = synth::tensors(&shape(), Types::all(ty), 1);
    tensors
        .iter_mut()
        .filter(|tensor| tensor.name == "output.weight")
        .for_each(change_head);
    save(
        folder,
        name,
        &synth::file(synth::metadata(&shape()), &tensors),
    )
}

fn shape() -> Hyperparameters {
    Hyperparameters {
        vocab: VOCAB,
        ..synth::shape(2, 64, 128)
    }
}
