//! The model's weights: matrices as places in the file, vectors decoded.

use crate::{Error, Hyperparameters, tensors};
use thalweg_gguf::{GgufFile, Tensor, TensorInfo};
use thalweg_shaders::twins::Matrix;

/// A matrix that stays in the file. Becomes a [`Matrix`] when it is used.
#[derive(Debug)]
pub(super) struct MatrixAt(TensorInfo);

impl MatrixAt {
    /// The matrix `[rows, cols]` in `file`, which must be the one that it was found in.
    pub(super) fn of<'a>(&self, file: &'a GgufFile) -> Matrix<'a> {
        let cols = self.0.shape[0] as usize;
        let rows = (self.0.elements() / self.0.shape[0]) as usize;
        Matrix {
            ty: self.0.ty,
            rows,
            cols,
            bytes: file.data(&self.0),
        }
    }
}

/// Weight and bias of a norm, each `[width]`.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// A matrix `[width, width]` of low rank, as the product `up [width, rank] * down [rank, width]`.
#[derive(Debug)]
pub(super) struct LowRank {
    pub(super) down: MatrixAt,
    pub(super) up: MatrixAt,
}

/// A low-rank pair with the bias `[width]` that is added to its output.
#[derive(Debug)]
pub(super) struct BiasedLowRank {
    pub(super) pair: LowRank,
    pub(super) bias: Vec<f32>,
}

/// How far each projection's input looks back, each `[width]`.
#[derive(Debug)]
pub(super) struct Shifts {
    pub(super) r: Vec<f32>,
    pub(super) w: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
    pub(super) a: Vec<f32>,
    pub(super) g: Vec<f32>,
}

#[derive(Debug)]
pub(super) struct TimeMix {
    pub(super) shifts: Shifts,
    pub(super) receptance: MatrixAt,
    pub(super) key: MatrixAt,
    pub(super) value: MatrixAt,
    pub(super) output: MatrixAt,
    pub(super) decay: BiasedLowRank,
    pub(super) iclr: BiasedLowRank,
    /// Absent in layer 0, which defines what the others blend towards.
    pub(super) value_residual: Option<BiasedLowRank>,
    pub(super) gate: LowRank,
    pub(super) k_k: Vec<f32>,
    pub(super) k_a: Vec<f32>,
    pub(super) r_k: Vec<f32>,
    pub(super) group_norm: Norm,
}

#[derive(Debug)]
pub(super) struct ChannelMix {
    pub(super) shift: Vec<f32>,
    pub(super) key: MatrixAt,
    pub(super) value: MatrixAt,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub(super) att_norm: Norm,
    pub(super) time_mix: TimeMix,
    pub(super) ffn_norm: Norm,
    pub(super) channel_mix: ChannelMix,
}

#[derive(Debug)]
pub(super) struct Weights {
    pub(super) embedding: MatrixAt,
    pub(super) embedding_norm: Norm,
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: Norm,
    pub(super) output: MatrixAt,
}

impl Weights {
    /// Finds the matrices and decodes the vectors of a file whose tensors have been checked.
    pub(super) fn load(file: &GgufFile, hp: &Hyperparameters) -> Result<Weights, Error> {
        let top = Finder {
            file,
            prefix: String::new(),
        };
        Ok(Weights {
            embedding: top.matrix("token_embd")?,
            embedding_norm: top.norm("token_embd_norm")?,
            layers: (0..hp.layers)
                .map(|layer| Layer::load(file, layer))
                .collect::<Result<_, _>>()?,
            output_norm: top.norm("output_norm")?,
            output: top.matrix("output")?,
        })
    }
}

impl Layer {
    fn load(file: &GgufFile, layer: usize) -> Result<Layer, Error> {
        let block = Finder {
            file,
            prefix: format!("blk.{layer}."),
        };
        Ok(Layer {
            att_norm: block.norm("attn_norm")?,
            time_mix: TimeMix::load(
                &Finder {
                    file,
                    prefix: format!("blk.{layer}.time_mix_"),
                },
                layer,
            )?,
            ffn_norm: block.norm("attn_norm_2")?,
            channel_mix: ChannelMix {
                shift: block.vector("channel_mix_lerp_k.weight")?,
                key: block.matrix("channel_mix_key")?,
                value: block.matrix("channel_mix_value")?,
            },
        })
    }
}

impl TimeMix {
    fn load(find: &Finder<'_>, layer: usize) -> Result<TimeMix, Error> {
        Ok(TimeMix {
            shifts: Shifts::from_fused(&find.vector("lerp_fused.weight")?),
            receptance: find.matrix("receptance")?,
            key: find.matrix("key")?,
            value: find.matrix("value")?,
            output: find.matrix("output")?,
            decay: find.biased_low_rank("w")?,
            iclr: find.biased_low_rank("a")?,
            value_residual: if layer == 0 {
                None
            } else {
                Some(find.biased_low_rank("v")?)
            },
            gate: find.low_rank("g")?,
            k_k: find.vector("k_k.weight")?,
            k_a: find.vector("k_a.weight")?,
            r_k: find.vector("r_k.weight")?,
            group_norm: find.norm("ln")?,
        })
    }
}

impl Shifts {
    /// From the file's one tensor `[6, width]`, whose rows are in the order r, w, k, v, a, g.
    fn from_fused(fused: &[f32]) -> Shifts {
        let width = fused.len() / 6;
        let row = |index: usize| fused[index * width..][..width].to_vec();
        Shifts {
            r: row(0),
            w: row(1),
            k: row(2),
            v: row(3),
            a: row(4),
            g: row(5),
        }
    }
}

/// Finds tensors whose names share a prefix.
struct Finder<'a> {
    file: &'a GgufFile,
    prefix: String,
}

impl Finder<'_> {
    fn matrix(&self, name: &str) -> Result<MatrixAt, Error> {
        Ok(MatrixAt(
            self.tensor(&format!("{name}.weight"))?.info.clone(),
        ))
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>, Error> {
        Ok(self.tensor(name)?.to_f32()?)
    }

    fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        tensors::find(self.file, &format!("{}{name}", self.prefix))
    }

    fn norm(&self, name: &str) -> Result<Norm, Error> {
        Ok(Norm {
            weight: self.vector(&format!("{name}.weight"))?,
            bias: self.vector(&format!("{name}.bias"))?,
        })
    }

    fn low_rank(&self, letter: &str) -> Result<LowRank, Error> {
        Ok(LowRank {
            down: self.matrix(&format!("{letter}1"))?,
            up: self.matrix(&format!("{letter}2"))?,
        })
    }

    fn biased_low_rank(&self, letter: &str) -> Result<BiasedLowRank, Error> {
        Ok(BiasedLowRank {
            pair: self.low_rank(letter)?,
            bias: self.vector(&format!("{letter}0.weight"))?,
        })
    }
}
