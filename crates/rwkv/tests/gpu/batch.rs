//! Several sequences at once are what each of them is alone.

use std::sync::Arc;

use thalweg_conformance::synth::{self, Types};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{
    Batch, CpuBatch, CpuModel, Error, GpuBatch, GpuModel, GpuOptions, GpuSession, Logits, Part,
    Precision, Session, State, Wanted,
};

use crate::{CONTEXT, chunks_of, largest_difference, synth_tiny, tokens};

const VOCAB: usize = 512;
/// What logits may differ by where sums are in another order.
const LOGITS: f32 = 5e-5;

fn gpu_batch(file: &GgufFile, precision: Precision, chunk: u32, slots: usize) -> GpuBatch {
    let options = GpuOptions {
        tuning: chunks_of(chunk),
        precision,
        ..GpuOptions::default()
    };
    let model = GpuModel::load(Arc::clone(&CONTEXT), file, options).unwrap();
    GpuBatch::new(Arc::new(model), slots).unwrap()
}

fn exact_batch(slots: usize) -> GpuBatch {
    gpu_batch(&synth_tiny(), Precision::Exact, 64, slots)
}

fn cpu_batch(file: GgufFile, slots: usize) -> CpuBatch {
    CpuBatch::new(Arc::new(CpuModel::load(file).unwrap()), slots)
}

fn part(slot: usize, tokens: &[u32], wanted: Wanted) -> Part<'_> {
    Part {
        slot,
        tokens,
        wanted,
    }
}

pub(crate) fn assert_same_states(found: &State, expected: &State, tolerance: f32, what: &str) {
    for (found, expected) in [
        (&found.att_shift, &expected.att_shift),
        (&found.ffn_shift, &expected.ffn_shift),
        (&found.wkv, &expected.wkv),
    ] {
        let largest = expected
            .iter()
            .fold(0.0f32, |all, value| all.max(value.abs()));
        let off = largest_difference(found, expected);
        assert!(
            off <= tolerance * largest,
            "{what}: the state is off by {off:e}"
        );
    }
}

/// Choices that look random and are the same in every run.
struct Choices(u64);

impl Choices {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }

    /// Parts of `slots` sequences at most, with `most` tokens at most in all: half of them of one token.
    fn parts(&mut self, slots: usize, most: usize) -> Vec<(usize, Vec<u32>, Wanted)> {
        let (mut parts, mut left) = (Vec::new(), most);
        let first = self.below(slots);
        for index in 0..1 + self.below(slots) {
            let length = match self.below(2) {
                0 => 1,
                _ => 1 + self.below(20),
            };
            if length > left {
                break;
            }
            left -= length;
            let tokens = (0..length).map(|_| self.below(VOCAB) as u32).collect();
            let wanted = [Wanted::Nothing, Wanted::Last, Wanted::Last, Wanted::All][self.below(4)];
            parts.push(((first + 5 * index) % slots, tokens, wanted));
        }
        parts
    }
}

/// Random steps, resets, copies and states put back, on both.
fn compare(found: &mut GpuBatch, expected: &mut CpuBatch, steps: usize, tolerance: f32) {
    let slots = found.slots();
    let mut choices = Choices(slots as u64);
    let mut furthest = 0.0f32;
    for step in 0..steps {
        let parts = choices.parts(slots, found.largest_step());
        let parts: Vec<_> = parts
            .iter()
            .map(|(slot, tokens, wanted)| part(*slot, tokens, *wanted))
            .collect();
        let logits = found.forward(&parts).unwrap();
        let off = largest_difference(&logits, &expected.forward(&parts).unwrap());
        assert!(
            off <= tolerance,
            "step {step}: logits are off by {off:e}, {parts:?}"
        );
        furthest = furthest.max(off);
        let (slot, other) = (choices.below(slots), choices.below(slots));
        match choices.below(6) {
            0 => {
                found.reset(slot).unwrap();
                expected.reset(slot).unwrap();
            }
            1 => {
                found.copy_state(slot, other).unwrap();
                expected.copy_state(slot, other).unwrap();
            }
            2 => {
                let state = found.state(slot).unwrap();
                found.set_state(other, &state).unwrap();
                assert_eq!(found.state(other).unwrap(), state);
                expected.copy_state(slot, other).unwrap();
            }
            _ => {}
        }
    }
    println!("logits are off by {furthest:e}");
    for slot in 0..slots {
        let (found, expected) = (found.state(slot).unwrap(), expected.state(slot).unwrap());
        assert_same_states(&found, &expected, tolerance, &format!("slot {slot}"));
    }
}

#[test]
fn random_mixtures_are_the_cpus() {
    let odd = || {
        let shape = synth::shape(3, 320, 1000);
        GgufFile::from_bytes(synth::model(&shape, Types::all(TensorType::Q8_0), 7)).unwrap()
    };
    for (file, slots, chunk) in [(synth_tiny as fn() -> GgufFile, 7, 48), (odd, 12, 33)] {
        let mut found = gpu_batch(&file(), Precision::Exact, chunk, slots);
        compare(&mut found, &mut cpu_batch(file(), slots), 40, LOGITS);
    }
}

