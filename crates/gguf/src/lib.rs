//! GGUF files: strict, bounds-checked reading, block formats, a writer.
//!
//! [`GgufFile`] maps a file and walks its header once. Every count, length, type, shape and offset
//! is checked against budgets and against the file's length before it is used, so that all later
//! access is in bounds and cannot fail:
//!
//! ```no_run
//! # fn main() -> Result<(), thalweg_gguf::Error> {
//! let file = thalweg_gguf::GgufFile::open("model.gguf".as_ref())?;
//! let layers = file.metadata().u32("rwkv7.block_count")?;
//! if let Some(embedding) = file.tensor("token_embd.weight") {
//!     let weights: Vec<f32> = embedding.to_f32()?;
//! }
//! # let _ = layers; Ok(()) }
//! ```
//!
//! Metadata arrays stay views on the mapped bytes and weights stay in their file encoding until
//! [`blocks::decode`] turns them into `f32`, so that a loaded file costs little more memory than
//! its own pages.

pub mod blocks;
mod cursor;
mod error;
mod file;
mod formats;
mod header;
mod limits;
mod metadata;
// gguf-rs draws tables on a terminal, which a browser has not.
#[cfg_attr(target_family = "wasm", path = "scalars_in_place.rs")]
mod scalars;
mod source;
mod tensor_type;
mod tensors;
mod value;
pub mod writer;

pub use error::{Error, Fault};
pub use file::{GgufFile, Tensor};
pub use metadata::{Metadata, Strings};
pub use tensor_type::TensorType;
pub use tensors::TensorInfo;
pub use value::{Array, Value, ValueType, Values};
