//! Guesses change nothing but the time: tokens, logits, counts and states are those of single steps.

use std::sync::Arc;

use thalweg_conformance::synth::{self, Types};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{
    Batch, Chosen, CpuBatch, CpuModel, Draft, Error, GpuBatch, GpuModel, GpuOptions, Next, Part,
    Precision, SampleRow, Sampling, State, Wanted,
};

use crate::batch::assert_same_states;
use crate::{CONTEXT, chunks_of, largest_difference, synth_tiny, tokens};

/// The last one is for looking into the future.
const SLOTS: usize = 7;
const FUTURE: usize = 6;
const VOCAB: usize = 512;

/// Two batches of one model and backend: one verifies, the other makes single steps.
struct Pair {
    found: Box<dyn Batch>,
    expected: Box<dyn Batch>,
    /// What logits and states may differ by.
    tolerance: f32,
    samplings: Vec<Sampling>,
    /// What the sequences in the slots read next.
    next: Vec<u32>,
}

fn on_gpu(file: &GgufFile, chunk: u32, slots: usize) -> Box<dyn Batch> {
    let options = GpuOptions {
        tuning: chunks_of(chunk),
        ..GpuOptions::default()
    };
    let model = GpuModel::load(Arc::clone(&CONTEXT), file, options).unwrap();
    Box::new(GpuBatch::new(Arc::new(model), slots).unwrap())
}

fn on_cpu(file: GgufFile, slots: usize) -> Box<dyn Batch> {
    Box::new(CpuBatch::new(
        Arc::new(CpuModel::load(file).unwrap()),
        slots,
    ))
}

/// One of each backend; the device's chunk bounds the rows of a run.
fn pairs(chunk: u32) -> [Pair; 2] {
    let gpu = || on_gpu(&synth_tiny(), chunk, SLOTS);
    let cpu = || on_cpu(synth_tiny(), SLOTS);
    [Pair::new(gpu(), gpu(), 5e-5), Pair::new(cpu(), cpu(), 0.0)]
}

fn samplings() -> Vec<Sampling> {
    let drawn = |seed| SampleRow::drawn(0, 0.9, seed);
    vec![
        Sampling::greedy(),
        Sampling::new(drawn(1).with_top_p(0.9), []),
        Sampling::new(drawn(2).with_penalties(2.0, 1.5, 0.9).with_top_k(40), []),
        Sampling::new(
            SampleRow::greedy(0)
                .with_penalties(1.0, 1.0, 1.0)
                .with_top_logprobs(3),
            [(7, 2.0), (11, -3.0)],
        ),
        Sampling::new(drawn(3).with_min_p(0.02), []),
        Sampling::greedy(),
    ]
}

impl Pair {
    fn new(found: Box<dyn Batch>, expected: Box<dyn Batch>, tolerance: f32) -> Pair {
        let mut pair = Pair {
            found,
            expected,
            tolerance,
            samplings: samplings(),
            next: Vec::new(),
        };
        for (slot, sampling) in samplings().into_iter().enumerate() {
            let prompt = tokens(1 + slot);
            pair.both(|batch| {
                batch.set_sampling(slot, sampling.clone()).unwrap();
                batch
                    .forward(&[part(slot, &prompt, Wanted::Nothing)])
                    .unwrap();
            });
            pair.next.push(slot as u32);
        }
        pair
    }

    fn both(&mut self, mut act: impl FnMut(&mut dyn Batch)) {
        act(self.found.as_mut());
        act(self.expected.as_mut());
    }

    /// What single steps would choose after a slot's next token.
    fn future(&mut self, slot: usize, count: usize) -> Vec<u32> {
        let batch = &mut self.expected;
        let sampling = self.samplings[slot].clone();
        batch.set_sampling(FUTURE, sampling).unwrap();
        batch.copy_state(slot, FUTURE).unwrap();
        let mut future = vec![self.next[slot]];
        for _ in 0..count {
            let chosen = step(batch.as_mut(), FUTURE, *future.last().unwrap());
            future.push(chosen.unwrap().token);
        }
        future.split_off(1)
    }

