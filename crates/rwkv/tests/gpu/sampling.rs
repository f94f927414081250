//! Tokens chosen in a batch's step, and in loops of steps, on the device and on the CPU.

use std::sync::Arc;

use thalweg_rwkv::{
    Batch, Chosen, CpuBatch, CpuModel, Error, GpuBatch, GpuModel, GpuOptions, HostSampler, Next,
    Part, SampleBias, SampleRow, Sampling, Wanted,
};

use crate::{CONTEXT, chunks_of, synth_tiny, tokens};

const SLOTS: usize = 6;
const VOCAB: u32 = 512;

fn batches() -> [Box<dyn Batch>; 2] {
    let options = GpuOptions {
        tuning: chunks_of(64),
        ..GpuOptions::default()
    };
    let model = GpuModel::load(Arc::clone(&CONTEXT), &synth_tiny(), options).unwrap();
    let on_gpu = GpuBatch::new(Arc::new(model), SLOTS).unwrap();
    let on_cpu = CpuBatch::new(Arc::new(CpuModel::load(synth_tiny()).unwrap()), SLOTS);
    [Box::new(on_gpu), Box::new(on_cpu)]
}

/// One way of each kind.
fn samplings() -> Vec<Sampling> {
    let drawn = |seed| SampleRow::drawn(9, 1.3, seed);
    vec![
        Sampling::greedy(),
        Sampling::new(drawn(1).with_top_p(0.9), []),
        Sampling::new(
            drawn(2).with_penalties(2.0, 1.5, 0.9).with_top_k(40),
            (0..VOCAB / 2).map(|token| (2 * token, SampleBias::BAN)),
        ),
        Sampling::new(
            SampleRow::greedy(0)
                .with_penalties(1.0, 1.0, 1.0)
                .with_top_logprobs(3),
            [(7, 2.0), (11, -3.0)],
        ),
        Sampling::new(drawn(3).with_min_p(0.02).with_top_logprobs(0), []),
    ]
}

fn part(slot: usize, tokens: &[u32]) -> Part<'_> {
    Part {
        slot,
        tokens,
        wanted: Wanted::Last,
    }
}

/// Sets every slot's way, has it read a prompt of its own, and returns what comes next.
fn start(batch: &mut dyn Batch, samplings: &[Sampling]) -> Vec<Next> {
    let mut next = Vec::new();
    for (slot, sampling) in samplings.iter().enumerate() {
        batch.reset(slot).unwrap();
        batch.set_sampling(slot, sampling.clone()).unwrap();
        let prompt = tokens(5 + slot);
        let chosen = batch.sample(&[part(slot, &prompt)]).unwrap();
        let token = chosen[0].as_ref().unwrap().token;
        next.push(Next { slot, token });
    }
    next
}

fn ids(chosen: &[Option<Chosen>]) -> Vec<u32> {
    chosen.iter().map(|c| c.as_ref().unwrap().token).collect()
}

/// The same by steps of one token.
fn step_by_step(batch: &mut dyn Batch, next: &mut [Next], steps: usize) -> Vec<Option<Chosen>> {
    let mut all = Vec::new();
    for _ in 0..steps {
        let parts: Vec<_> = next
            .iter()
            .map(|next| part(next.slot, std::slice::from_ref(&next.token)))
            .collect();
        let chosen = batch.sample(&parts).unwrap();
        for (next, token) in next.iter_mut().zip(ids(&chosen)) {
            next.token = token;
        }
        all.extend(chosen);
    }
    all
}

#[test]
fn tokens_are_those_that_the_host_chooses_from_the_same_logits() {
    for mut batch in batches() {
        let samplings = samplings();
        let mut host: Vec<_> = samplings.iter().cloned().map(HostSampler::new).collect();
        for (slot, sampling) in samplings.iter().enumerate() {
            batch.set_sampling(slot, sampling.clone()).unwrap();
        }
        let prompts: Vec<_> = (0..samplings.len())
            .map(|slot| tokens(3 * slot + 1))
            .collect();
        let silent = Part {
            wanted: Wanted::Nothing,
            ..part(5, &[1, 2])
        };
        let mut reading = prompts;
        for step in 0..8 {
            let parts = reading
                .iter()
                .enumerate()
                .map(|(slot, ids)| part(slot, ids));
            let mut parts: Vec<_> = parts.collect();
            if step % 3 == 0 {
                parts.insert(2, silent);
            }
            let chosen = batch.sample(&parts).unwrap();
            for (slot, (host, chosen)) in host.iter_mut().zip(&chosen).enumerate() {
                let chosen = chosen.as_ref().unwrap();
                let expected = host.choose(&batch.logits(slot).unwrap()).unwrap();
                assert_eq!(chosen.token, expected.token, "slot {slot}, step {step}");
                assert_eq!(chosen.top.len(), expected.top.len());
                assert_eq!(chosen.logprob.is_some(), slot >= 3);
                let off = chosen
                    .logprob
                    .zip(expected.logprob)
                    .map(|(a, b)| (a - b).abs());
                assert!(off.is_none_or(|off| off < 1e-5), "{off:?}");
            }
            assert!(matches!(
                batch.logits(5),
                Err(Error::NothingChosen { slot: 5 })
            ));
            reading = ids(&chosen).into_iter().map(|token| vec![token]).collect();
        }
        assert!(reading[2][0] % 2 == 1, "even tokens are banned");
    }
}

