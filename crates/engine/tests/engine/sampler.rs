//! What the settings mean: the sampler on the host against a plain computation in f64.

use std::collections::HashMap;

use proptest::prelude::*;
use thalweg_engine::SamplerSettings;
use thalweg_rwkv::{HostSampler, NoToken};

fn settings() -> SamplerSettings {
    SamplerSettings {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        penalty_decay: 1.0,
        seed: 7,
        ..SamplerSettings::default()
    }
}

fn sampler(settings: &SamplerSettings) -> HostSampler {
    settings.validate().unwrap();
    HostSampler::new(settings.sampling(None))
}

fn next(sampler: &mut HostSampler, logits: &[f32]) -> u32 {
    sampler.choose(logits).unwrap().token
}

/// The probability of each token, by sorting everything and following the documented order.
/// `slack` widens or narrows top-p and min-p by a hair, where rounding may decide.
fn reference(logits: &[f32], settings: &SamplerSettings, slack: f64) -> HashMap<u32, f64> {
    let mut order: Vec<(u32, f64)> = (0..)
        .zip(logits.iter().map(|logit| f64::from(*logit)))
        .collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if settings.top_k > 0 {
        order.truncate(settings.top_k);
    }
    let highest = order[0].1;
    if settings.top_p < 1.0 {
        let total: f64 = order.iter().map(|(_, logit)| (logit - highest).exp()).sum();
        let mut mass = 0.0;
        let needed = order.iter().position(|(_, logit)| {
            mass += (logit - highest).exp() / total;
            mass >= f64::from(settings.top_p) + slack
        });
        order.truncate(needed.map_or(order.len(), |index| index + 1));
    }
    order.retain(|(_, logit)| (logit - highest).exp() >= f64::from(settings.min_p) - slack);
    let weight = |logit: f64| ((logit - highest) / f64::from(settings.temperature)).exp();
    let total: f64 = order.iter().map(|(_, logit)| weight(*logit)).sum();
    order
        .into_iter()
        .map(|(token, logit)| (token, weight(logit) / total))
        .collect()
}

prop_compose! {
    fn any_settings()(
        temperature in 0.05_f32..3.0,
        top_k in prop_oneof![Just(0_usize), 1..20_usize, 100..400_usize],
        top_p in prop_oneof![Just(1.0_f32), Just(0.0), 0.0..1.0_f32],
        min_p in prop_oneof![Just(0.0_f32), Just(1.0), 0.0..0.5_f32],
        seed in any::<u64>(),
    ) -> SamplerSettings {
        SamplerSettings { temperature, top_k, top_p, min_p, seed, ..settings() }
    }
}

proptest! {
    #[test]
    fn draws_stay_within_the_kept_tokens(
        logits in prop::collection::vec(-8.0_f32..8.0, 1..600),
        settings in any_settings(),
    ) {
        let kept = reference(&logits, &settings, 1e-9);
        let mut sampler = sampler(&settings);
        for _ in 0..20 {
            let token = next(&mut sampler, &logits);
            prop_assert!(kept.contains_key(&token), "token {token} is not among {kept:?}");
        }
    }

    #[test]
    fn one_seed_gives_one_sequence(
        logits in prop::collection::vec(-3.0_f32..3.0, 50..200),
        settings in any_settings(),
    ) {
        let draw = || {
            let mut sampler = sampler(&settings);
            let mut tokens = Vec::new();
            for _ in 0..20 {
                tokens.push(next(&mut sampler, &logits));
            }
            tokens
        };
        prop_assert_eq!(draw(), draw());
    }
}

/// Total variation between 40,000 draws and the reference. With fewer than 40 tokens kept it is below 0.015 for a right
/// sampler in all but freak cases, and the seeds are fixed.
#[test]
fn draws_follow_the_distribution() {
    let logits: Vec<f32> = (0..500_u32)
        .map(|i| ((i * 7919) % 500) as f32 / 60.0)
        .collect();
    let cases = [
        SamplerSettings {
            top_k: 30,
            ..settings()
        },
        SamplerSettings {
            top_k: 30,
            top_p: 0.6,
            ..settings()
        },
        SamplerSettings {
            top_p: 0.2,
            temperature: 2.0,
            ..settings()
        },
        SamplerSettings {
            min_p: 0.6,
            temperature: 0.5,
            ..settings()
        },
        SamplerSettings {
            top_k: 40,
            top_p: 0.9,
            min_p: 0.7,
            temperature: 1.5,
            ..settings()
        },
    ];
    const DRAWS: usize = 40_000;
    for case in cases {
        let expected = reference(&logits, &case, 0.0);
        assert!(
            (5..=40).contains(&expected.len()),
            "{case:?} keeps {}",
            expected.len()
        );
        let mut sampler = sampler(&case);
        let mut counts = HashMap::<u32, usize>::new();
        for _ in 0..DRAWS {
            *counts.entry(next(&mut sampler, &logits)).or_default() += 1;
        }
        let drawn = |token: &u32| *counts.get(token).unwrap_or(&0) as f64 / DRAWS as f64;
        let distance: f64 = expected
            .iter()
            .map(|(token, p)| (drawn(token) - p).abs())
            .sum::<f64>()
            / 2.0;
        assert!(
            counts.keys().all(|token| expected.contains_key(token)),
            "{case:?}"
        );
        assert!(distance < 0.015, "{case:?}: total variation {distance}");
    }
}

