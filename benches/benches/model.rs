//! The CPU model: tokens a second, one at a time and in chunks.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(
    clippy::expect_used,
    reason = "a bench without its input has nothing to do"
)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::error::Error;
use std::sync::Arc;
use thalweg_benches::{demo_model, tokens};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{CpuModel, CpuSession, Session, Wanted};

fn session() -> Result<CpuSession, Box<dyn Error>> {
    Ok(CpuSession::new(Arc::new(CpuModel::load(GgufFile::open(
        &demo_model(),
    )?)?)))
}

/// One token after another, each with its logits.
fn decode(c: &mut Criterion) {
    let mut session = session().expect("the demo model loads");
    let mut group = c.benchmark_group("cpu decode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("demo model", |b| {
        b.iter(|| {
            session
                .forward(&[1234], Wanted::Last)
                .map(|logits| logits[0])
        })
    });
    group.finish();
}

/// A chunk of a prompt, whose last token's logits are wanted.
fn prefill(c: &mut Criterion) {
    let session = session().expect("the demo model loads");
    let mut group = c.benchmark_group("cpu prefill");
    group.sample_size(10);
    for chunk in [16, 64, 256, 512] {
        let tokens = tokens(chunk, session.hyperparameters().vocab);
        group.throughput(Throughput::Elements(chunk as u64));
        group.bench_with_input(
            BenchmarkId::new("demo model", chunk),
            &tokens,
            |b, tokens| {
                b.iter_batched_ref(
                    || session.clone(),
                    |session| {
                        session
                            .forward(tokens, Wanted::Last)
                            .map(|logits| logits[0])
                    },
                    BatchSize::SmallInput,
                )
            },
        );
    }
    group.finish();
}

/// A window of perplexity: every token's logits are wanted.
fn perplexity_window(c: &mut Criterion) {
    let session = session().expect("the demo model loads");
    let tokens = tokens(512, session.hyperparameters().vocab);
    let mut group = c.benchmark_group("cpu perplexity window");
    group.sample_size(10).throughput(Throughput::Elements(512));
    group.bench_function("demo model", |b| {
        b.iter_batched_ref(
            || session.clone(),
            |session| {
                session
                    .forward(&tokens, Wanted::All)
                    .map(|logits| logits[0])
            },
            BatchSize::SmallInput,
        )
    });
    group.finish();
}

criterion_group!(benches, decode, prefill, perplexity_window);
criterion_main!(benches);
