//! Random models of any shape and encoding, with weights that behave: activations stay near 1, every term of the model
//! changes the result, and no two heads or channels are alike.

mod blocks;
mod weights;

pub use blocks::matrix;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use thalweg_gguf::TensorType;
use thalweg_gguf::writer::GgufWriter;
use thalweg_rwkv::tensors::{TensorSpec, needed};
use thalweg_rwkv::{Hyperparameters, Ranks};

/// How the matrices of a random model are encoded. Where rows are no whole number of blocks, F16 takes the type's place.
#[derive(Clone, Copy, Debug)]
pub struct Types {
    /// The embedding and the six large matrices of each layer.
    pub large: TensorType,
    /// The output matrix.
    pub output: TensorType,
    /// The low-rank pairs.
    pub low_rank: TensorType,
}

impl Types {
    /// All matrices alike.
    pub fn all(ty: TensorType) -> Types {
        Types {
            large: ty,
            output: ty,
            low_rank: ty,
        }
    }
}

/// Hyperparameters of a small model: 512 tokens, heads of 64, small ranks that all differ.
pub fn shape(layers: usize, width: usize, ffn: usize) -> Hyperparameters {
    Hyperparameters {
        layers,
        width,
        heads: width / 64,
        head_size: 64,
        ffn,
        vocab: 512,
        ranks: Ranks {
            decay: 32,
            iclr: 64,
            value_residual: 96,
            gate: 160,
        },
        layer_norm_eps: 1e-5,
        context: 4096,
    }
}

/// One tensor of a random model.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name in the file.
    pub name: String,
    /// How it is encoded.
    pub ty: TensorType,
    /// Its shape in GGUF's order, fastest dimension first.
    pub shape: Vec<u64>,
    /// Its encoded elements.
    pub data: Vec<u8>,
}

/// The bytes of a GGUF file with a random model in it. The same arguments make the same file.
pub fn model(hp: &Hyperparameters, types: Types, seed: u64) -> Vec<u8> {
    file(metadata(hp), &tensors(hp, types, seed))
}

/// The same in 32-bit floats, with two infinities in the matrix of this name: at the start of its first row, and with a
/// minus at that of its second.
pub fn damaged_model(hp: &Hyperparameters, name: &str, seed: u64) -> Vec<u8> {
    let mut tensors = tensors(hp, Types::all(TensorType::F32), seed);
    for tensor in tensors.iter_mut().filter(|tensor| tensor.name == name) {
        let row_bytes = 4 * tensor.shape[0] as usize;
        for (row, value) in [f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
            tensor.data[row * row_bytes..][..4].copy_from_slice(&value.to_le_bytes());
        }
    }
    file(metadata(hp), &tensors)
}

/// The bytes of a GGUF file made of these parts, whether they fit together or not.
pub fn file(metadata: GgufWriter, tensors: &[Tensor]) -> Vec<u8> {
    let add = |writer: GgufWriter, t: &Tensor| writer.tensor(&t.name, t.ty, &t.shape, &t.data);
    tensors.iter().fold(metadata, add).finish()
}

/// The tensors of a random model.
///
/// Layer 0's v0, v1 and v2 are there, as useless as they can be, because real files have useless ones too.
pub fn tensors(hp: &Hyperparameters, types: Types, seed: u64) -> Vec<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let random = |TensorSpec { name, shape }| {
        let ty = tensor_type(&name, &shape, types);
        let elements = shape.iter().product::<u64>() as usize;
        let data = blocks::random(ty, elements, weights::spread(&name, &shape), &mut rng);
        Tensor {
            name,
            ty,
            shape,
            data,
        }
    };
    let useless = |part| Tensor {
        name: format!("blk.0.time_mix_{part}.weight"),
        ty: TensorType::F32,
        shape: vec![3],
        data: [f32::NAN.to_le_bytes(); 3].concat(),
    };
    needed(hp)
        .map(random)
        .chain(["v0", "v1", "v2"].map(useless))
        .collect()
}

fn tensor_type(name: &str, shape: &[u64], types: Types) -> TensorType {
    let is_vector = shape.len() != 2;
    let is_low_rank = name.ends_with("1.weight") || name.ends_with("2.weight");
    let ty = match name {
        _ if is_vector => TensorType::F32,
        "output.weight" => types.output,
        _ if is_low_rank => types.low_rank,
        _ => types.large,
    };
    if shape[0].is_multiple_of(ty.block_len() as u64) {
        ty
    } else {
        TensorType::F16
    }
}

