//! Kernels of the RWKV-7 forward pass and their CPU twins.

pub mod twins;