    /// Verifies guesses in these slots, and compares with single steps.
    fn verify(&mut self, guesses: &[(usize, Vec<u32>)]) {
        let drafts: Vec<Draft<'_>> = guesses
            .iter()
            .map(|(slot, guess)| Draft {
                slot: *slot,
                token: self.next[*slot],
                guess,
            })
            .collect();
        let chosen = self.found.verify(&drafts).unwrap();
        assert_eq!(chosen.len(), drafts.len());
        for (draft, chosen) in drafts.iter().zip(&chosen) {
            let slot = draft.slot;
            let mut token = draft.token;
            for (index, found) in chosen.iter().enumerate() {
                let expected = step(self.expected.as_mut(), slot, token);
                assert_same_choice(found.as_ref(), expected.as_ref(), draft);
                token = expected.unwrap().token;
                let is_last = index + 1 == chosen.len();
                let is_right = draft.guess.get(index) == Some(&token);
                assert_eq!(is_right, !is_last, "token {index} of {draft:?}");
            }
            let logits =
                [&mut self.found, &mut self.expected].map(|batch| batch.logits(slot).unwrap());
            let off = largest_difference(&logits[0], &logits[1]);
            assert!(
                off <= self.tolerance,
                "logits of {draft:?} are off by {off:e}"
            );
            self.next[slot] = token;
        }
        let all_slots = 0..FUTURE;
        for slot in all_slots.filter(|slot| guesses.iter().all(|(of, _)| of != slot)) {
            assert!(matches!(
                self.found.logits(slot),
                Err(Error::NothingChosen { .. })
            ));
        }
    }

    fn compare_state(&mut self, slot: usize, what: &str) {
        let [found, expected] =
            [&mut self.found, &mut self.expected].map(|batch| batch.state(slot).unwrap());
        assert_same_states(&found, &expected, self.tolerance, what);
    }
}

fn step(batch: &mut dyn Batch, slot: usize, token: u32) -> Option<Chosen> {
    let mut chosen = batch.sample(&[part(slot, &[token], Wanted::Last)]).unwrap();
    chosen.pop().unwrap()
}

fn part(slot: usize, tokens: &[u32], wanted: Wanted) -> Part<'_> {
    Part {
        slot,
        tokens,
        wanted,
    }
}

fn assert_same_choice(found: Option<&Chosen>, expected: Option<&Chosen>, draft: &Draft<'_>) {
    let token = |chosen: Option<&Chosen>| chosen.map(|chosen| chosen.token);
    assert_eq!(token(found), token(expected), "{draft:?}");
    let Some((found, expected)) = found.zip(expected) else {
        return;
    };
    let tops = |chosen: &Chosen| chosen.top.iter().map(|top| top.token).collect::<Vec<_>>();
    assert_eq!(tops(found), tops(expected));
    assert_eq!(found.logprob.is_some(), expected.logprob.is_some());
    let logprobs = found.logprob.zip(expected.logprob);
    let off = logprobs.map_or(0.0, |(a, b)| (a - b).abs());
    assert!(
        off < 1e-4,
        "a log-probability of {draft:?} is off by {off:e}"
    );
}

/// With another token in one place.
fn wrong_at(mut guess: Vec<u32>, place: usize) -> Vec<u32> {
    guess[place] = (guess[place] + 1) % VOCAB as u32;
    guess
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
}

#[test]
fn a_guess_is_kept_as_far_as_it_is_right() {
    for mut pair in pairs(64) {
        assert!(pair.found.longest_guess() >= 7);
        for slot in 0..FUTURE {
            for place in 0..6 {
                let guess = wrong_at(pair.future(slot, 6), place);
                pair.verify(&[(slot, guess)]);
            }
            let guess = pair.future(slot, 6);
            pair.verify(&[(slot, guess)]);
            pair.verify(&[(slot, Vec::new())]);
            pair.compare_state(slot, "after guesses wrong in every place");
        }
    }
}

#[test]
fn sequences_with_guesses_of_all_kinds_share_runs() {
    for chunk in [16, 64] {
        for mut pair in pairs(chunk) {
            let largest = pair.found.largest_step();
            let mut choices = Choices(7);
            for round in 0..20 {
                let (mut guesses, mut rows) = (Vec::new(), 0);
                let first = choices.below(FUTURE);
                for index in 0..1 + choices.below(FUTURE) {
                    let slot = (first + index) % FUTURE;
                    let longest = [3, 7, 20][choices.below(3)];
                    let length = choices.below(longest);
                    let mut guess = pair.future(slot, length);
                    if length > 0 && choices.below(2) == 0 {
                        guess = wrong_at(guess, choices.below(length));
                    }
                    rows += 1 + length;
                    if rows <= largest {
                        guesses.push((slot, guess));
                    }
                }
                if !guesses.is_empty() {
                    pair.verify(&guesses);
                }
                disturb(&mut pair, &mut choices);
                let slot = choices.below(FUTURE);
                if round % 4 == 0 {
                    pair.compare_state(slot, &format!("slot {slot} after round {round}"));
                }
            }
            (0..FUTURE).for_each(|slot| pair.compare_state(slot, "in the end"));
        }
    }
}

