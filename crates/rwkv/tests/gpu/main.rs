//! The model on whatever adapter there is, software adapters included. Without one the tests fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's ways of failing and of reporting"
)]

mod activations;
mod batch;
mod chunks;
mod encodings;
mod goldens;
mod one_token;
mod refusals;
mod sampling;
mod tuning;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use thalweg_gguf::GgufFile;
use thalweg_gpu::Context;
use thalweg_rwkv::{GpuModel, GpuOptions, GpuSession, Tuning};

static CONTEXT: LazyLock<Arc<Context>> =
    LazyLock::new(|| Arc::new(Context::of_any_kind().unwrap()));

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn synth_tiny() -> GgufFile {
    GgufFile::open(&data().join("synth-tiny-q4_k_m.gguf")).unwrap()
}

fn chunks_of(chunk: u32) -> Tuning {
    Tuning {
        chunk,
        ..Tuning::default()
    }
}

fn session(file: &GgufFile, chunk: u32) -> GpuSession {
    session_with(
        file,
        GpuOptions {
            tuning: chunks_of(chunk),
            ..GpuOptions::default()
        },
    )
}

fn session_with(file: &GgufFile, options: GpuOptions) -> GpuSession {
    let model = GpuModel::load(Arc::clone(&CONTEXT), file, options).unwrap();
    GpuSession::new(Arc::new(model)).unwrap()
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|index| index * 7919 % 512).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |largest, value| {
            // NaN must not pass for small.
            if value > largest || value.is_nan() {
                value
            } else {
                largest
            }
        })
}
