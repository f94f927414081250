//! The RWKV-7 model: hyperparameters, weights, state, forward pass on the CPU twins.
//!
//! [`Hyperparameters`] and [`tensors`] say what a file must hold; [`CpuModel`] runs it, [`GpuModel`] runs it on a GPU;
//! a [`Session`] is one sequence on whatever backend, a [`Batch`] several, and all that the layers above need to know.

mod batch;
mod cpu;
mod error;
#[cfg(not(target_arch = "wasm32"))]
mod gpu;
mod hyperparameters;
mod memory;
mod model_hash;
pub mod operations;
mod place;
mod sampling;
mod session;
mod state;
mod taps;
pub mod tensors;

pub use batch::{Batch, Draft, Next, Part};
pub use cpu::{CpuBatch, CpuModel, CpuSession};
pub use error::{Error, Logits};
#[cfg(not(target_arch = "wasm32"))]
pub use gpu::selftest;
#[cfg(not(target_arch = "wasm32"))]
pub use gpu::{
    Activations, Division, GpuBatch, GpuModel, GpuOptions, GpuSession, KNOBS, Knob, Precision,
    Progress, RowSharing, Tile, TimedStep, Tuning, TuningKey,
};
pub use hyperparameters::{Hyperparameters, Ranks};
pub use memory::MemoryEstimate;
pub use model_hash::model_hash;
pub use place::Place;
pub use sampling::{Chosen, HostSampler, Sampling};
pub use session::{Session, Wanted};
pub use state::State;
pub use taps::Taps;
pub use thalweg_shaders::{
    MAX_TOP_LOGPROBS, NoToken, SampleBias, SampleLogprob, SampleRow, stable_hash,
};
