//! Shared inputs of the benches, and what is measured: kernels, ways of taking tokens, figures of the engine.

pub mod copying;
pub mod figures;
pub mod kernels;
pub mod streaming;

use std::path::PathBuf;

/// The demo model of the checkout.
pub fn demo_model() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../assets/thalweg-demo-29m-q4_k_m.gguf"
    ))
}

/// Token ids that look like nothing in particular, all below `vocab`.
pub fn tokens(count: usize, vocab: usize) -> Vec<u32> {
    (0..count)
        .map(|index| (index * 7919 % vocab) as u32)
        .collect()
}
