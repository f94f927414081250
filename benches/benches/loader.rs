//! Opening the demo model: the header walk, and the whole way to a model that can run.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(
    clippy::expect_used,
    reason = "a bench without its input has nothing to do"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use thalweg_benches::demo_model;
use thalweg_gguf::GgufFile;
use thalweg_rwkv::CpuModel;

fn open(c: &mut Criterion) {
    let path = demo_model();
    c.bench_function("open file", |b| {
        b.iter(|| GgufFile::open(&path).expect("the demo model opens"))
    });
    c.bench_function("load model", |b| {
        b.iter(|| {
            GgufFile::open(&path)
                .map(CpuModel::load)
                .expect("the demo model opens")
                .expect("and loads")
        })
    });
}

criterion_group!(benches, open);
criterion_main!(benches);
