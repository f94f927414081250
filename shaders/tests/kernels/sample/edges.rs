//! Ties, extremes, what is not finite, bans, long histories.

use thalweg_shaders::kernels::{SampleParams, SamplePass};
use thalweg_shaders::{NoToken, SampleBias};

use super::cases::{Case, Settings};
use super::{follow, reference};

/// The settings at which filters meet their ends.
fn settings() -> Vec<Settings> {
    let default = Settings::default;
    let mut all = vec![default()];
    for top_p in [0.0, 1e-12, 1e-3, 0.5, 0.999_999_94] {
        all.push(Settings { top_p, ..default() });
        all.push(Settings {
            top_p,
            top_k: 3,
            ..default()
        });
    }
    for temperature in [0.0, 1e-40, 1e-6, 0.01, 100.0, 1e30] {
        all.push(Settings {
            temperature,
            ..default()
        });
        all.push(Settings {
            temperature,
            top_k: 5,
            min_p: 1e-6,
            ..default()
        });
    }
    for (top_k, min_p) in [(1, 0.0), (2, 1.0), (usize::MAX, 0.5), (1 << 20, 1e-30)] {
        all.push(Settings {
            top_k,
            min_p,
            top_logprobs: Some(20),
            ..default()
        });
    }
    for (seed, settings) in (0..).zip(&mut all) {
        settings.seed = seed;
    }
    all
}

/// Every setting on these logits, on the device and with the twin, and the twin beside the reference.
fn check(logits: &[f32]) {
    let cases = settings().into_iter();
    let mut cases: Vec<Case> = cases.map(|s| Case::new(logits.to_vec(), s)).collect();
    for case in &cases {
        let distance = reference::total_variation(
            &case.twin_weights().unwrap(),
            &reference::distribution(case),
        );
        assert!(distance < 1e-5, "{distance:e}: {case:?}");
    }
    follow(&mut cases, 3);
}

#[test]
fn a_vocabulary_may_have_one_token() {
    check(&[-3.5]);
    check(&[1e38]);
}

#[test]
fn equal_logits_are_taken_in_the_order_of_their_ids() {
    check(&[2.25; 5]);
    check(&vec![-7.0; 65_536]);
}

#[test]
fn zeros_are_equal_whatever_their_sign() {
    let greedy = Settings {
        temperature: 0.0,
        ..Settings::default()
    };
    let mut case = Case::new(vec![-1.0, -0.0, 1e-40, 0.0, -1e-40], greedy);
    assert_eq!(case.clone().sample().token(), Ok(1));
    follow(std::slice::from_mut(&mut case), 1);
}

#[test]
fn few_values_shared_by_many_tokens_are_told_apart_by_their_ids() {
    let logits: Vec<f32> = (0..9001).map(|i| (i * 7 % 3) as f32 * 1e-3).collect();
    check(&logits);
}

/// The list has room for 2048 tokens that are not certain, each chunk's in a place of its own.
#[test]
fn a_list_may_be_empty_or_full_or_have_no_room() {
    let mut cases = Vec::new();
    for uncertain in [0, 1, 2047, 2048, 2049, 5000] {
        for (top_k, top_p) in [(0, 0.6), (uncertain + 3, 0.9), (uncertain / 2, 1.0)] {
            let settings = Settings {
                seed: uncertain as u64,
                top_k,
                top_p,
                ..Settings::default()
            };
            // Those that are not certain share a bin and lie in every chunk; the others are far below.
            let is_uncertain = |i: usize| (i * 7 % 9000) < uncertain;
            let logit = |i| match is_uncertain(i) {
                true => 20.0 - 1e-5 * (i % 11) as f32,
                false => -20.0 - i as f32 * 1e-4,
            };
            cases.push(Case::new((0..9000).map(logit).collect(), settings));
        }
    }
    follow(&mut cases, 3);
}

