//! Block decoding: bytes of decoded f32 a second, by type.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use thalweg_gguf::{TensorType, blocks};

/// Decoded at once: a few rows of a matrix, which stay in the first-level cache.
const ELEMENTS: usize = 4096;

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode blocks");
    group.throughput(Throughput::Bytes(4 * ELEMENTS as u64));
    for ty in TensorType::all().filter(|ty| ty.is_supported()) {
        // Any bytes are blocks; small ones keep the scales, and so the results, ordinary numbers.
        let bytes: Vec<u8> = (0..ELEMENTS / ty.block_len() * ty.block_bytes())
            .map(|index| (index * 31 % 59) as u8)
            .collect();
        let mut decoded = vec![0.0; ELEMENTS];
        group.bench_with_input(BenchmarkId::from_parameter(ty), &bytes, |b, bytes| {
            b.iter(|| blocks::decode(ty, bytes, &mut decoded))
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
