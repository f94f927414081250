//! The model on the GPU: weights uploaded once, the state resident, every forward pass a plan that is replayed.
//!
//! [`GpuModel`] holds the weights (`weights`, laid out by `storage`, brought there by `upload`); a [`GpuBatch`] holds what
//! several sequences need: their states (`states`), the intermediate results (`activations`), and the `plans`, which `recorder`
//! makes of the steps of `layer`, `recurrence`, `ends` and `products`, or for one token of `decode`. `arrangement` says which row
//! of a step is whose, and `sampling` chooses tokens in the slots. `verify` has guessed tokens be read, whose effect on the states lies
//! in the `log` until it is clear which are right. `operations` are steps one by one, to be measured. A [`GpuSession`] is a batch of one sequence.

mod activations;
mod arrangement;
mod batch;
mod decode;
mod ends;
mod finite;
mod knobs;
mod layer;
mod log;
mod model;
pub(crate) mod operations;
mod plans;
mod products;
mod profile;
mod recorder;
mod recurrence;
mod sampling;
pub mod selftest;
mod session;
mod states;
mod storage;
mod taps;
mod tuning;
mod tuning_key;
mod upload;
mod verify;
mod weights;

pub use batch::GpuBatch;
pub use knobs::{KNOBS, Knob, TimedStep};
pub use model::{Activations, GpuModel, GpuOptions, Precision};
pub use session::GpuSession;
pub use tuning::{Division, RowSharing, Tile, Tuning};
pub use tuning_key::TuningKey;
pub use upload::Progress;
