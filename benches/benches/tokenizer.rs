//! Text to token ids: World and byte-level BPE, on one core.
//!
//! `THALWEG_WORLD_VOCAB` names a GGUF file with the real World vocabulary; without it, one of the same size is made up
//! from pieces of English. The text is made of such pieces too, common ones more often.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, reason = "a bench's way of failing")]

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use thalweg_benches::demo_model;
use thalweg_gguf::GgufFile;
use thalweg_gguf::writer::GgufWriter;
use thalweg_tokenizer::Tokenizer;

const WORLD_TOKENS: usize = 65_536;
const TEXT_BYTES: usize = 1 << 20;

fn encode(c: &mut Criterion) {
    let demo = GgufFile::open(&demo_model()).expect("the demo model opens");
    let bpe = Tokenizer::from_gguf(demo.metadata()).expect("the demo model has a tokenizer");
    let vocabulary = world_vocabulary(&bpe);
    let world = Tokenizer::from_gguf(vocabulary.metadata()).expect("a World vocabulary");
    let text = text(&bpe);

    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("World", |b| {
        b.iter(|| world.encode(black_box(&text)).expect("any bytes"))
    });
    group.bench_function("BPE", |b| {
        b.iter(|| bpe.encode(black_box(&text)).expect("UTF-8"))
    });
    group.finish();

    c.bench_function("build World", |b| {
        b.iter(|| Tokenizer::from_gguf(vocabulary.metadata()))
    });
}

/// Text of the BPE's ASCII tokens. They are in the order of how common they are, and chosen accordingly.
fn text(bpe: &Tokenizer) -> Vec<u8> {
    let mut text = Vec::new();
    let mut random = 1_u64;
    while text.len() < TEXT_BYTES {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let uniform = (random >> 40) as f64 / (1_u64 << 24) as f64;
        let id = uniform.powi(3) * bpe.vocab_len() as f64;
        text.extend(
            bpe.token_bytes(id as u32)
                .filter(|token| token.is_ascii())
                .unwrap_or_default(),
        );
    }
    text
}

fn world_vocabulary(bpe: &Tokenizer) -> GgufFile {
    match std::env::var_os("THALWEG_WORLD_VOCAB") {
        Some(path) => GgufFile::open(path.as_ref()).expect("THALWEG_WORLD_VOCAB names a GGUF file"),
        None => made_up_world_vocabulary(bpe),
    }
}

/// Every byte, every token of the BPE, then tokens made of two.
fn made_up_world_vocabulary(bpe: &Tokenizer) -> GgufFile {
    let pieces: Vec<&[u8]> = (0..bpe.vocab_len() as u32)
        .filter_map(|id| bpe.token_bytes(id))
        .collect();
    let bytes = (0..=255).map(|byte| vec![byte]);
    let single = pieces.iter().map(|piece| piece.to_vec());
    let double = pieces
        .iter()
        .flat_map(|second| pieces.iter().map(move |first| [*first, *second].concat()));
    let mut tokens = BTreeSet::new();
    for token in bytes
        .chain(single)
        .chain(double)
        .filter(|token| !token.is_empty())
    {
        tokens.insert(token);
        if tokens.len() == WORLD_TOKENS {
            break;
        }
    }
    let file = GgufWriter::new()
        .str("tokenizer.ggml.model", "rwkv")
        .i32s("tokenizer.ggml.token_type", vec![1; tokens.len()])
        .strings(
            "tokenizer.ggml.tokens",
            tokens.iter().map(|token| escape(token)),
        );
    GgufFile::from_bytes(file.finish()).expect("the writer writes well-formed files")
}

/// As a vocabulary writes it: the inside of a Python bytes literal.
fn escape(token: &[u8]) -> String {
    token.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

criterion_group!(benches, encode);
criterion_main!(benches);
