//! What a report says of the model.

use thalweg_bench::{Model, Work};
use thalweg_gguf::{GgufFile, TensorInfo};
use thalweg_rwkv::{Hyperparameters, State, model_hash};

use crate::failure::Failure;

const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";

pub(super) fn describe(file: &GgufFile) -> Result<Model, Failure> {
    let hp = Hyperparameters::from_gguf(file)?;
    let name = file.path().file_name().unwrap_or_default();
    Ok(Model {
        file: name.to_string_lossy().into_owned(),
        file_bytes: file.bytes_len(),
        hash: Some(format!("{:016x}", model_hash(file)?)),
        layers: hp.layers,
        width: hp.width,
        vocab: hp.vocab,
        work: Some(work(file.tensors(), &hp)),
    })
}

fn work(tensors: &[TensorInfo], hp: &Hyperparameters) -> Work {
    let is_in_layers = |tensor: &&TensorInfo| tensor.name != EMBEDDING && tensor.name != HEAD;
    let layers = || tensors.iter().filter(is_in_layers);
    let head = || tensors.iter().filter(|tensor| tensor.name == HEAD);
    Work {
        layer_bytes: layers().map(|tensor| tensor.bytes).sum(),
        head_bytes: head().map(|tensor| tensor.bytes).sum(),
        state_bytes: State::bytes(hp),
        layer_elements: layers().filter(is_matrix).map(TensorInfo::elements).sum(),
        head_elements: head().map(TensorInfo::elements).sum(),
        recurrence_elements: (hp.layers * hp.width * hp.head_size) as u64,
    }
}

/// Whether a tensor has rows and columns; the others are added to or multiplied with, number by number.
fn is_matrix(tensor: &&TensorInfo) -> bool {
    tensor.shape.iter().filter(|length| **length > 1).count() > 1
}
