//! The shapes of models.

use thalweg_gpu::Context;

/// The sizes at which kernels are measured.
#[derive(Debug, Clone, Copy)]
pub struct Shapes {
    /// Channels.
    pub width: usize,
    /// Channels of channel mixing.
    pub ffn: usize,
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// Ranks of the low-rank pairs: decay, in-context learning rate, value residual, gate.
    pub ranks: [usize; 4],
    /// Heads of models small and large, of 64 channels each.
    pub heads: &'static [usize],
    /// Tokens of prompts.
    pub tokens: &'static [usize],
    /// Sequences that take a step together.
    pub sequences: &'static [usize],
}

impl Shapes {
    /// RWKV-7 2.9B; the heads are those of 0.1B, 2.9B and 7.2B.
    pub const OF_MODELS: Shapes = Shapes {
        width: 2560,
        ffn: 10_240,
        vocab: 65_536,
        ranks: [96, 96, 64, 320],
        heads: &[12, 40, 64],
        tokens: &[64, 1024],
        sequences: &[8, 64],
    };

    /// The demo model, with few tokens: for devices that compute on the CPU.
    pub const OF_THE_DEMO_MODEL: Shapes = Shapes {
        width: 512,
        ffn: 2048,
        vocab: 4096,
        ranks: [64, 64, 32, 128],
        heads: &[8],
        tokens: &[16],
        sequences: &[4],
    };

    /// The shapes for the device of `context`.
    pub fn of(context: &Context) -> Shapes {
        match context.adapter().software {
            true => Shapes::OF_THE_DEMO_MODEL,
            false => Shapes::OF_MODELS,
        }
    }

    /// Rows and columns of the matrices that matter.
    pub(super) fn matrices(&self) -> [[usize; 2]; 3] {
        let Shapes { width, ffn, .. } = *self;
        [[width, width], [ffn, width], [width, ffn]]
    }
}
