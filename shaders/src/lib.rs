//! Kernels of the RWKV-7 forward pass and their CPU twins.

mod encoding;
mod error;
mod hash;
pub mod kernels;
mod sampling;
pub mod twins;

pub use encoding::{
    Encoding, SPAN, VEC4_BYTES, encode_rows, encode_rows_as_halves, is_stored_as_is,
};
pub use error::Error;
pub use hash::stable_hash;
pub use sampling::{
    MAX_SAMPLED_VOCAB, MAX_TOP_LOGPROBS, NO_TOKEN, NoToken, SampleBias, SampleCount, SampleLogprob,
    SampleReport, SampleRow,
};
