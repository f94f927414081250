//! Small operations on whatever adapter there is, and by the twins: what `thalweg bench --ops` measures.
//!
//! Names are `operation/shape/tokens/form/time`, where the time is that on the device (alone) or what the host sees of a single
//! one (launched): `cargo bench -p thalweg-benches --bench operations -- 'low-rank chain.*fused/alone'`. Shapes are those of RWKV-7
//! 2.9B in Q4_K_M, on an adapter that computes on the CPU and for the twins those of the demo model. Without an adapter the twins
//! alone are measured, which is no failure.

#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(clippy::expect_used, reason = "a bench's way of failing")]
#![allow(clippy::print_stderr, reason = "a bench says what it runs on")]

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use thalweg_benches::demo_model;
use thalweg_conformance::synth;
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_gpu::Context;
use thalweg_rwkv::operations::{CpuOperation, Form, GpuForm, GpuOperations, Operation, Sizes};
use thalweg_rwkv::{Activations, GpuOptions, Hyperparameters, Precision, Tuning};

/// Tokens of what a model computes for many at once.
const MANY: usize = 256;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    by_twins(&mut criterion);
    match Context::of_any_kind() {
        Ok(context) => on_device(&mut criterion, Arc::new(context)),
        Err(error) => eprintln!("kernels are not measured: {error}"),
    }
    criterion.final_summary();
}

fn by_twins(criterion: &mut Criterion) {
    let sizes = sizes_of_demo();
    let mut group = criterion.benchmark_group("cpu");
    for operation in Operation::all(MANY) {
        let Some(mut twins) = CpuOperation::new(&operation, &sizes) else {
            continue;
        };
        group.bench_function(name(&operation, &sizes), |bencher| {
            bencher.iter(|| twins.run().expect("the types can be decoded"))
        });
    }
    group.finish();
}

fn on_device(criterion: &mut Criterion, context: Arc<Context>) {
    eprintln!("operations on adapter {}", context.adapter());
    let sizes = match context.adapter().software {
        true => sizes_of_demo(),
        false => sizes_of_2_9b(),
    };
    let options = GpuOptions {
        tuning: Tuning::suiting(&sizes.hp, Activations::F32),
        precision: match context.adapter().coop_size {
            Some(_) => Precision::Fast,
            None => Precision::Exact,
        },
        ..GpuOptions::default()
    };
    let on_device = GpuOperations::new(context, sizes.clone(), options, MANY)
        .expect("the device has room for operations");
    let mut group = criterion.benchmark_group("gpu");
    for operation in Operation::all(MANY) {
        // Only what passes the filter is prepared.
        let prepared = OnceCell::new();
        let prepare = || {
            on_device
                .prepare(&operation)
                .expect("the device takes what its limits allow")
        };
        for form in on_device.forms(&operation) {
            let name = format!("{}/{}", name(&operation, &sizes), form.name());
            group.bench_function(format!("{name}/alone"), |bencher| {
                let form = find(prepared.get_or_init(prepare), form);
                bencher.iter_custom(|times| alone(form, times));
            });
            group.bench_function(format!("{name}/launched"), |bencher| {
                let form = find(prepared.get_or_init(prepare), form);
                bencher.iter_custom(|times| launched(form, times));
            });
        }
    }
    group.finish();
}

fn name(operation: &Operation, sizes: &Sizes) -> String {
    let shape = operation.shape(sizes);
    format!("{}/{shape}/{}", operation.name(), operation.tokens)
}

fn find(prepared: &[GpuForm], form: Form) -> &GpuForm {
    let mut forms = prepared.iter();
    forms
        .find(|prepared| prepared.form() == form)
        .expect("what the device can do is prepared")
}

/// What so many take alone, measured on as many as fill whole submissions.
fn alone(form: &GpuForm, times: u64) -> Duration {
    let submissions = times.div_ceil(form.repetitions() as u64);
    let seconds: f64 = (0..submissions)
        .map(|_| form.alone_s().expect("the device does its work"))
        .sum();
    Duration::from_secs_f64(seconds / submissions as f64 * times as f64)
}

fn launched(form: &GpuForm, times: u64) -> Duration {
    let seconds = (0..times).map(|_| form.launched_s().expect("the device does its work"));
    Duration::from_secs_f64(seconds.sum())
}

fn sizes_of_demo() -> Sizes {
    let file = GgufFile::open(&demo_model()).expect("the checkout has the demo model");
    Sizes::of(&file).expect("it is a whole model")
}

fn sizes_of_2_9b() -> Sizes {
    Sizes {
        hp: Hyperparameters {
            vocab: 65_536,
            ..synth::shape(32, 2560, 10_240)
        },
        output: TensorType::Q4_K,
        ffn_key: TensorType::Q4_K,
        ffn_value: TensorType::Q4_K,
        head: TensorType::Q6_K,
    }
}
