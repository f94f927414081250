//! On the CPU guesses change no bit, whatever they are.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::prelude::*;
use thalweg_conformance::synth::{self, Types};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{Batch, Chosen, CpuBatch, CpuModel, Draft, Part, SampleRow, Sampling, Wanted};

const VOCAB: u32 = 512;

static MODEL: LazyLock<Arc<CpuModel>> = LazyLock::new(|| {
    let bytes = synth::model(&synth::shape(2, 64, 128), Types::all(TensorType::F32), 3);
    Arc::new(CpuModel::load(GgufFile::from_bytes(bytes).unwrap()).unwrap())
});

/// A guess: how long, and which of its tokens are not what will be chosen, but these.
type Guess = (usize, Vec<(usize, u32)>);

fn guesses() -> impl Strategy<Value = Vec<Guess>> {
    let wrong = vec((0usize..20, 0..VOCAB), 0..3);
    vec((0usize..20, wrong), 1..8)
}

fn samplings() -> impl Strategy<Value = Sampling> {
    let drawn = (
        0.2f32..2.0,
        any::<u64>(),
        0.1f32..1.0,
        -1.0f32..2.0,
        0.5f32..1.0,
    );
    let drawn = drawn.prop_map(|(temperature, seed, share, penalty, decay)| {
        let row = SampleRow::drawn(0, temperature, seed);
        row.with_top_p(share)
            .with_penalties(penalty, 0.5 * penalty, decay)
    });
    let row = prop_oneof![Just(SampleRow::greedy(0)), drawn];
    row.prop_map(|row| Sampling::new(row, [(3, 2.0)]))
}

/// What single steps choose: so many tokens from `token` on.
fn single_steps(batch: &mut CpuBatch, token: u32, count: usize) -> Vec<Option<Chosen>> {
    let (mut token, mut all) = (token, Vec::new());
    for _ in 0..count {
        let part = Part {
            slot: 0,
            tokens: &[token],
            wanted: Wanted::Last,
        };
        let chosen = batch.sample(&[part]).unwrap().remove(0);
        token = chosen.as_ref().unwrap().token;
        all.push(chosen);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_guesses_give_what_single_steps_give(sampling in samplings(), guesses in guesses()) {
        let mut found = CpuBatch::new(Arc::clone(&MODEL), 1);
        found.set_sampling(0, sampling).unwrap();
        let mut token = 1;
        for (length, wrong) in guesses {
            let future = single_steps(&mut found.clone(), token, length);
            let mut guess: Vec<u32> = future.iter().flatten().map(|chosen| chosen.token).collect();
            for (place, other) in wrong {
                if let Some(guessed) = guess.get_mut(place) {
                    *guessed = other;
                }
            }
            let draft = Draft { slot: 0, token, guess: &guess };
            let mut expected = found.clone();
            let chosen = found.verify(&[draft]).unwrap().remove(0);
            prop_assert_eq!(&chosen, &single_steps(&mut expected, token, chosen.len()));
            let tokens: Vec<u32> = chosen.iter().flatten().map(|chosen| chosen.token).collect();
            let right = tokens.iter().zip(&guess).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(chosen.len(), 1 + right);
            prop_assert!(found.state(0).unwrap() == expected.state(0).unwrap());
            prop_assert_eq!(found.logits(0).unwrap(), expected.logits(0).unwrap());
            token = tokens[right];
        }
    }
}
