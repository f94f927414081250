//! What rounding activations does to the logits.

use thalweg_gpu::Feature;
use thalweg_rwkv::{Activations, GpuOptions, Precision, Session, Tuning, Wanted};

use crate::{CONTEXT, session_with, synth_tiny, tokens};

const EXACT: GpuOptions = GpuOptions {
    tuning: Tuning {
        chunk: 40,
        ..Tuning::of(Activations::F32)
    },
    precision: Precision::Exact,
    activations: Activations::F32,
};
const ROUNDED: GpuOptions = GpuOptions {
    activations: Activations::Q8,
    ..EXACT
};
const FAST: GpuOptions = GpuOptions {
    precision: Precision::Fast,
    ..EXACT
};

/// Logits after each of some tokens, read so many at a time.
fn logits(options: GpuOptions, at_a_time: usize) -> Vec<f32> {
    let mut session = session_with(&synth_tiny(), options);
    tokens(40)
        .chunks(at_a_time)
        .flat_map(|tokens| session.forward(tokens, Wanted::All).unwrap())
        .collect()
}

/// Root of the summed squares of the differences to exact logits over that of the logits.
fn moved(options: GpuOptions, at_a_time: usize) -> f32 {
    let (exact, found) = (logits(EXACT, at_a_time), logits(options, at_a_time));
    let size = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    let moved = size(&mut exact.iter().zip(&found).map(|(a, b)| a - b));
    let moved = moved / size(&mut exact.iter().copied());
    println!("{options:?}, {at_a_time} tokens: moved by {moved:.1e} of the logits");
    moved
}

#[test]
fn eight_bits_move_logits_a_little() {
    if !CONTEXT.has(Feature::Dot4) {
        return assert_eq!(moved(ROUNDED, 1), 0.0);
    }
    for at_a_time in [1, 40] {
        let moved = moved(ROUNDED, at_a_time);
        assert!(0.0 < moved && moved < 0.03, "moved by {moved}");
    }
}

#[test]
fn halves_move_logits_less() {
    let session = session_with(&synth_tiny(), FAST);
    if !CONTEXT.has(Feature::F16) {
        return assert_eq!(session.model().precision(), Precision::Exact);
    }
    assert_eq!(session.model().precision(), Precision::Fast);
    let moved = moved(FAST, 40);
    assert!(0.0 < moved && moved < 2e-3, "moved by {moved}");
}

/// Both at once: integers where matrices are of integers, halves elsewhere.
#[test]
fn eight_bits_of_halves_move_logits_no_more() {
    let both = GpuOptions {
        precision: Precision::Fast,
        ..ROUNDED
    };
    let moved = moved(both, 40);
    assert!(moved < 0.03, "moved by {moved}");
}