/// Now and then, does something else with a sequence of which guesses may be due.
fn disturb(pair: &mut Pair, choices: &mut Choices) {
    let (slot, other) = (choices.below(FUTURE), choices.below(FUTURE));
    match choices.below(12) {
        0 => pair.both(|batch| drop(batch.forward(&[part(slot, &[5, 9], Wanted::Last)]).unwrap())),
        1 => pair.both(|batch| drop(batch.forward(&[part(slot, &[5], Wanted::Last)]).unwrap())),
        2 => {
            pair.both(|batch| batch.copy_state(slot, other).unwrap());
            pair.next[other] = pair.next[slot];
        }
        3 => pair.both(|batch| batch.reset(slot).unwrap()),
        4 => pair.both(|batch| {
            let state = batch.state(other).unwrap();
            batch.set_state(slot, &state).unwrap();
        }),
        5 => {
            let token = pair.next[slot];
            let next = [Next { slot, token }];
            let chosen = [&mut pair.found, &mut pair.expected]
                .map(|batch| batch.decode(&next, 3).unwrap().pop().unwrap());
            let [found, expected] = chosen.map(|chosen| chosen.unwrap().token);
            assert_eq!(found, expected);
            pair.next[slot] = found;
        }
        _ => {}
    }
}

#[test]
fn longer_guesses_than_fit_a_run_are_verified_in_several() {
    for chunk in [1, 3, 64] {
        for mut pair in pairs(chunk) {
            let largest = pair.found.largest_step();
            let guess = pair.future(0, 40.min(largest - 1));
            pair.verify(&[(0, guess)]);
            let share = (largest / FUTURE).min(25) - 1;
            let guesses: Vec<_> = (0..FUTURE)
                .map(|slot| (slot, pair.future(slot, share)))
                .collect();
            pair.verify(&guesses);
            let nothing: Vec<_> = (0..FUTURE).map(|slot| (slot, Vec::new())).collect();
            pair.verify(&nothing);
            (0..FUTURE).for_each(|slot| pair.compare_state(slot, "after long guesses"));
        }
    }
}

#[test]
fn a_sequence_that_runs_away_gets_no_token_and_the_others_theirs() {
    for mut pair in pairs(64) {
        let futures = [0, 2].map(|slot| (slot, pair.future(slot, 4)));
        let mut broken = pair.found.state(1).unwrap();
        broken.wkv[70] = f32::NAN;
        pair.found.set_state(1, &broken).unwrap();
        let draft = |slot, token, guess| Draft { slot, token, guess };
        let found = pair
            .found
            .verify(&[
                draft(0, pair.next[0], &futures[0].1),
                draft(1, 3, &[1, 2, 3]),
                draft(2, pair.next[2], &futures[1].1),
            ])
            .unwrap();
        assert_eq!(found[1], [None]);
        for (found, (slot, future)) in [&found[0], &found[2]].into_iter().zip(&futures) {
            let tokens = found.iter().map(|chosen| chosen.as_ref().unwrap().token);
            assert_eq!(tokens.take(4).collect::<Vec<_>>(), *future, "slot {slot}");
        }
        pair.found.reset(1).unwrap();
        let zeros = State::zeros(pair.found.hyperparameters());
        assert!(pair.found.state(1).unwrap() == zeros);
        assert!(pair.found.verify(&[draft(1, 3, &[1, 2])]).unwrap()[0][0].is_some());
    }
}

