//! What rounding the activations of single tokens does to the logits.

use thalweg_rwkv::{Activations, GpuOptions, Session, Wanted};

use crate::{chunks_of, session_with, synth_tiny, tokens};

/// Logits after each of some tokens, read one by one.
fn logits(activations: Activations) -> Vec<f32> {
    let options = GpuOptions {
        tuning: chunks_of(8),
        activations,
        ..GpuOptions::default()
    };
    let mut session = session_with(&synth_tiny(), options);
    tokens(40)
        .into_iter()
        .flat_map(|token| session.forward(&[token], Wanted::Last).unwrap())
        .collect()
}

#[test]
fn eight_bits_move_logits_a_little() {
    let exact = logits(Activations::F32);
    let rounded = logits(Activations::Q8);
    let size = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    let moved = size(&mut exact.iter().zip(&rounded).map(|(a, b)| a - b));
    let moved = moved / size(&mut exact.iter().copied());
    println!("moved by {moved:.1e} of the logits");
    assert!(0.0 < moved && moved < 0.03, "moved by {moved}");
}