#[test]
fn random_mixtures_in_halves_are_the_cpus_but_for_rounding() {
    let mut found = gpu_batch(&synth_tiny(), Precision::Fast, 48, 7);
    compare(&mut found, &mut cpu_batch(synth_tiny(), 7), 20, 2e-2);
}

/// The logits of a sequence in slot `slot`, that reads `mine` step by step, while others read what they do.
fn logits_among(
    batch: &mut GpuBatch,
    slot: usize,
    mine: &[&[u32]],
    others: &[(usize, usize)],
    is_first: bool,
) -> Vec<f32> {
    let mut choices = Choices(slot as u64);
    let mut logits = Vec::new();
    for tokens in mine {
        let others: Vec<(usize, Vec<u32>)> = others
            .iter()
            .map(|(slot, count)| {
                let tokens = (0..*count).map(|_| choices.below(VOCAB) as u32);
                (*slot, tokens.collect())
            })
            .collect();
        let others = others
            .iter()
            .map(|(slot, tokens)| part(*slot, tokens, Wanted::Last));
        let mine = part(slot, tokens, Wanted::Last);
        let parts: Vec<_> = match is_first {
            true => [mine].into_iter().chain(others).collect(),
            false => others.chain([mine]).collect(),
        };
        let all = batch.forward(&parts).unwrap();
        let row = if is_first { 0 } else { parts.len() - 1 };
        logits.extend(&all[row * VOCAB..(row + 1) * VOCAB]);
    }
    logits
}

#[test]
fn who_shares_the_batch_changes_no_bit_of_a_sequence_on_the_same_path() {
    let prompt: &[&[u32]] = &[&[5, 80, 200, 311, 7, 9, 100], &[3], &[77], &[500]];
    let mut batch = exact_batch(40);
    let single = |slots: std::ops::Range<usize>| slots.map(|slot| (slot, 1)).collect::<Vec<_>>();
    // In each pair the numbers of tokens, and of rows of logits, make plans of the same sizes.
    let pairs = [
        (vec![(30, 5), (2, 4)], vec![(31, 3), (3, 4), (4, 2)]),
        (single(1..17), single(11..29)),
        (vec![(2, 21), (3, 1)], vec![(4, 13), (5, 8), (6, 1)]),
    ];
    for (some, others) in pairs {
        (0..40).for_each(|slot| batch.reset(slot).unwrap());
        let alone = logits_among(&mut batch, 0, prompt, &some, true);
        let state = batch.state(0).unwrap();
        (0..40).for_each(|slot| batch.reset(slot).unwrap());
        let among = logits_among(&mut batch, 39, prompt, &others, false);
        assert!(
            alone == among,
            "{some:?} {others:?}: {:e}",
            largest_difference(&alone, &among)
        );
        assert!(state == batch.state(39).unwrap());
    }
}

#[test]
fn numbers_of_neighbours_change_the_last_bits_at_most() {
    let mut session = GpuSession::new(Arc::clone(exact_batch(1).model())).unwrap();
    let prompt: &[&[u32]] = &[&[5, 80, 200, 311, 7, 9, 100], &[3], &[77], &[500]];
    let mut expected = Vec::new();
    for tokens in prompt {
        expected.extend(session.forward(tokens, Wanted::Last).unwrap());
    }
    for count in [0, 1, 3, 7, 15, 31, 50] {
        let mut batch = exact_batch(64);
        let others: Vec<_> = (1..=count).map(|slot| (slot, 1)).collect();
        let found = logits_among(&mut batch, 0, prompt, &others, count % 2 == 0);
        let off = largest_difference(&found, &expected);
        println!("{count} neighbours: {off:e}");
        assert!(off <= 1e-5, "{count} neighbours: {off:e}");
    }
}

#[test]
fn a_sequence_that_runs_away_leaves_the_others_good() {
    let prompt = tokens(9);
    for mut batch in [
        Box::new(exact_batch(4)) as Box<dyn Batch>,
        Box::new(cpu_batch(synth_tiny(), 4)),
    ] {
        let parts = |bad| {
            [
                part(3, &prompt[..4], Wanted::All),
                part(bad, &prompt[..2], Wanted::Last),
                part(0, &prompt[8..], Wanted::Last),
            ]
        };
        let good = batch.forward(&parts(1)).unwrap();
        let states = [batch.state(3).unwrap(), batch.state(0).unwrap()];
        (0..4).for_each(|slot| batch.reset(slot).unwrap());
        let mut broken = batch.state(2).unwrap();
        broken.wkv[70] = f32::NAN;
        batch.set_state(2, &broken).unwrap();
        let error = batch.forward(&parts(2)).unwrap_err();
        assert!(error.to_string().contains("slots [2]"), "{error}");
        assert!(format!("{error:?}").len() < 100);
        let Error::Runaway { slots, logits } = error else {
            panic!("{error}");
        };
        assert_eq!(slots, [2]);
        let Logits(logits) = logits;
        assert!(
            logits[..4 * VOCAB] == good[..4 * VOCAB] && logits[5 * VOCAB..] == good[5 * VOCAB..]
        );
        assert!(states == [batch.state(3).unwrap(), batch.state(0).unwrap()]);
        batch.reset(2).unwrap();
        (0..4).for_each(|slot| batch.reset(slot).unwrap());
        assert!(batch.forward(&parts(2)).unwrap() == good);
    }
}