/// A bin's keys are found from the bounds of its distances, which are rounded.
#[test]
fn tokens_at_the_bounds_of_bins_are_not_lost() {
    let bin = std::f64::consts::LN_2 / 16.0;
    let mut cases = Vec::new();
    for (seed, best) in [0.0, 1e-3, 0.3, 1.0, 7.7, -2.5, 60.0, 4096.0]
        .into_iter()
        .enumerate()
    {
        let mut logits = vec![best as f32];
        for bound in 0..600 {
            let near = (best - bin * f64::from(bound)) as f32;
            logits.extend([near.next_down(), near, near.next_up()].map(|l| l.min(best as f32)));
        }
        for (top_k, top_p) in [(0, 0.3), (0, 0.9), (0, 0.999), (7, 0.8), (100, 1.0)] {
            let settings = Settings {
                seed: seed as u64,
                top_k,
                top_p,
                top_logprobs: Some(20),
                ..Settings::default()
            };
            cases.push(Case::new(logits.clone(), settings));
        }
    }
    follow(&mut cases, 4);
}

#[test]
fn extreme_logits_are_borne() {
    check(&[1e30, -1e30, 1e30, 0.0, 5.0, 9.999e29]);
    check(&[3.4e38, -3.4e38, 3.3e38, 1.0]);
    check(&[1e-30, 2e-30, -1e-30, 0.0, 1e-37]);
    let steps: Vec<f32> = (0..3000).map(|i| -0.02 * i as f32).collect(); // through all bins and beyond
    check(&steps);
}

#[test]
fn weights_of_the_largest_vocabulary_fit() {
    let case = |top_p, top_k| {
        let settings = Settings {
            top_p,
            top_k,
            top_logprobs: Some(2),
            ..Settings::default()
        };
        Case::new(vec![0.5; 1 << 20], settings)
    };
    follow(&mut [case(1.0, 0), case(0.25, 0), case(0.5, 700_001)], 2);
    assert!(SampleParams::new(0).is_none());
    assert!(SampleParams::new((1 << 20) + 1).is_none());
}

#[test]
fn two_equal_tokens_hold_half_each() {
    let half = Settings {
        top_p: 0.5,
        ..Settings::default()
    };
    let kept = |logits: &[f32]| {
        let weights = Case::new(logits.to_vec(), half.clone()).twin_weights();
        weights.unwrap().iter().filter(|w| **w > 0).count()
    };
    assert_eq!(kept(&[1.0, 1.0]), 1);
    assert_eq!(kept(&[1.0, 1.0, 1.0]), 2);
}

#[test]
fn logits_that_are_not_finite_are_named() {
    let mut cases = Vec::new();
    for (temperature, top_p) in [(0.0, 1.0), (1.0, 1.0), (1.0, 0.5)] {
        for broken in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let settings = Settings {
                temperature,
                top_p,
                top_logprobs: Some(3),
                // A ban does not hide it.
                biases: vec![(2000, SampleBias::BAN)],
                ..Settings::default()
            };
            let mut logits = vec![1.0; 3001];
            (logits[2000], logits[3000]) = (broken, broken);
            let case = Case::new(logits, settings);
            let report = case.clone().sample();
            assert_eq!(report.token(), Err(NoToken::NotFinite { token: 2000 }));
            cases.push(case);
        }
    }
    follow(&mut cases, 2);
    assert_eq!(cases[0].counts[0].step, 0, "nothing was counted");
}

#[test]
fn banned_tokens_are_never_chosen() {
    let mut cases = Vec::new();
    for temperature in [0.0, 1.0] {
        let ban = |tokens: std::ops::Range<u32>| Settings {
            temperature,
            top_k: 4,
            top_logprobs: Some(20),
            biases: tokens
                .map(|token| (token, SampleBias::BAN))
                .chain([(5000, 3.0), (u32::MAX, 1.0)]) // no tokens of the vocabulary
                .collect(),
            ..Settings::default()
        };
        let logits: Vec<f32> = (0..2000).map(|i| -0.01 * i as f32).collect();
        let but_three = Case::new(logits.clone(), ban(0..1997));
        let all = Case::new(logits, ban(0..2000));
        assert_eq!(but_three.clone().sample().top().len(), 3);
        assert!(but_three.clone().sample().token().unwrap() >= 1997);
        let report = all.clone().sample();
        assert_eq!(report.token(), Err(NoToken::NothingAllowed));
        cases.extend([but_three, all]);
    }
    follow(&mut cases, 4);
}

