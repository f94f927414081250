//! The model's weights on the device: a storage for each layer, and one for what comes before and after them.

use std::ops::ControlFlow;

use thalweg_gguf::GgufFile;
use thalweg_gpu::{Binding, Context, Limits};

use super::storage::{Layout, Matrix, Part, Storage};
use super::upload::{Progress, Upload, upload};
use crate::{Error, Hyperparameters, tensors};

/// The vectors of a layer, each `[width]`, in the order in which they lie on the device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Vector {
    AttNormWeight,
    AttNormBias,
    /// The six mixes of time mixing's token shift, in the order of the file's one tensor.
    MixReceptance,
    MixDecay,
    MixKey,
    MixValue,
    MixIclr,
    MixGate,
    DecayBias,
    IclrBias,
    ValueBias,
    RemovalKey,
    KeyScale,
    Bonus,
    GroupNormWeight,
    GroupNormBias,
    FfnNormWeight,
    FfnNormBias,
    MixFfn,
}

impl Vector {
    /// The mixes of time mixing, which lie one after the other.
    pub(super) const ATT_MIXES: [Vector; 6] = [
        Vector::MixReceptance,
        Vector::MixDecay,
        Vector::MixKey,
        Vector::MixValue,
        Vector::MixIclr,
        Vector::MixGate,
    ];
}

/// The tensors that hold the vectors, in the same order.
const VECTOR_TENSORS: [&str; 14] = [
    "attn_norm.weight",
    "attn_norm.bias",
    "time_mix_lerp_fused.weight",
    "time_mix_w0.weight",
    "time_mix_a0.weight",
    LAYER_0_LACKS,
    "time_mix_k_k.weight",
    "time_mix_k_a.weight",
    "time_mix_r_k.weight",
    "time_mix_ln.weight",
    "time_mix_ln.bias",
    "attn_norm_2.weight",
    "attn_norm_2.bias",
    "channel_mix_lerp_k.weight",
];

const LAYER_0_LACKS: &str = "time_mix_v0.weight";

/// A low-rank pair: the product `up * down`.
#[derive(Debug)]
pub(super) struct LowRank {
    pub(super) down: Matrix,
    pub(super) up: Matrix,
}

/// One layer's weights.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) storage: Storage,
    vectors: Part,
    width: usize,
    pub(super) receptance: Matrix,
    pub(super) key: Matrix,
    pub(super) value: Matrix,
    pub(super) decay: LowRank,
    pub(super) iclr: LowRank,
    /// Absent in layer 0, whose values the others blend towards.
    pub(super) value_residual: Option<LowRank>,
    pub(super) gate: LowRank,
    pub(super) output: Matrix,
    pub(super) ffn_key: Matrix,
    pub(super) ffn_value: Matrix,
}

impl Layer {
    /// The low-rank pairs.
    pub(super) fn pairs(&self) -> impl Iterator<Item = &LowRank> {
        let first = [&self.decay, &self.iclr, &self.gate].into_iter();
        first.chain(&self.value_residual)
    }