#[test]
fn steps_that_cannot_be_made_are_refused_before_anything_is_computed() {
    for mut batch in [
        Box::new(gpu_batch(&synth_tiny(), Precision::Exact, 16, 3)) as Box<dyn Batch>,
        Box::new(cpu_batch(synth_tiny(), 3)),
    ] {
        let largest = batch.largest_step();
        let long = vec![1; largest];
        let good = part(0, &[1], Wanted::Last);
        let refused: [(&[Part<'_>], &str); 7] = [
            (
                &[good, part(3, &[1], Wanted::Last)],
                "slot 3 is not one of the batch's",
            ),
            (
                &[part(usize::MAX, &[1], Wanted::Last)],
                "expected a number below 3",
            ),
            (
                &[good, part(1, &[1], Wanted::Last), good],
                "slot 0 is in two parts",
            ),
            (
                &[good, part(2, &[], Wanted::Nothing)],
                "the part of slot 2 has no tokens",
            ),
            (
                &[good, part(1, &long, Wanted::Nothing)],
                &format!("expected at most {largest}"),
            ),
            (
                &[good, part(1, &[7, 512], Wanted::Last)],
                "token 512 at position 1",
            ),
            (
                &[part(1, &[u32::MAX], Wanted::Last)],
                "expected an id below 512",
            ),
        ];
        for (parts, message) in refused {
            let error = batch.forward(parts).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        for slot in 0..3 {
            let zeros = State::zeros(batch.hyperparameters());
            assert!(batch.state(slot).unwrap() == zeros);
        }
        assert!(batch.forward(&[]).unwrap().is_empty());
        let mut short = batch.state(0).unwrap();
        short.wkv.pop();
        let refused = [
            batch.set_state(0, &short).unwrap_err(),
            batch.state(3).unwrap_err(),
            batch.copy_state(0, 3).unwrap_err(),
            batch.copy_state(3, 0).unwrap_err(),
            batch.reset(3).unwrap_err(),
        ];
        assert!(matches!(refused[0], Error::StateShape { part: "wkv", .. }));
        for error in &refused[1..] {
            assert!(
                matches!(error, Error::Slot { slot: 3, slots: 3 }),
                "{error}"
            );
        }
        assert_eq!(
            batch
                .forward(&[part(1, &long, Wanted::Last)])
                .unwrap()
                .len(),
            VOCAB
        );
    }
}

#[test]
fn more_slots_than_a_device_can_bind_are_refused_with_their_number() {
    let model = Arc::clone(exact_batch(1).model());
    let most = GpuBatch::most_slots(model.hyperparameters(), CONTEXT.limits());
    for slots in [0, most + 1, usize::MAX] {
        let error = GpuBatch::new(Arc::clone(&model), slots).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("number of slots is {slots}, expected 1 to {most}")),
            "{text}"
        );
    }
    // 2.9B with bindings of 128 MiB.
    let narrow = thalweg_gpu::Limits {
        storage_binding_bytes: 128 << 20,
        ..*CONTEXT.limits()
    };
    let hp = synth::shape(32, 2560, 10_240);
    assert_eq!(GpuBatch::most_slots(&hp, &narrow), 204);
}

#[test]
fn more_slots_than_a_chunk_has_tokens_can_all_read_at_once() {
    let mut batch = gpu_batch(&synth_tiny(), Precision::Exact, 8, 20);
    assert_eq!(batch.largest_step(), 20);
    let tokens = tokens(20);
    let parts: Vec<_> = (0..20)
        .map(|slot| part(slot, &tokens[slot..=slot], Wanted::Last))
        .collect();
    let found = batch.forward(&parts).unwrap();
    let expected = cpu_batch(synth_tiny(), 20).forward(&parts).unwrap();
    assert!(largest_difference(&found, &expected) <= LOGITS);
}

#[test]
fn slots_alone_one_after_the_other_are_alike_however_many() {
    let mut batch = exact_batch(70);
    let prompt = tokens(3);
    let mut expected = None;
    for slot in (0..70).rev() {
        batch
            .forward(&[part(slot, &prompt[..2], Wanted::Nothing)])
            .unwrap();
        let found = batch
            .forward(&[part(slot, &prompt[2..], Wanted::Last)])
            .unwrap();
        assert!(
            found == *expected.get_or_insert_with(|| found.clone()),
            "slot {slot}"
        );
    }
}