/// The metadata of a model of such a shape, be it possible or not.
///
/// The tokenizer is a World vocabulary of the 256 single bytes, padded with unused tokens.
pub fn metadata(hp: &Hyperparameters) -> GgufWriter {
    let writer = GgufWriter::new()
        .str("general.architecture", "rwkv7")
        .str("general.name", "a random model")
        .u32("rwkv7.context_length", hp.context)
        .u32("rwkv7.embedding_length", hp.width as u32)
        .u32("rwkv7.block_count", hp.layers as u32)
        .u32("rwkv7.feed_forward_length", hp.ffn as u32)
        .u32("rwkv7.wkv.head_size", hp.head_size as u32)
        .f32("rwkv7.attention.layer_norm_epsilon", hp.layer_norm_eps)
        .u32("rwkv7.attention.head_count", 0)
        .u32("rwkv7.attention.decay_lora_rank", hp.ranks.decay as u32)
        .u32("rwkv7.attention.iclr_lora_rank", hp.ranks.iclr as u32)
        .u32(
            "rwkv7.attention.value_residual_mix_lora_rank",
            hp.ranks.value_residual as u32,
        )
        .u32("rwkv7.attention.gate_lora_rank", hp.ranks.gate as u32);
    tokenizer(writer, hp.vocab)
}

/// Token 0 ends a text, tokens 1 to 256 are the bytes, the rest is padding.
fn tokenizer(writer: GgufWriter, vocab: usize) -> GgufWriter {
    const NORMAL: i32 = 1;
    const CONTROL: i32 = 3;
    const UNUSED: i32 = 5;
    let token = |id: usize| match id {
        0 => ("<s>".to_owned(), CONTROL),
        1..=256 => (format!("\\x{:02x}", id - 1), NORMAL),
        _ => (format!("[PAD{id}]"), UNUSED),
    };
    writer
        .str("tokenizer.ggml.model", "rwkv")
        .strings("tokenizer.ggml.tokens", (0..vocab).map(|id| token(id).0))
        .i32s(
            "tokenizer.ggml.token_type",
            (0..vocab).map(|id| token(id).1),
        )
        .u32("tokenizer.ggml.bos_token_id", 0)
        .u32("tokenizer.ggml.eos_token_id", 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use thalweg_gguf::GgufFile;
    use thalweg_rwkv::{CpuModel, CpuSession, Session, Wanted};

    fn logits(hp: &Hyperparameters, types: Types, seed: u64) -> Vec<f32> {
        let file = GgufFile::from_bytes(model(hp, types, seed)).unwrap();
        let model = CpuModel::load(file).unwrap();
        assert_eq!(model.hyperparameters(), hp);
        model.check_tensors().unwrap();
        CpuSession::new(Arc::new(model))
            .forward(&[7, 300, 300, 12, 511], Wanted::All)
            .unwrap()
    }

    #[test]
    fn every_type_makes_a_model_whose_logits_are_neither_flat_nor_wild() {
        for ty in TensorType::all().filter(|ty| ty.is_supported()) {
            let logits = logits(&shape(2, 256, 512), Types::all(ty), 1);
            let spread = (logits.iter().map(|v| v * v).sum::<f32>() / logits.len() as f32).sqrt();
            assert!((0.5..8.0).contains(&spread), "{ty}: {spread}");
        }
    }

    #[test]
    fn odd_shapes_run() {
        for (width, ffn) in [(64, 100), (192, 640), (320, 1000)] {
            assert!(
                logits(&shape(2, width, ffn), Types::all(TensorType::Q4_K), 2)
                    .iter()
                    .all(|v| v.is_finite())
            );
        }
        let few_channels_a_head = Hyperparameters {
            heads: 5,
            head_size: 12,
            ..shape(2, 60, 70)
        };
        assert!(
            logits(&few_channels_a_head, Types::all(TensorType::F32), 3)
                .iter()
                .all(|v| v.is_finite())
        );
    }

    #[test]
    fn the_seed_decides() {
        let hp = shape(1, 64, 64);
        let bytes = |seed| model(&hp, Types::all(TensorType::Q8_0), seed);
        assert_eq!(bytes(5), bytes(5));
        assert_ne!(bytes(5), bytes(6));
    }
}