    /// All vectors in one binding.
    pub(super) fn vectors(&self) -> Binding<'_> {
        self.storage.binding(&self.vectors)
    }

    /// The first element of `vector` in the binding.
    pub(super) fn element(&self, vector: Vector) -> u32 {
        (vector as usize * self.width) as u32
    }

    /// The first vec4 of `vector` in the binding.
    pub(super) fn vec4(&self, vector: Vector) -> u32 {
        self.element(vector) / 4
    }

    /// Makes room for the layer's weights; `uploads` then says what belongs there.
    fn place<'a>(
        source: &Source<'a>,
        uploads: &mut Vec<Upload<'a>>,
        layer: usize,
    ) -> Result<Layer, Error> {
        let Source {
            context,
            limits,
            file,
            hp,
            halves,
            ..
        } = *source;
        let find = |name: &str| tensors::find(file, &format!("blk.{layer}.{name}"));
        let mut vectors = Vec::new();
        for name in VECTOR_TENSORS {
            match name {
                LAYER_0_LACKS if layer == 0 => vectors.resize(vectors.len() + hp.width, 0.0),
                _ => vectors.extend(find(name)?.to_f32()?),
            }
        }
        let mut layout = Layout::new(limits, halves);
        let mut matrix = |name: &str| -> Result<Matrix, Error> {
            Ok(layout.matrix(find(&format!("{name}.weight"))?))
        };
        // Matrices that are multiplied in one dispatch lie next to one another.
        let [receptance, key, value] =
            ["receptance", "key", "value"].map(|name| matrix(&format!("time_mix_{name}")));
        let [w1, a1, g1] = ["w1", "a1", "g1"].map(|name| matrix(&format!("time_mix_{name}")));
        let v1 = (layer > 0).then(|| matrix("time_mix_v1")).transpose()?;
        let [w2, a2, g2] = ["w2", "a2", "g2"].map(|name| matrix(&format!("time_mix_{name}")));
        let v2 = (layer > 0).then(|| matrix("time_mix_v2")).transpose()?;
        let output = matrix("time_mix_output")?;
        let [ffn_key, ffn_value] =
            ["key", "value"].map(|name| matrix(&format!("channel_mix_{name}")));
        let vectors = layout.numbers(vectors);
        Ok(Layer {
            storage: layout.allocate(context, &format!("the weights of layer {layer}"), uploads)?,
            vectors,
            width: hp.width,
            receptance: receptance?,
            key: key?,
            value: value?,
            decay: LowRank { down: w1?, up: w2? },
            iclr: LowRank { down: a1?, up: a2? },
            value_residual: v1.zip(v2).map(|(down, up)| LowRank { down, up }),
            gate: LowRank { down: g1?, up: g2? },
            output,
            ffn_key: ffn_key?,
            ffn_value: ffn_value?,
        })
    }
}

/// What comes before and after the layers.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) storage: Storage,
    pub(super) embedding: Matrix,
    pub(super) output: Matrix,
    /// Weight and bias of the embedding's norm, then of the output's, each `[width]`.
    norms: Part,
}

impl Ends {
    /// The vec4s at which the embedding norm's and the output norm's weights begin, are 0 and twice a row; the biases
    /// follow them.
    pub(super) fn norms(&self) -> Binding<'_> {
        self.storage.binding(&self.norms)
    }

    /// Makes room for these weights; `uploads` then says what belongs there.
    fn place<'a>(source: &Source<'a>, uploads: &mut Vec<Upload<'a>>) -> Result<Ends, Error> {
        let Source {
            context,
            limits,
            file,
            ..
        } = *source;
        let mut norms = Vec::new();
        for name in ["token_embd_norm", "output_norm"] {
            for kind in ["weight", "bias"] {
                norms.extend(tensors::find(file, &format!("{name}.{kind}"))?.to_f32()?);
            }
        }
        let mut layout = Layout::new(limits, false);
        let embedding = layout.matrix(tensors::find(file, "token_embd.weight")?);
        let output = layout.matrix(tensors::find(file, "output.weight")?);
        let norms = layout.numbers(norms);
        let storage = layout.allocate(context, "the embedding and the output matrix", uploads)?;
        Ok(Ends {
            storage,
            embedding,
            output,
            norms,
        })
    }
}

/// All of the model's weights.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) ends: Ends,
    pub(super) layers: Vec<Layer>,
}

/// Where weights come from and where they go.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) context: &'a Context,
    /// The limits to keep to: those of the device, or narrower ones.
    pub(super) limits: &'a Limits,
    /// A file that has been checked.
    pub(super) file: &'a GgufFile,
    pub(super) hp: &'a Hyperparameters,
    /// Whether matrices of 32-bit floats become 16-bit floats, as their products are those of such.
    pub(super) halves: bool,
}

impl Weights {
    /// Allocates all of the memory, so that too little of it is noticed at once, and then fills it.
    pub(super) fn load(
        source: Source<'_>,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Weights, Error> {
        let mut uploads = Vec::new();
        let ends = Ends::place(&source, &mut uploads)?;
        let layers = (0..source.hp.layers)
            .map(|layer| Layer::place(&source, &mut uploads, layer))
            .collect::<Result<_, _>>()?;
        upload(source.context, &uploads, on_progress)?;
        Ok(Weights { ends, layers })
    }
}
