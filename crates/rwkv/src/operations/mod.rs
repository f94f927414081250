//! Small operations of a model one by one, for measuring: norms, shifts, low-rank pairs, products, alone and in chains.
//!
//! An [`Operation`] is computed by the twins ([`CpuOperation`]) or by kernels ([`GpuOperations`]), where some exist in two
//! forms: a dispatch for every part of it, or fused as a model runs it. Of a model only the [`Sizes`] are needed; weights and
//! inputs are random, which changes no time.

mod cpu;
mod random;

use thalweg_gguf::{GgufFile, TensorType};

use crate::{Error, Hyperparameters, tensors};

pub use cpu::CpuOperation;
pub use random::{random_encoded_rows, random_numbers, random_rows};

#[cfg(not(target_arch = "wasm32"))]
pub use crate::gpu::operations::{GpuForm, GpuOperations};

/// What is computed for so many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What is computed.
    pub kind: Kind,
    /// For how many tokens.
    pub tokens: usize,
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A counter goes up: what anything takes at the least. On devices alone.
    Nothing,
    /// Softmax of [`SOFTMAX_WIDTH`] numbers. No model needs it: the sampler weighs tokens by integers.
    Softmax,
    /// Layer norm.
    LayerNorm,
    /// Group norm over the heads.
    GroupNorm,
    /// Token shift by one mix.
    TokenShift,
    /// Layer norm, and the six token shifts of time mixing.
    NormShifts,
    /// From the recurrence to the input of the output matrix: group norm, bonus, gate.
    Readout,
    /// Down to so many channels, tanh, and up again.
    LowRank(usize),
    /// A product with a matrix.
    Product(Weight),
    /// The last product of channel mixing, added to the residual stream.
    ProductAdd,
    /// The first half of channel mixing: layer norm, token shift, product, squared relu.
    ChannelMixKey,
    /// The head: layer norm, product.
    Head,
}

/// A matrix of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The last one of time mixing: `[width, width]`.
    Output,
    /// The first one of channel mixing: `[ffn, width]`.
    FfnKey,
    /// The last one of channel mixing: `[width, ffn]`.
    FfnValue,
    /// That of the head: `[vocab, width]`.
    Head,
}

/// In which form an operation is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// There is but one.
    Single,
    /// A dispatch for each of its parts.
    Unfused,
    /// As few dispatches as a model needs for it.
    Fused,
}

/// Numbers of a row whose softmax is measured.
pub const SOFTMAX_WIDTH: usize = 1024;

/// Ranks of low-rank pairs that are measured.
pub const RANKS: [usize; 5] = [4, 8, 16, 32, 64];

/// What low-rank pairs are stored as in real files.
const LOW_RANK_TYPE: TensorType = TensorType::F16;

/// How large a model is, and how its matrices are encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    /// The numbers that say how large it is.
    pub hp: Hyperparameters,
    /// [`Weight::Output`]
    pub output: TensorType,
    /// [`Weight::FfnKey`]
    pub ffn_key: TensorType,
    /// [`Weight::FfnValue`]
    pub ffn_value: TensorType,
    /// [`Weight::Head`]
    pub head: TensorType,
}

