//! How much memory running a model takes.

use crate::{Hyperparameters, State, tensors};
use thalweg_gguf::GgufFile;

/// Memory for one sequence on the CPU backend, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The weights in their file encoding: pages of the mapped file.
    pub weights: u64,
    /// The state of one sequence.
    pub state: u64,
    /// Intermediate results of one chunk, logits of its last token included.
    pub activations: u64,
}

impl MemoryEstimate {
    /// The memory for running the model in `file` in chunks of `chunk` tokens. Tensors that the file lacks count nothing.
    pub fn new(file: &GgufFile, hp: &Hyperparameters, chunk: usize) -> MemoryEstimate {
        MemoryEstimate {
            weights: tensors::needed(hp)
                .filter_map(|spec| file.tensor(&spec.name))
                .map(|t| t.data.len() as u64)
                .sum(),
            state: State::bytes(hp),
            activations: 4 * (chunk as u64 * floats_per_token(hp) + hp.vocab as u64),
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.state + self.activations
    }
}

/// Numbers held for each token where the most are: x, the normed x and layer 0's values; besides, in time mixing, r w k v
/// kk a g y, a shifted input and a product being transposed; in channel mixing, the hidden channels twice.
fn floats_per_token(hp: &Hyperparameters) -> u64 {
    let (width, ffn) = (hp.width as u64, hp.ffn as u64);
    3 * width + (10 * width).max(width + 2 * ffn)
}