#[test]
fn biases_move_and_a_bias_that_is_not_finite_bans() {
    let with = |biases: &[(u32, f32)]| {
        let settings = Settings {
            temperature: 0.0,
            biases: biases.to_vec(),
            ..Settings::default()
        };
        Case::new(vec![1.0, 2.0, 3.0, 0.0], settings)
    };
    let cases = [
        (with(&[]), 2),
        (with(&[(3, 3.5)]), 3),
        (with(&[(2, -1.0)]), 1),
        (with(&[(2, f32::NAN), (1, f32::INFINITY)]), 0),
        (with(&[(0, f32::MAX), (1, f32::MAX)]), 0),
        (with(&[(3, 9.0), (3, 1.0)]), 2), // the last one holds
    ];
    let mut all = Vec::new();
    for (case, expected) in cases {
        assert_eq!(case.clone().sample().token(), Ok(expected), "{case:?}");
        all.push(case);
    }
    follow(&mut all, 1);
}

/// Each token takes the others' place in turn, so that every count changes and fades.
#[test]
fn penalties_fade_over_many_steps() {
    let mut cases = Vec::new();
    for (temperature, decay) in [(0.0, 1.0), (0.0, 0.996), (1.0, 0.9), (1.0, 0.0)] {
        let settings = Settings {
            temperature,
            decay,
            presence: 0.3,
            frequency: 0.2,
            ..Settings::default()
        };
        cases.push(Case::new(
            (0..50).map(|i| -0.02 * i as f32).collect(),
            settings,
        ));
    }
    let first = cases.clone();
    follow(&mut cases, 400);
    for (first, last) in first.into_iter().zip(cases) {
        let expected = iterated_counts(first, 400);
        let decay = f64::from(last.settings.decay);
        for (seen, expected) in last.counts[1..].iter().zip(expected) {
            let faded = decay.powi((last.counts[0].step - seen.step) as i32);
            let count = f64::from(seen.count) * faded;
            assert!(
                (count - expected).abs() < 1e-4 * (1.0 + expected),
                "{last:?}"
            );
        }
    }
}

/// As a sampler counts that touches every token at each step.
fn iterated_counts(mut case: Case, steps: usize) -> Vec<f64> {
    let decay = f64::from(case.settings.decay);
    let mut counts = vec![0.0; case.logits.len()];
    for _ in 0..steps {
        let token = case.sample().token().unwrap() as usize;
        counts.iter_mut().for_each(|count| *count *= decay);
        counts[token] += 1.0;
    }
    counts
}

#[test]
fn scratch_memory_is_as_large_as_the_kernels_think() {
    for pass in SamplePass::ALL {
        let module = naga::front::wgsl::parse_str(&pass.kernel().unwrap().wgsl).unwrap();
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let bytes = |name: &str| {
            let named = |ty: &naga::Type| ty.name.as_deref() == Some(name);
            let handle = module.types.iter().find(|(_, ty)| named(ty)).unwrap().0;
            layouter[handle].to_stride() as u64
        };
        assert_eq!(bytes("Work"), SamplePass::WORK_BYTES);
        assert_eq!(bytes("Params"), 8);
        assert_eq!(
            bytes("Setting"),
            size_of::<thalweg_shaders::SampleRow>() as u64
        );
        if pass == SamplePass::Draw {
            assert_eq!(
                bytes("Report"),
                size_of::<thalweg_shaders::SampleReport>() as u64
            );
        }
    }
}