/// Rows and columns of a matrix, and how a file encodes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) ty: TensorType,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Operation {
    /// All operations, for one token and, where a model has them there, for `many`.
    pub fn all(many: usize) -> Vec<Operation> {
        const OF_ROWS: [Kind; 5] = [
            Kind::LayerNorm,
            Kind::GroupNorm,
            Kind::TokenShift,
            Kind::NormShifts,
            Kind::Readout,
        ];
        const IN_LAYERS: [Kind; 4] = [
            Kind::Product(Weight::Output),
            Kind::Product(Weight::FfnKey),
            Kind::Product(Weight::FfnValue),
            Kind::ProductAdd,
        ];
        let one = |kind| Operation { kind, tokens: 1 };
        let both = |kind: &Kind| {
            [1, many].map(|tokens| Operation {
                kind: *kind,
                tokens,
            })
        };
        let mut operations = vec![one(Kind::Nothing), one(Kind::Softmax)];
        operations.extend(OF_ROWS.iter().flat_map(both));
        operations.extend(RANKS.map(|rank| one(Kind::LowRank(rank))));
        operations.extend(IN_LAYERS.iter().flat_map(both));
        operations.extend([Kind::ChannelMixKey, Kind::Product(Weight::Head), Kind::Head].map(one));
        operations
    }

    /// Its name: what it consists of.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Nothing => "nothing",
            Kind::Softmax => "softmax",
            Kind::LayerNorm => "layer norm",
            Kind::GroupNorm => "group norm",
            Kind::TokenShift => "token shift",
            Kind::NormShifts => "layer norm, 6 token shifts",
            Kind::Readout => "group norm, bonus, gate",
            Kind::LowRank(_) => "low-rank chain",
            Kind::Product(_) => "product",
            Kind::ProductAdd => "product, residual",
            Kind::ChannelMixKey => "layer norm, token shift, product, squared relu",
            Kind::Head => "layer norm, product",
        }
    }

    /// How large it is, tokens aside: channels, heads, or the rows and columns of the matrix with its encoding.
    pub fn shape(&self, sizes: &Sizes) -> String {
        let Hyperparameters {
            width,
            heads,
            head_size,
            ..
        } = sizes.hp;
        match self.kind {
            Kind::Nothing => String::new(),
            Kind::Softmax => SOFTMAX_WIDTH.to_string(),
            Kind::LayerNorm | Kind::TokenShift | Kind::NormShifts => width.to_string(),
            Kind::GroupNorm | Kind::Readout => format!("{heads} x {head_size}"),
            Kind::LowRank(rank) => format!("{width} to {rank} to {width}, {LOW_RANK_TYPE}"),
            _ => {
                let extents = self.matrices(sizes);
                let of_each = extents
                    .iter()
                    .map(|Extent { ty, rows, columns }| format!("{rows} x {columns}, {ty}"));
                of_each.collect()
            }
        }
    }

    /// The matrices that it multiplies with, in order.
    pub(crate) fn matrices(&self, sizes: &Sizes) -> Vec<Extent> {
        let width = sizes.hp.width;
        let low_rank = |rows, columns| Extent {
            ty: LOW_RANK_TYPE,
            rows,
            columns,
        };
        match self.kind {
            Kind::LowRank(rank) => vec![low_rank(rank, width), low_rank(width, rank)],
            Kind::Product(weight) => vec![sizes.extent(weight)],
            Kind::ProductAdd => vec![sizes.extent(Weight::FfnValue)],
            Kind::ChannelMixKey => vec![sizes.extent(Weight::FfnKey)],
            Kind::Head => vec![sizes.extent(Weight::Head)],
            _ => Vec::new(),
        }
    }

    /// The forms in which devices compute it.
    pub fn forms(&self) -> &'static [Form] {
        match self.kind {
            Kind::Nothing
            | Kind::Softmax
            | Kind::LayerNorm
            | Kind::GroupNorm
            | Kind::TokenShift
            | Kind::Product(_) => &[Form::Single],
            _ => &[Form::Unfused, Form::Fused],
        }
    }
}

impl Form {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Form::Single => "single",
            Form::Unfused => "unfused",
            Form::Fused => "fused",
        }
    }
}

impl Sizes {
    /// Those of a model file. Layers may differ in their encodings; those of the one in the middle count.
    ///
    /// # Errors
    /// The file lacks what a model needs.
    pub fn of(file: &GgufFile) -> Result<Sizes, Error> {
        let hp = Hyperparameters::from_gguf(file)?;
        tensors::check(file, &hp)?;
        let layer = hp.layers / 2;
        let ty = |name: &str| Ok::<_, Error>(tensors::find(file, name)?.info.ty);
        let in_layer = |name: &str| ty(&format!("blk.{layer}.{name}.weight"));
        Ok(Sizes {
            output: in_layer("time_mix_output")?,
            ffn_key: in_layer("channel_mix_key")?,
            ffn_value: in_layer("channel_mix_value")?,
            head: ty("output.weight")?,
            hp,
        })
    }

    fn extent(&self, weight: Weight) -> Extent {
        let Hyperparameters {
            width, ffn, vocab, ..
        } = self.hp;
        let (ty, rows, columns) = match weight {
            Weight::Output => (self.output, width, width),
            Weight::FfnKey => (self.ffn_key, ffn, width),
            Weight::FfnValue => (self.ffn_value, width, ffn),
            Weight::Head => (self.head, vocab, width),
        };
        Extent { ty, rows, columns }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Those of a small model in Q4_K_M.
    pub(crate) fn sizes() -> Sizes {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/synth-tiny-q4_k_m.gguf"
        );
        Sizes::of(&GgufFile::open(path.as_ref()).unwrap()).unwrap()
    }

    #[test]
    fn every_operation_has_a_name_and_a_shape_of_its_own() {
        let sizes = sizes();
        let all = Operation::all(16);
        let whats: std::collections::BTreeSet<_> = all
            .iter()
            .map(|operation| (operation.name(), operation.shape(&sizes), operation.tokens))
            .collect();
        assert_eq!(whats.len(), all.len());
    }
}
