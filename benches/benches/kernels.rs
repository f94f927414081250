//! The kernels on whatever adapter there is: bytes and floating-point operations a second.
//!
//! Names are `kernel/encoding/rows x columns/tokens`: `cargo bench -p thalweg-benches -- ^matvec/q4_k`. Shapes are those
//! of RWKV-7 2.9B, on an adapter that computes on the CPU those of the demo model. `WGPU_BACKEND` and
//! `WGPU_ADAPTER_NAME` choose among several adapters. Without any there is nothing to measure, which is no failure.

#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(clippy::expect_used, reason = "a bench's way of failing")]
#![allow(clippy::print_stderr, reason = "a bench says what it runs on")]

use std::time::Duration;

use criterion::{Criterion, Throughput};
use thalweg_benches::kernels::{Case, Device, Shapes, cases};
use thalweg_gpu::Context;

use rates::Rates;

#[path = "kernels/rates.rs"]
mod rates;

fn main() {
    let rates = Rates::default();
    let mut criterion = Criterion::default()
        .with_measurement(rates.clone())
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    match Context::of_any_kind() {
        Ok(context) => {
            eprintln!("kernels on adapter {}", context.adapter());
            measure_all(&mut criterion, &rates, &context);
        }
        Err(error) => eprintln!("kernels are not measured: {error}"),
    }
    criterion.final_summary();
}

fn measure_all(criterion: &mut Criterion<Rates>, rates: &Rates, context: &Context) {
    let cases =
        cases(&Device::of(context), &Shapes::of(context)).expect("the templates have no defect");
    for of_group in cases.chunk_by(|one, next| one.group == next.group) {
        let mut group = criterion.benchmark_group(of_group[0].group);
        for case in of_group {
            rates.set(case.work);
            group.throughput(Throughput::BytesDecimal(case.work.bytes as u64));
            let mut prepared = None;
            group.bench_function(&case.name, |bencher| {
                // Only what passes the filter comes here.
                let prepared = prepared.get_or_insert_with(|| prepare(case, context));
                bencher.iter_custom(|dispatches| {
                    prepared
                        .time(context, dispatches)
                        .expect("the device does its work")
                });
            });
        }
        group.finish();
    }
}

fn prepare(case: &Case, context: &Context) -> thalweg_benches::kernels::Prepared {
    case.prepare(context)
        .expect("the device takes what its limits allow")
}
