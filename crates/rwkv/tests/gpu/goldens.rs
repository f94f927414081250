//! Against float64, and what the numbers of the golden do not show: every shape of plan.

use std::sync::Arc;

use thalweg_conformance::{Backend, check_model};
use thalweg_rwkv::{GpuOptions, Tuning};

use crate::{CONTEXT, chunks_of, data};

fn check(options: GpuOptions) {
    let backend = Backend::Gpu(Arc::clone(&CONTEXT), options);
    let mut outcomes = Vec::new();
    check_model(
        &data().join("synth-tiny-q4_k_m.json"),
        &data(),
        &backend,
        &mut |outcome| outcomes.push(outcome),
    );
    for outcome in &outcomes {
        println!("{options:?} {outcome}");
    }
    assert_eq!(outcomes.len(), 5);
    assert!(outcomes.iter().all(|outcome| outcome.passed()));
}

#[test]
fn synth_tiny_agrees_with_float64_whatever_the_block_size() {
    let invocations = CONTEXT.limits().workgroup_invocations;
    for block_size in [8, 16, 32]
        .into_iter()
        .filter(|size| size * size <= invocations)
    {
        check(GpuOptions {
            tuning: Tuning {
                block_size,
                ..chunks_of(128)
            },
            ..GpuOptions::default()
        });
    }
}