#[test]
fn a_loop_chooses_what_single_steps_choose() {
    for mut batch in batches() {
        let samplings = samplings();
        for together in [1..2, 3..5, 0..5] {
            let mut next = start(batch.as_mut(), &samplings);
            let mut single = next[together.clone()].to_vec();
            let expected = step_by_step(batch.as_mut(), &mut single, 12);
            let after = single
                .iter()
                .map(|next| batch.state(next.slot).unwrap())
                .collect::<Vec<_>>();
            let logits = batch.logits(single[0].slot);

            next = start(batch.as_mut(), &samplings)[together].to_vec();
            let mut found = batch.decode(&next, 7).unwrap();
            for (next, token) in next.iter_mut().zip(ids(&found[6 * single.len()..])) {
                next.token = token;
            }
            found.extend(batch.decode(&next, 5).unwrap());
            assert_eq!(found, expected);
            let states = next.iter().map(|next| batch.state(next.slot).unwrap());
            assert!(states.eq(after), "the states after the loop are others");
            assert_eq!(batch.logits(next[0].slot).is_ok(), logits.is_ok());
        }
        assert_eq!(batch.decode(&[], 3).unwrap(), []);
    }
}

#[test]
fn counts_go_with_the_state_and_new_settings_forget_them() {
    let penalty = Sampling::new(SampleRow::greedy(0).with_penalties(1e6, 0.0, 1.0), []);
    let logits: Vec<f32> = (0..VOCAB).map(|token| token as f32).collect();
    for mut batch in batches() {
        let choose = |batch: &mut dyn Batch, slot| {
            let chosen = batch.choose(slot, &logits).unwrap();
            chosen.unwrap().token
        };
        for slot in [0, 1] {
            batch.set_sampling(slot, penalty.clone()).unwrap();
        }
        assert_eq!(choose(batch.as_mut(), 0), VOCAB - 1);
        assert_eq!(choose(batch.as_mut(), 0), VOCAB - 2);
        batch.copy_state(0, 1).unwrap();
        assert_eq!(choose(batch.as_mut(), 1), VOCAB - 3);
        batch.reset(1).unwrap();
        assert_eq!(choose(batch.as_mut(), 1), VOCAB - 1);
        batch.copy_state(0, 1).unwrap();
        let state = batch.state(0).unwrap();
        batch.set_state(0, &state).unwrap();
        assert_eq!(choose(batch.as_mut(), 0), VOCAB - 1);
        batch.set_sampling(1, penalty.clone()).unwrap();
        assert_eq!(choose(batch.as_mut(), 1), VOCAB - 1);
        assert_eq!(batch.logits(1).unwrap(), logits);
    }
}

#[test]
fn a_sequence_that_runs_away_gets_no_token_and_the_others_theirs() {
    for mut batch in batches() {
        let samplings = &samplings()[..3];
        let next = start(batch.as_mut(), samplings);
        let expected = batch.decode(&next, 4).unwrap();
        let next = start(batch.as_mut(), samplings);
        let mut broken = batch.state(1).unwrap();
        broken.wkv[70] = f32::NAN;
        batch.set_state(1, &broken).unwrap();
        let found = batch.decode(&next, 4).unwrap();
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            match index % 3 {
                1 => assert_eq!(*found, None),
                _ => assert_eq!(found, expected),
            }
        }
        let next = start(batch.as_mut(), samplings);
        assert_eq!(batch.decode(&next, 4).unwrap(), expected);
    }
}

#[test]
fn what_makes_no_choice_is_refused() {
    for mut batch in batches() {
        let all = (0..VOCAB).map(|token| (token, SampleBias::BAN));
        let nothing_left = Sampling::new(SampleRow::greedy(0), all);
        let next = |slot| Next { slot, token: 1 };
        let refused = [
            batch.set_sampling(0, nothing_left).unwrap_err(),
            batch.set_sampling(SLOTS, Sampling::greedy()).unwrap_err(),
            batch.choose(0, &[1.0]).unwrap_err(),
            batch.decode(&[next(1), next(1)], 2).unwrap_err(),
            batch.sample(&[part(0, &[VOCAB])]).unwrap_err(),
            batch.logits(0).unwrap_err(),
        ];
        let says = [
            "number of banned tokens is 512",
            "slot 6 is not",
            "with 1 numbers was handed over as its logits",
            "slot 1 is in two parts",
            "token 512",
            "no token was chosen for slot 0",
        ];
        for (error, says) in refused.iter().zip(says) {
            assert!(error.to_string().contains(says), "{error}");
        }
        let longest = batch.longest_loop();
        if longest > 1 {
            assert!(batch.decode(&[next(0)], longest + 1).is_err());
        }
    }
}
