//! What handing tokens out one by one costs over collecting them, and what top-p costs over greedy: 50 tokens.
//!
//! Beside a model these are small numbers in a noise of larger ones. So the same rows are also there without a model, on
//! a batch that computes nothing: what is left is the engine's own time.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(
    clippy::expect_used,
    reason = "a bench without its input has nothing to do"
)]

use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use thalweg_benches::demo_model;
use thalweg_benches::streaming::{
    call_back, collect, greedy, iterate, iterate_across, sampled, stream_across,
};
use thalweg_engine::{Engine, EngineOptions};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{
    Batch, Chosen, CpuBatch, CpuModel, Error, HostSampler, Hyperparameters, Part, Sampling, State,
    Wanted,
};
use thalweg_tokenizer::Tokenizer;

const TOKENS: usize = 50;

/// All rows on one kind of batch.
fn rows<B: Batch + Send + 'static>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    tokenizer: &Arc<Tokenizer>,
    batch: impl Fn() -> B,
) {
    group.throughput(Throughput::Elements(TOKENS as u64));
    let engine = || {
        let tokenizer = Arc::clone(tokenizer);
        Engine::new(batch(), tokenizer, EngineOptions::default()).expect("the options are good")
    };
    let mut here = engine();
    group.bench_function("collected", |b| {
        b.iter(|| collect(&mut here, greedy(TOKENS)))
    });
    group.bench_function("sync", |b| b.iter(|| iterate(&mut here, greedy(TOKENS))));
    group.bench_function("callback", |b| {
        b.iter(|| call_back(&mut here, greedy(TOKENS)))
    });
    group.bench_function("collected, top-p", |b| {
        b.iter(|| collect(&mut here, sampled(TOKENS)))
    });
    let there = engine().spawn().expect("a thread starts");
    group.bench_function("sync, other thread", |b| {
        b.iter(|| iterate_across(&there, greedy(TOKENS)))
    });
    group.bench_function("async, other thread", |b| {
        b.iter(|| stream_across(&there, greedy(TOKENS)))
    });
}

fn with_the_demo_model(c: &mut Criterion) {
    let file = GgufFile::open(&demo_model()).expect("the demo model opens");
    let tokenizer = Arc::new(Tokenizer::from_gguf(file.metadata()).expect("it has a tokenizer"));
    let model = Arc::new(CpuModel::load(file).expect("the demo model loads"));
    let mut group = c.benchmark_group("streaming, demo model");
    group.sample_size(20);
    rows(&mut group, &tokenizer, || {
        CpuBatch::new(Arc::clone(&model), 1)
    });
    group.finish();
}

fn without_a_model(c: &mut Criterion) {
    let file = GgufFile::open(&demo_model()).expect("the demo model opens");
    let tokenizer = Arc::new(Tokenizer::from_gguf(file.metadata()).expect("it has a tokenizer"));
    let hp = Hyperparameters::from_gguf(&file).expect("it has hyperparameters");
    let mut group = c.benchmark_group("streaming, no model");
    rows(&mut group, &tokenizer, || Nothing {
        hp: hp.clone(),
        sampler: HostSampler::new(Sampling::greedy()),
        logits: logits(hp.vocab),
    });
    group.finish();
}

/// Computes nothing but tokens from logits that never change.
struct Nothing {
    hp: Hyperparameters,
    sampler: HostSampler,
    logits: Vec<f32>,
}

fn logits(vocab: usize) -> Vec<f32> {
    let logit = |index: usize| (index * 7919 % 1021) as f32 / 64.0;
    (0..vocab).map(logit).collect()
}

impl Batch for Nothing {
    fn hyperparameters(&self) -> &Hyperparameters {
        &self.hp
    }

    fn slots(&self) -> usize {
        1
    }

    fn largest_step(&self) -> usize {
        128
    }

    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        let rows = parts
            .iter()
            .map(|part| part.wanted.count(part.tokens.len()));
        Ok(self.logits.repeat(rows.sum()))
    }

    fn set_sampling(&mut self, _slot: usize, sampling: Sampling) -> Result<(), Error> {
        self.sampler = HostSampler::new(sampling);
        Ok(())
    }

    fn sample(&mut self, parts: &[Part<'_>]) -> Result<Vec<Option<Chosen>>, Error> {
        let wanting = parts.iter().filter(|part| part.wanted != Wanted::Nothing);
        let chosen = wanting.map(|_| self.sampler.choose(&self.logits).ok());
        Ok(chosen.collect())
    }

    fn choose(&mut self, _slot: usize, logits: &[f32]) -> Result<Option<Chosen>, Error> {
        Ok(self.sampler.choose(logits).ok())
    }

    fn logits(&mut self, _slot: usize) -> Result<Vec<f32>, Error> {
        Ok(self.logits.clone())
    }

    fn state(&mut self, _slot: usize) -> Result<State, Error> {
        Ok(State::zeros(&self.hp))
    }

    fn set_state(&mut self, _slot: usize, _state: &State) -> Result<(), Error> {
        Ok(())
    }

    fn copy_state(&mut self, _from: usize, _to: usize) -> Result<(), Error> {
        Ok(())
    }

    fn reset(&mut self, _slot: usize) -> Result<(), Error> {
        Ok(())
    }
}

criterion_group!(benches, with_the_demo_model, without_a_model);
criterion_main!(benches);
