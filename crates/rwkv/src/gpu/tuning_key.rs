//! What a tuning was found on, and so what it is good for.

use std::fmt;

use thalweg_gguf::GgufFile;
use thalweg_gpu::Context;
use thalweg_shaders::{kernels, stable_hash};

use super::{Activations, Precision};
use crate::{Error, Hyperparameters};

/// Everything that the speed of a model depends on, less its numbers: adapter, driver, features in use, kernels, sizes and
/// types of the model's tensors, arithmetic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuningKey(String);

impl TuningKey {
    /// The key for the model in `file` on the device.
    ///
    /// # Errors
    /// The file is not one of an RWKV-7 model.
    pub fn new(
        context: &Context,
        file: &GgufFile,
        precision: Precision,
        activations: Activations,
    ) -> Result<TuningKey, Error> {
        let adapter = context.adapter();
        let features: Vec<&str> = context
            .features()
            .iter()
            .map(|feature| feature.name())
            .collect();
        let hp = Hyperparameters::from_gguf(file)?;
        let lines = [
            ("adapter", adapter.name.clone()),
            ("driver", adapter.driver_and_version()),
            ("backend", adapter.backend.to_string()),
            ("features", features.join(" ")),
            ("kernels", format!("{:016x}", kernels::templates_hash())),
            (
                "model",
                format!(
                    "{} x {}, ffn {}, vocabulary {}",
                    hp.layers, hp.width, hp.ffn, hp.vocab
                ),
            ),
            ("tensors", format!("{:016x}", tensors_hash(file))),
            ("precision", format!("{precision:?}").to_lowercase()),
            ("activations", format!("{activations:?}").to_lowercase()),
        ];
        let lines = lines.map(|(name, value)| format!("{name}: {value}"));
        Ok(TuningKey(lines.join("; ")))
    }

    /// A short name for it, which may be part of a file's: it is the same on every machine and in every version.
    pub fn short(&self) -> String {
        format!("{:016x}", stable_hash([self.0.as_bytes()]))
    }
}

/// All of it, in one line.
impl fmt::Display for TuningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names, types and shapes of all tensors.
fn tensors_hash(file: &GgufFile) -> u64 {
    let tensors = file.tensors().iter();
    let described: Vec<String> = tensors
        .map(|tensor| format!("{} {} {:?}", tensor.name, tensor.ty.name(), tensor.shape))
        .collect();
    stable_hash(described.iter().map(String::as_bytes))
}
