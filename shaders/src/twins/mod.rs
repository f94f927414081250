//! The CPU twins: every operation of the RWKV-7 forward pass as a plain f32 function.
//!
//! They are the oracle the kernels are compared with, and composed they are the CPU backend. Each is a pure
//! function of the slices it is given, with the shapes in its comment, outermost dimension first: `tokens` is the
//! length of the chunk, `width` the residual stream, `width = heads * head_size`.
//!
//! Two things hold for all of them. Each output element is summed in an order that depends neither on the number of
//! tokens nor on the number of threads, so splitting a prompt into other chunks changes no bit of the result (but
//! [`wkv7_chunked`] and [`wkv7_affine`] have chunks of their own). And the slices' lengths are the caller's duty: a
//! function panics when they contradict each other.

mod activation;
mod dense;
mod embedding;
mod gate;
mod matmul;
mod matrix;
mod norm;
mod parallel;
mod quantise;
mod reduce;
mod removal_key;
mod sampling;
mod softmax;
mod time_mix;
mod token_shift;
mod triangular;
mod wkv7;
mod wkv7_chunk;
mod wkv7_chunked;

pub use activation::{relu_squared, sigmoid, tanh};
pub use embedding::embedding;
pub use gate::{bonus, gate, residual};
pub use matmul::matmul;
pub use matrix::Matrix;
pub use norm::{GROUP_NORM_EPS, group_norm, layer_norm};
pub use quantise::quantise;
pub use removal_key::removal_key;
pub use sampling::{philox, sample, sample_weights};
pub use softmax::softmax;
pub use time_mix::{decay, iclr, scale_key, value_residual};
pub use token_shift::token_shift;
pub use wkv7::{Wkv7Inputs, wkv7, wkv7_ahead};
pub use wkv7_chunked::{wkv7_affine, wkv7_chunked};
