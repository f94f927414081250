//! The numbers that say how large a model is, read from metadata and kept within reason.

use crate::Error;
use std::ops::RangeInclusive;
use thalweg_gguf::GgufFile;

/// Sizes and constants of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Number of layers.
    pub layers: usize,
    /// Length of the residual stream.
    pub width: usize,
    /// Heads of the recurrence: `width / head_size`.
    pub heads: usize,
    /// Channels a head. All published models have 64.
    pub head_size: usize,
    /// Hidden channels of channel mixing.
    pub ffn: usize,
    /// Number of token ids: rows of the embedding and of the output matrix.
    pub vocab: usize,
    /// Ranks of the low-rank pairs.
    pub ranks: Ranks,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f32,
    /// Context length the model was trained for, in tokens; the recurrence itself knows no limit.
    pub context: u32,
}

/// Ranks of the low-rank pairs in time mixing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// Of w1 and w2.
    pub decay: usize,
    /// Of a1 and a2.
    pub iclr: usize,
    /// Of v1 and v2.
    pub value_residual: usize,
    /// Of g1 and g2.
    pub gate: usize,
}

// Bounds far above any model of this family, far below where a product of two could overflow.
const LAYERS: RangeInclusive<u32> = 1..=1024;
const WIDTH: RangeInclusive<u32> = 1..=65_536;
const HEAD_SIZE: RangeInclusive<u32> = 1..=256;
const FFN: RangeInclusive<u32> = 1..=1_048_576;
const VOCAB: RangeInclusive<u64> = 1..=16_777_216;
const RANK: RangeInclusive<u32> = 1..=65_536;

/// The epsilon of files that name none.
const DEFAULT_LAYER_NORM_EPS: f32 = 1e-5;

impl Hyperparameters {
    /// Reads and bounds the metadata of `file`. Tensors are not needed, though where there are any the layer count is
    /// held against their number, and the vocabulary is taken from the output matrix rather than the tokenizer.
    ///
    /// # Errors
    /// Another architecture, a missing key, or a value out of bounds.
    pub fn from_gguf(file: &GgufFile) -> Result<Hyperparameters, Error> {
        let keys = Keys { file };
        keys.check_architecture()?;
        let width = keys.size("embedding_length", WIDTH)?;
        let head_size = keys.size("wkv.head_size", HEAD_SIZE)?;
        if !width.is_multiple_of(head_size) {
            let expected = format!("a divisor of rwkv7.embedding_length, which is {width}");
            return Err(keys.refuse("wkv.head_size", head_size, expected));
        }
        Ok(Hyperparameters {
            layers: keys.layers()?,
            width,
            heads: width / head_size,
            head_size,
            ffn: keys.size("feed_forward_length", FFN)?,
            vocab: keys.vocab()?,
            ranks: Ranks {
                decay: keys.size("attention.decay_lora_rank", RANK)?,
                iclr: keys.size("attention.iclr_lora_rank", RANK)?,
                value_residual: keys.size("attention.value_residual_mix_lora_rank", RANK)?,
                gate: keys.size("attention.gate_lora_rank", RANK)?,
            },
            layer_norm_eps: keys.layer_norm_eps()?,
            context: file
                .metadata()
                .opt_u32("rwkv7.context_length")?
                .unwrap_or(0),
        })
    }

    /// Refuses tokens that the model does not have.
    pub(crate) fn check_tokens(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab = self.vocab;
        match tokens.iter().position(|&token| token as usize >= vocab) {
            None => Ok(()),
            Some(position) => Err(Error::Token {
                token: tokens[position],
                position,
                vocab,
            }),
        }
    }
}

/// The metadata of one file, with the family's key prefix understood.
struct Keys<'a> {
    file: &'a GgufFile,
}

impl Keys<'_> {
    fn check_architecture(&self) -> Result<(), Error> {
        match self.file.metadata().str("general.architecture")? {
            "rwkv7" => Ok(()),
            other => Err(Error::Architecture {
                path: self.file.path().to_owned(),
                found: other.to_owned(),
            }),
        }
    }

    fn size(&self, key: &str, bounds: RangeInclusive<u32>) -> Result<usize, Error> {
        let found = self.file.metadata().u32(&full(key))?;
        if !bounds.contains(&found) {
            return Err(self.refuse(
                key,
                found,
                format!("{} to {}", bounds.start(), bounds.end()),
            ));
        }
        Ok(found as usize)
    }

    /// Each layer has many tensors, so a file with tensors has more of them than layers. This bounds every later loop
    /// over the layers by what the file really holds.
    fn layers(&self) -> Result<usize, Error> {
        let layers = self.size("block_count", LAYERS)?;
        let tensors = self.file.tensors().len();
        if tensors > 0 && layers > tensors {
            let expected = format!("no more layers than the file has tensors, which are {tensors}");
            return Err(self.refuse("block_count", layers, expected));
        }
        Ok(layers)
    }

    fn vocab(&self) -> Result<usize, Error> {
        let output = self
            .file
            .tensor("output.weight")
            .and_then(|tensor| tensor.info.shape.get(1).copied());
        let (key, found) = match output {
            Some(rows) => ("output.weight", rows),
            None => (
                "tokenizer.ggml.tokens",
                self.file.metadata().strings("tokenizer.ggml.tokens")?.len() as u64,
            ),
        };
        if !VOCAB.contains(&found) {
            return Err(Error::Hyperparameter {
                path: self.file.path().to_owned(),
                key: key.to_owned(),
                found: format!("{found} tokens long"),
                expected: format!("{} to {}", VOCAB.start(), VOCAB.end()),
            });
        }
        Ok(found as usize)
    }

    fn layer_norm_eps(&self) -> Result<f32, Error> {
        const KEY: &str = "attention.layer_norm_epsilon";
        let eps = self
            .file
            .metadata()
            .opt_f32(&full(KEY))?
            .unwrap_or(DEFAULT_LAYER_NORM_EPS);
        if !(0.0..=0.1).contains(&eps) {
            return Err(self.refuse(KEY, eps, "0 to 0.1, usually 0.00001".to_owned()));
        }
        Ok(eps)
    }

    fn refuse(&self, key: &str, found: impl ToString, expected: String) -> Error {
        Error::Hyperparameter {
            path: self.file.path().to_owned(),
            key: full(key),
            found: found.to_string(),
            expected,
        }
    }
}

fn full(key: &str) -> String {
    format!("rwkv7.{key}")
}