/// A flat distribution over a whole vocabulary makes top-p order many blocks of it.
#[test]
fn top_p_of_a_flat_distribution_keeps_its_share() {
    let logits: Vec<f32> = (0..65_536_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e8)
        .collect();
    let case = SamplerSettings {
        top_p: 0.7,
        ..settings()
    };
    let kept = reference(&logits, &case, 1e-9);
    assert!(kept.len() > 40_000);
    let mut sampler = sampler(&case);
    let tokens: Vec<u32> = (0..300).map(|_| next(&mut sampler, &logits)).collect();
    assert!(tokens.iter().all(|token| kept.contains_key(token)));
    // Draws reach the improbable end too.
    let lowest = kept
        .keys()
        .map(|token| logits[*token as usize])
        .fold(f32::INFINITY, f32::min);
    assert!(
        tokens
            .iter()
            .any(|token| logits[*token as usize] < lowest + 0.02)
    );
}

#[test]
fn temperature_zero_takes_the_best_token_and_the_lowest_of_equals() {
    let mut sampler = sampler(&SamplerSettings::greedy());
    assert_eq!(next(&mut sampler, &[0.0, 2.0, 5.0, 5.0, 1.0]), 2);
    assert_eq!(next(&mut sampler, &[-1.0]), 0);
}

#[test]
fn filters_see_the_distribution_at_temperature_one() {
    let logits = [3.0, 2.9, 0.0];
    let case = SamplerSettings {
        top_p: 0.9,
        temperature: 100.0,
        ..settings()
    };
    let mut sampler = sampler(&case);
    for _ in 0..200 {
        assert!(
            next(&mut sampler, &logits) < 2,
            "temperature let a token in that top-p had dropped"
        );
    }
}

#[test]
fn top_p_is_a_share_of_what_top_k_left() {
    // Of all four tokens the best holds 0.25, of the two that top-k leaves it holds half.
    let case = SamplerSettings {
        top_k: 2,
        top_p: 0.5,
        ..settings()
    };
    let mut sampler = sampler(&case);
    for _ in 0..100 {
        assert_eq!(next(&mut sampler, &[1.0; 4]), 0);
    }
}

#[test]
fn penalties_turn_greedy_choice_away_and_fade() {
    let case = SamplerSettings {
        presence_penalty: 0.0,
        frequency_penalty: 1.0,
        penalty_decay: 0.5,
        ..SamplerSettings::greedy()
    };
    let mut sampler = sampler(&case);
    let logits = [2.0, 1.2, 0.0];
    assert_eq!(next(&mut sampler, &logits), 0);
    // 2.0 - 1.0 is below 1.2
    assert_eq!(next(&mut sampler, &logits), 1);
    // 2.0 - 0.5 is above 1.2 - 1.0
    assert_eq!(next(&mut sampler, &logits), 0);
}

#[test]
fn biases_move_tokens_and_bans_rule_them_out() {
    let case = SamplerSettings {
        biases: vec![(0, -9.0), (2, 4.0), (1, 2.0)],
        bans: vec![2],
        ..SamplerSettings::greedy()
    };
    assert_eq!(next(&mut sampler(&case), &[5.0, 2.0, 6.0, 3.0]), 1);
    let nothing_left = SamplerSettings {
        bans: vec![1, 0],
        ..settings()
    };
    let nothing = sampler(&nothing_left).choose(&[0.0, 1.0]);
    assert_eq!(nothing, Err(NoToken::NothingAllowed));
}

#[test]
fn other_settings_do_not_restart_the_random_numbers() {
    let logits = [0.0; 1000];
    let mut once = sampler(&settings());
    let mut changed = once.clone();
    next(&mut once, &logits);
    next(&mut changed, &logits);
    let warmer = SamplerSettings {
        temperature: 2.0,
        ..settings()
    };
    changed.set_sampling(warmer.sampling(None));
    assert_eq!(next(&mut once, &logits), next(&mut changed, &logits));
}

#[test]
fn logits_without_meaning_are_refused() {
    for settings in [settings(), SamplerSettings::greedy()] {
        let mut sampler = sampler(&settings);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let refused = sampler.choose(&[1.0, value, 2.0]);
            assert_eq!(refused, Err(NoToken::NotFinite { token: 1 }));
        }
        assert!(sampler.choose(&[f32::MAX, f32::MIN, 0.0]).is_ok());
    }
}
