//! What a sequence computes does not depend on who shares the batch, on its slot, or on how its prompt is cut.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use thalweg_conformance::synth::{self, Types};
use thalweg_engine::{Engine, EngineOptions, Request, SamplerSettings, Until};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{CpuBatch, CpuModel, CpuSession, Hyperparameters};
use thalweg_tokenizer::Tokenizer;

use crate::fake_batch::alone;

const VOCAB: u32 = 257;

struct Small {
    model: Arc<CpuModel>,
    tokenizer: Arc<Tokenizer>,
}

static SMALL: LazyLock<Small> = LazyLock::new(|| {
    let hp = Hyperparameters {
        vocab: VOCAB as usize,
        ..synth::shape(2, 64, 128)
    };
    let bytes = synth::model(&hp, Types::all(TensorType::F32), 5);
    let file = GgufFile::from_bytes(bytes).unwrap();
    let tokenizer = Tokenizer::from_gguf(file.metadata()).unwrap();
    Small {
        model: Arc::new(CpuModel::load(file).unwrap()),
        tokenizer: Arc::new(tokenizer),
    }
});

fn greedy(prompt: &[u32]) -> Request {
    Request {
        sampler: SamplerSettings::greedy(),
        until: Until {
            tokens: 24,
            ..Until::default()
        },
        ..Request::new(prompt.to_vec())
    }
}

fn alone_on_cpu(request: &Request) -> Vec<u32> {
    let mut session = CpuSession::new(Arc::clone(&SMALL.model));
    alone(request, &mut session).tokens
}

fn engine(slots: usize, step_tokens: usize) -> Engine<CpuBatch> {
    let batch = CpuBatch::new(Arc::clone(&SMALL.model), slots);
    let options = EngineOptions {
        step_tokens: Some(step_tokens),
        ..EngineOptions::default()
    };
    Engine::new(batch, Arc::clone(&SMALL.tokenizer), options).unwrap()
}

fn prompts(count: usize) -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(1..VOCAB, 1..80), count)
}

/// Greedy replies to all prompts at once, the first `delay` steps apart from the others.
fn together(prompts: &[Vec<u32>], slots: usize, step_tokens: usize, delay: usize) -> Vec<Vec<u32>> {
    let mut engine = engine(slots, step_tokens);
    let mut handles = Vec::new();
    for (index, prompt) in prompts.iter().enumerate() {
        handles.push(engine.submit(greedy(prompt)).unwrap());
        for _ in 0..(index * delay) % 5 {
            engine.step();
        }
    }
    let reply = |handle| {
        let tokens: Result<Vec<_>, _> = engine.tokens(handle).collect();
        tokens.unwrap().iter().map(|token| token.id).collect()
    };
    handles.iter_mut().map(reply).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn eight_neighbours(
        prompts in prompts(8),
        slots in 1_usize..=8,
        step_tokens in 1_usize..100,
        delay in 0_usize..5,
    ) {
        let replies = together(&prompts, slots, step_tokens, delay);
        for (prompt, reply) in prompts.iter().zip(replies) {
            prop_assert_eq!(reply, alone_on_cpu(&greedy(prompt)));
        }
    }
}

#[test]
fn sixty_four_neighbours() {
    let prompt = |seed: u32| (0..20 + seed).map(move |i| (i * 31 + seed * 97) % (VOCAB - 1) + 1);
    let prompts: Vec<Vec<u32>> = (0..64).map(|seed| prompt(seed).collect()).collect();
    let replies = together(&prompts, 64, 128, 1);
    for (prompt, reply) in prompts.iter().zip(replies) {
        assert_eq!(reply, alone_on_cpu(&greedy(prompt)));
    }
}
