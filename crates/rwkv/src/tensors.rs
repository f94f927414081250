//! Which tensors a model consists of, and whether a file has them.

use crate::{Error, Hyperparameters};
use std::fmt;
use thalweg_gguf::{GgufFile, Tensor, TensorType, blocks};

/// A tensor that the model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the file.
    pub name: String,
    /// Its shape in GGUF's order, fastest dimension first. Dimensions of 1 may be left out or added.
    pub shape: Vec<u64>,
}

/// A tensor that cannot be used as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is needed.
    pub needed: TensorSpec,
    /// What there is.
    pub found: Found,
}

/// What a file has in place of a usable tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No tensor of that name.
    Nothing,
    /// A tensor of another shape.
    Shape(Vec<u64>),
    /// A tensor in an encoding that cannot be decoded.
    Type(TensorType),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TensorSpec { name, shape } = &self.needed;
        match &self.found {
            Found::Nothing => write!(f, "{name}: missing, expected shape {shape:?}"),
            Found::Shape(found) => write!(f, "{name}: shape {found:?}, expected {shape:?}"),
            Found::Type(ty) => write!(f, "{name}: type {ty} is not supported"),
        }
    }
}

/// All tensors of the model, in the order of the forward pass.
///
/// Layer 0's v0, v1 and v2 are not among them: files carry placeholders of any shape there, or nothing.
pub fn needed(hp: &Hyperparameters) -> impl Iterator<Item = TensorSpec> {
    let width = hp.width;
    let embedding = [("token_embd.weight", vec![width, hp.vocab])];
    let entry = [
        ("token_embd_norm.weight", vec![width]),
        ("token_embd_norm.bias", vec![width]),
    ];
    let exit = [
        ("output_norm.weight", vec![width]),
        ("output_norm.bias", vec![width]),
        ("output.weight", vec![width, hp.vocab]),
    ];
    let layers = (0..hp.layers).flat_map(|layer| {
        layer_tensors(hp, layer)
            .map(move |(name, shape)| spec(format!("blk.{layer}.{name}"), shape))
    });
    let plain = |(name, shape): (&str, Vec<usize>)| spec(name.to_owned(), shape);
    embedding
        .into_iter()
        .chain(entry)
        .map(plain)
        .chain(layers)
        .chain(exit.into_iter().map(plain))
}

fn layer_tensors(
    hp: &Hyperparameters,
    layer: usize,
) -> impl Iterator<Item = (&'static str, Vec<usize>)> {
    let Hyperparameters {
        width, ffn, ranks, ..
    } = *hp;
    let always = [
        ("attn_norm.weight", vec![width]),
        ("attn_norm.bias", vec![width]),
        ("time_mix_lerp_fused.weight", vec![width, 1, 1, 6]),
        ("time_mix_receptance.weight", vec![width, width]),
        ("time_mix_key.weight", vec![width, width]),
        ("time_mix_value.weight", vec![width, width]),
        ("time_mix_w0.weight", vec![width]),
        ("time_mix_w1.weight", vec![width, ranks.decay]),
        ("time_mix_w2.weight", vec![ranks.decay, width]),
        ("time_mix_a0.weight", vec![width]),
        ("time_mix_a1.weight", vec![width, ranks.iclr]),
        ("time_mix_a2.weight", vec![ranks.iclr, width]),
        ("time_mix_g1.weight", vec![width, ranks.gate]),
        ("time_mix_g2.weight", vec![ranks.gate, width]),
        ("time_mix_k_k.weight", vec![width]),
        ("time_mix_k_a.weight", vec![width]),
        ("time_mix_r_k.weight", vec![width]),
        ("time_mix_ln.weight", vec![width]),
        ("time_mix_ln.bias", vec![width]),
        ("time_mix_output.weight", vec![width, width]),
        ("attn_norm_2.weight", vec![width]),
        ("attn_norm_2.bias", vec![width]),
        ("channel_mix_lerp_k.weight", vec![width]),
        ("channel_mix_key.weight", vec![width, ffn]),
        ("channel_mix_value.weight", vec![ffn, width]),
    ];
    let above_the_first = [
        ("time_mix_v0.weight", vec![width]),
        ("time_mix_v1.weight", vec![width, ranks.value_residual]),
        ("time_mix_v2.weight", vec![ranks.value_residual, width]),
    ];
    always
        .into_iter()
        .chain(above_the_first.into_iter().filter(move |_| layer > 0))
}

fn spec(name: String, shape: Vec<usize>) -> TensorSpec {
    TensorSpec {
        name,
        shape: shape.into_iter().map(|n| n as u64).collect(),
    }
}

/// The tensor called `name`.
///
/// # Errors
/// [`Error::Tensors`] if the file has none of that name.
pub fn find<'a>(file: &'a GgufFile, name: &str) -> Result<Tensor<'a>, Error> {
    file.tensor(name).ok_or_else(|| {
        let needed = TensorSpec {
            name: name.to_owned(),
            shape: Vec::new(),
        };
        Error::Tensors {
            path: file.path().to_owned(),
            problems: vec![Problem {
                needed,
                found: Found::Nothing,
            }],
        }
    })
}

/// Checks that `file` has every tensor the model needs, with the right shape and an encoding that can be decoded.
///
/// # Errors
/// [`Error::Tensors`] with all that are not so.
pub fn check(file: &GgufFile, hp: &Hyperparameters) -> Result<(), Error> {
    let problems: Vec<Problem> = needed(hp)
        .filter_map(|needed| problem(file, needed))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Tensors {
            path: file.path().to_owned(),
            problems,
        })
    }
}

fn problem(file: &GgufFile, needed: TensorSpec) -> Option<Problem> {
    let found = match file.tensor(&needed.name) {
        None => Found::Nothing,
        Some(tensor) if squeezed(&tensor.info.shape) != squeezed(&needed.shape) => {
            Found::Shape(tensor.info.shape.clone())
        }
        Some(tensor) if !tensor.info.ty.is_supported() => Found::Type(tensor.info.ty),
        Some(_) => return None,
    };
    Some(Problem { needed, found })
}

/// The shape without its dimensions of 1.
fn squeezed(shape: &[u64]) -> Vec<u64> {
    shape.iter().copied().filter(|&n| n != 1).collect()
}

/// Looks at every weight of every tensor the model needs.
///
/// # Errors
/// [`Error::NonFiniteWeight`] for the first that is infinite or not a number.
pub fn check_finite(file: &GgufFile, hp: &Hyperparameters) -> Result<(), Error> {
    needed(hp)
        .filter_map(|spec| file.tensor(&spec.name))
        .try_for_each(
            |tensor| match first_non_finite(tensor.info.ty, tensor.data)? {
                None => Ok(()),
                Some((index, value)) => Err(Error::NonFiniteWeight {
                    path: file.path().to_owned(),
                    tensor: tensor.info.name.clone(),
                    index,
                    value,
                }),
            },
        )
}

/// Index and value of the first element that is not finite.
fn first_non_finite(ty: TensorType, data: &[u8]) -> Result<Option<(usize, f32)>, Error> {
    const BLOCKS: usize = 64;
    let mut decoded = vec![0.0; BLOCKS * ty.block_len()];
    for (piece, bytes) in data.chunks(BLOCKS * ty.block_bytes()).enumerate() {
        let decoded = &mut decoded[..bytes.len() / ty.block_bytes() * ty.block_len()];
        blocks::decode(ty, bytes, decoded)?;
        if let Some(at) = decoded.iter().position(|value| !value.is_finite()) {
            return Ok(Some((piece * BLOCKS * ty.block_len() + at, decoded[at])));
        }
    }
    Ok(None)
}
