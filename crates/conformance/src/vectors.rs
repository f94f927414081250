//! Intermediate results against those in a golden's safetensors file.

use crate::difference::{all_within, largest, magnitude, within};
use crate::model::LOGITS_LIMIT;
use crate::{Golden, Outcome, Runner, message};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;
use thalweg_rwkv::{Session, Wanted};

/// How far intermediate results and state may be off, as a part of the tensor's largest value.
const TAP_LIMIT: f64 = 1e-5;

/// The tensors of a golden's safetensors file, for the prompt called `short`:
///
/// `logits` `[tokens, vocab]`; `state.*` as in [`State`](thalweg_rwkv::State); `tap.NAME` `[tokens, layers, width]` as in
/// [`Taps`](thalweg_rwkv::Taps).
#[derive(Debug)]
pub struct Vectors {
    tensors: BTreeMap<String, Vec<f32>>,
}

impl Vectors {
    /// Reads a safetensors file of f32 tensors.
    ///
    /// # Errors
    /// A message naming the file, if it cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Vectors, String> {
        let located = |error: String| format!("{}: {error}", path.display());
        let bytes = std::fs::read(path).map_err(message).map_err(located)?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(message)
            .map_err(located)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != safetensors::Dtype::F32 {
                return Err(located(format!(
                    "{name} is {:?}, expected F32",
                    view.dtype()
                )));
            }
            tensors.insert(name, floats(view.data()));
        }
        Ok(Vectors { tensors })
    }

    fn get(&self, name: &str) -> Result<&[f32], String> {
        self.tensors
            .get(name)
            .map(Vec::as_slice)
            .ok_or_else(|| format!("the golden has no tensor {name}"))
    }
}

/// Numbers as safetensors stores them: little-endian.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect()
}

/// Compares a session's logits after every token, and its final state. `subject` names the session in the outcome.
pub fn check_vectors(
    subject: &str,
    golden: &Golden,
    vectors: &Vectors,
    session: &mut dyn Session,
) -> Outcome {
    Outcome::new(
        format!("{subject}, all positions of 'short'"),
        all_positions(golden, vectors, session),
    )
}

fn all_positions(
    golden: &Golden,
    vectors: &Vectors,
    session: &mut dyn Session,
) -> Result<String, String> {
    session.reset();
    let logits = session
        .forward(golden.short_tokens()?, Wanted::All)
        .map_err(message)?;
    let state = session.state().map_err(message)?;
    let measured = [
        all_within("logits", &logits, vectors.get("logits")?, LOGITS_LIMIT)?,
        relative("state.att_shift", &state.att_shift, vectors)?,
        relative("state.ffn_shift", &state.ffn_shift, vectors)?,
        relative("state.wkv", &state.wkv, vectors)?,
    ];
    Ok(measured.join(", "))
}

/// Compares what the layers compute, step by step.
pub fn check_taps(
    subject: &str,
    golden: &Golden,
    vectors: &Vectors,
    runner: &mut Runner,
) -> Outcome {
    Outcome::new(
        format!("{subject}, inside the layers for 'short'"),
        taps(golden, vectors, runner),
    )
}

fn taps(golden: &Golden, vectors: &Vectors, runner: &mut Runner) -> Result<String, String> {
    let taps = runner.tap(golden.short_tokens()?).map_err(message)?;
    let hp = runner.session().hyperparameters();
    let expected_names: Vec<&str> = vectors
        .tensors
        .keys()
        .filter_map(|name| name.strip_prefix("tap."))
        .collect();
    if !taps.names().eq(expected_names.iter().copied()) {
        return Err(format!(
            "taps {:?}, expected {expected_names:?}",
            taps.names().collect::<Vec<_>>()
        ));
    }
    let mut furthest = (0.0, String::new());
    for name in expected_names {
        let expected = vectors.get(&format!("tap.{name}"))?;
        let limit = TAP_LIMIT * magnitude(expected);
        for layer in 0..hp.layers {
            let expected = layer_of(expected, layer, hp.layers, hp.width);
            let found = taps.get(name, layer).unwrap_or_default();
            all_within(&format!("{name} of layer {layer}"), found, &expected, limit)?;
            let relative = largest(found, &expected) * TAP_LIMIT / limit;
            if relative >= furthest.0 {
                furthest = (relative, format!("{name} of layer {layer}"));
            }
        }
    }
    Ok(format!(
        "furthest off is {} by {:.1e} (relative)",
        furthest.1, furthest.0
    ))
}

/// One layer of `[tokens, layers, width]`, as `[tokens, width]`.
fn layer_of(values: &[f32], layer: usize, layers: usize, width: usize) -> Vec<f32> {
    values
        .chunks_exact(layers * width)
        .flat_map(|token| &token[layer * width..][..width])
        .copied()
        .collect()
}

fn relative(name: &str, found: &[f32], vectors: &Vectors) -> Result<String, String> {
    let expected = vectors.get(name)?;
    let limit = TAP_LIMIT * magnitude(expected);
    all_within(name, found, expected, limit)?;
    within(
        &format!("{name} (relative)"),
        largest(found, expected) / magnitude(expected),
        TAP_LIMIT,
    )
}