/// A wrong guess whose numbers run away must not be noticed; a token that was chosen must.
#[test]
fn only_what_is_right_can_run_away() {
    const POISON: u32 = 300;
    let shape = synth::shape(2, 64, 128);
    let mut tensors = synth::tensors(&shape, Types::all(TensorType::F32), 3);
    let embedding = tensors
        .iter_mut()
        .find(|tensor| tensor.name == "token_embd.weight")
        .unwrap();
    let at = POISON as usize * 64 * 4;
    embedding.data[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let file = || {
        let bytes = synth::file(synth::metadata(&shape), &tensors);
        GgufFile::from_bytes(bytes).unwrap()
    };
    for mut batch in [on_gpu(&file(), 64, 2), on_cpu(file(), 2)] {
        let draft = |token, guess| Draft {
            slot: 0,
            token,
            guess,
        };
        let tokens = |chosen: &[Option<Chosen>]| -> Vec<Option<u32>> {
            let token = |chosen: &Option<Chosen>| chosen.as_ref().map(|chosen| chosen.token);
            chosen.iter().map(token).collect()
        };
        let first = step(batch.as_mut(), 1, 1).unwrap().token;
        let second = step(batch.as_mut(), 1, first).unwrap().token;
        let expected = batch.state(1).unwrap();
        let guess = [first, POISON, 4];
        let chosen = batch.verify(&[draft(1, &guess)]).unwrap();
        assert_eq!(tokens(&chosen[0]), [Some(first), Some(second)]);
        assert_same_states(&batch.state(0).unwrap(), &expected, 5e-5, "after poison");
        let chosen = batch.verify(&[draft(POISON, &[1, 2])]).unwrap();
        assert_eq!(tokens(&chosen[0]), [None]);
    }
}

#[test]
fn drafts_that_make_no_step_are_refused() {
    for mut pair in pairs(64) {
        let largest = pair.found.largest_step();
        let long = vec![1; largest];
        let draft = |slot, token, guess| Draft { slot, token, guess };
        let before = pair.found.state(0).unwrap();
        let good = draft(0, 1, &[2]);
        let refused: [(Draft<'_>, &str); 5] = [
            (draft(SLOTS, 1, &[]), "slot 7 is not"),
            (good, "slot 0 is in two parts"),
            (draft(1, 1, &long), "expected at most"),
            (draft(1, 512, &[1]), "token 512"),
            (draft(1, 1, &[1, 512]), "token 512"),
        ];
        for (bad, says) in refused {
            let error = pair.found.verify(&[good, bad]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(pair.found.state(0).unwrap() == before);
        assert_eq!(pair.found.verify(&[]).unwrap(), Vec::<Vec<_>>::new());
    }
}

/// In 16 bits single steps are another path, whose tokens may be others: so the same tokens are read at once instead.
#[test]
fn guesses_in_halves_leave_the_state_of_what_was_right() {
    let options = GpuOptions {
        tuning: chunks_of(64),
        precision: Precision::Fast,
        ..GpuOptions::default()
    };
    let model = GpuModel::load(Arc::clone(&CONTEXT), &synth_tiny(), options).unwrap();
    let mut batch = GpuBatch::new(Arc::new(model), 2).unwrap();
    let mut guess = vec![1];
    for _ in 0..12 {
        let chosen = step(&mut batch, 1, *guess.last().unwrap());
        guess.push(chosen.unwrap().token);
    }
    batch.reset(1).unwrap();
    for right in [12, 3] {
        let guess = match right {
            12 => guess.clone(),
            _ => wrong_at(guess.clone(), 1 + right),
        };
        batch.reset(0).unwrap();
        let draft = Draft {
            slot: 0,
            token: guess[0],
            guess: &guess[1..],
        };
        let chosen = batch.verify(&[draft]).unwrap().remove(0);
        assert!((2..=1 + right).contains(&chosen.len()), "{}", chosen.len());
        let found = batch.logits(0).unwrap();
        batch.reset(1).unwrap();
        let expected = batch
            .forward(&[part(1, &guess[..chosen.len()], Wanted::Last)])
            .unwrap();
        let off = largest_difference(&found, &expected);
        assert!(off <= 2e-2, "logits are off by {off:e}");
        let [found, expected] = [0, 1].map(|slot| batch.state(slot).unwrap());
        assert_same_states(&found, &expected, 2e-2, "in halves");
    }
}

/// What is taken for right is read, as if the model had chosen it.
#[test]
fn guesses_taken_for_right_leave_the_state_that_reading_them_does() {
    let options = GpuOptions {
        tuning: chunks_of(64),
        ..GpuOptions::default()
    };
    let model = GpuModel::load(Arc::clone(&CONTEXT), &synth_tiny(), options).unwrap();
    let mut batch = GpuBatch::new(Arc::new(model), 2).unwrap();
    let tokens: Vec<u32> = (10..26).collect();
    for right in [0, 4, 15] {
        batch.reset(0).unwrap();
        batch.reset(1).unwrap();
        let draft = Draft {
            slot: 0,
            token: tokens[0],
            guess: &tokens[1..],
        };
        let chosen = batch.verify_as_if(&[draft], &[right]).unwrap().remove(0);
        assert_eq!(chosen.len(), 1 + right);
        let read = &tokens[..=right];
        batch.forward(&[part(1, read, Wanted::Nothing)]).unwrap();
        let [found, expected] = [0, 1].map(|slot| batch.state(slot).unwrap());
        assert_same_states(&found, &expected, 5e-5, "taken for right");
    }
    let draft = Draft {
        slot: 0,
        token: 1,
        guess: &[1; 90],
    };
    let too_long = batch.verify_as_if(&[draft], &[1]);
    assert!(matches!(too_long, Err(Error::StepTooLarge { .. })));
    let guess = &[1; 3];
    let draft = Draft { guess, ..draft };
    let miscounted = batch.verify_as_if(&[draft], &[]);
    assert!(matches!(miscounted, Err(Error::Setting { .. })));
}
