//! Telling models apart by their weights.

use crate::{Error, Hyperparameters};
use thalweg_gguf::GgufFile;
use thalweg_shaders::stable_hash;

/// Bytes of a tensor that are looked at in one place.
const SAMPLE: usize = 4096;

/// A hash of the model in `file`: of its hyperparameters, and of its tensors' names, types, shapes and data. Of a large
/// tensor only its beginning, middle and end are looked at, so this takes milliseconds for any model; it tells trained
/// models apart, but is no proof against a single weight being changed.
///
/// # Errors
/// The file is not one of an RWKV-7 model.
pub fn model_hash(file: &GgufFile) -> Result<u64, Error> {
    let hp = Hyperparameters::from_gguf(file)?;
    let tensors = file.tensors().iter();
    let described: Vec<String> = std::iter::once(format!("{hp:?}"))
        .chain(tensors.map(|t| format!("{} {} {:?}", t.name, t.ty.name(), t.shape)))
        .collect();
    let data = file
        .tensors()
        .iter()
        .filter_map(|info| file.tensor(&info.name))
        .flat_map(|tensor| samples(tensor.data));
    Ok(stable_hash(
        described.iter().map(String::as_bytes).chain(data),
    ))
}

fn samples(data: &[u8]) -> [&[u8]; 3] {
    if data.len() <= 3 * SAMPLE {
        return [data, &[], &[]];
    }
    let middle = data.len() / 2;
    [
        &data[..SAMPLE],
        &data[middle..middle + SAMPLE],
        &data[data.len() - SAMPLE..],
    ]
}
