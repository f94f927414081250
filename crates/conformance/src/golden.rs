//! The golden JSON file of one model.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// What the reference made of a few prompts with one model.
#[derive(Debug, Deserialize)]
pub struct Golden {
    /// File name of the model.
    pub model: String,
    pub(crate) prompts: BTreeMap<String, Prompt>,
}

/// One prompt, read from a state of zeros, with nothing put in front of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Prompt {
    pub(crate) tokens: Vec<u32>,
    /// Loss in nats for each token predicted, that is positions 1 and up.
    pub(crate) mean_nll: f64,
    /// The tokens that follow when the best is always taken.
    pub(crate) greedy: Vec<u32>,
    /// Smallest distance between the best and the second logit along the way.
    pub(crate) greedy_min_margin: f64,
    /// After the last token of the prompt.
    pub(crate) logits: Vec<f32>,
    pub(crate) state_norms: StateNorms,
}

/// L2 norms of the state after the prompt, one for each layer.
#[derive(Debug, Deserialize)]
pub(crate) struct StateNorms {
    pub(crate) att_shift: Vec<f64>,
    pub(crate) ffn_shift: Vec<f64>,
    pub(crate) wkv: Vec<f64>,
}

impl Golden {
    /// Reads a golden file.
    ///
    /// # Errors
    /// A message naming the file, if it cannot be read or is no golden.
    pub fn read(path: &Path) -> Result<Golden, String> {
        read_json(path)
    }

    /// The tokens of the prompt that the safetensors file belongs to.
    pub(crate) fn short_tokens(&self) -> Result<&[u32], String> {
        match self.prompts.get("short") {
            Some(prompt) => Ok(&prompt.tokens),
            None => Err("the golden has no prompt called 'short'".to_owned()),
        }
    }
}

/// Reads a JSON file; the error is a message naming it.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}
