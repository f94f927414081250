//! The CPU model against the golden vectors of the repository's synthetic model.

use std::path::Path;
use thalweg_conformance::{Backend, check_model};

#[test]
fn synth_tiny_agrees_with_float64() {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    let mut outcomes = Vec::new();
    check_model(
        &data.join("synth-tiny-q4_k_m.json"),
        data,
        &Backend::Cpu,
        &mut |outcome| outcomes.push(outcome),
    );
    for outcome in &outcomes {
        println!("{outcome}");
    }
    // Three prompts, all positions of one of them, the inside of the layers.
    assert_eq!(outcomes.len(), 5);
    assert!(outcomes.iter().all(|outcome| outcome.passed()));
}
