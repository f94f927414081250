//! Whether draws are distributed as they should be.

use super::cases::{Case, Settings};
use super::reference;

const DRAWS: usize = 200_000;

/// Pearson's statistic of draws against a distribution, and its degrees of freedom.
fn chi_squared(drawn: &[usize], shares: &[f64]) -> (f64, f64) {
    let all: usize = drawn.iter().sum();
    let terms = drawn.iter().zip(shares).filter(|(_, share)| **share > 0.0);
    let statistic = terms
        .clone()
        .map(|(drawn, share)| {
            let expected = share * all as f64;
            (*drawn as f64 - expected).powi(2) / expected
        })
        .sum();
    (statistic, terms.count() as f64 - 1.0)
}

/// The value that the statistic exceeds once in 10,000 times (Wilson and Hilferty's approximation).
fn limit(degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + 3.719 * spread.sqrt()).powi(3)
}

fn draws(mut case: Case, count: usize) -> Vec<usize> {
    let mut drawn = vec![0; case.logits.len()];
    for _ in 0..count {
        drawn[case.sample().token().unwrap() as usize] += 1;
    }
    drawn
}

#[test]
fn draws_follow_the_distribution() {
    for (seed, temperature, top_p) in [(1, 1.0, 1.0), (2, 0.7, 0.9), (3, 2.5, 0.99)] {
        let settings = Settings {
            seed,
            temperature,
            top_p,
            ..Settings::default()
        };
        let logits: Vec<f32> = (0..40)
            .map(|i| 2.0 * ((i * 17 % 40) as f32 * 0.2).sin())
            .collect();
        let case = Case::new(logits, settings);
        let drawn = draws(case.clone(), DRAWS);
        let shares = reference::distribution(&case);
        for (drawn, share) in drawn.iter().zip(&shares) {
            assert!(*drawn == 0 || *share > 0.0);
        }
        let (statistic, degrees) = chi_squared(&drawn, &shares);
        println!(
            "chi squared {statistic:.1} of {degrees} degrees, at most {:.1}",
            limit(degrees)
        );
        assert!(statistic < limit(degrees), "{statistic} of {degrees}");

        // The test can fail: it notices a temperature 5 % higher.
        let mut warmer = case;
        warmer.settings.temperature *= 1.05;
        let (statistic, degrees) = chi_squared(&drawn, &reference::distribution(&warmer));
        assert!(statistic > limit(degrees), "{statistic} of {degrees}");
    }
}

/// One seed's random numbers are not another's, nor the next step's.
#[test]
fn seeds_and_steps_are_independent() {
    let of = |seed| {
        let settings = Settings {
            seed,
            ..Settings::default()
        };
        Case::new(vec![0.0; 8], settings)
    };
    let (mut first, mut second) = (of(1), of(1 << 32));
    let (mut pairs, mut successive) = (vec![0; 64], vec![0; 64]);
    let mut last = 0;
    for _ in 0..50_000 {
        let token = first.sample().token().unwrap() as usize;
        pairs[8 * token + second.sample().token().unwrap() as usize] += 1;
        successive[8 * last + token] += 1;
        last = token;
    }
    for counts in [pairs, successive] {
        let (statistic, degrees) = chi_squared(&counts, &[1.0 / 64.0; 64]);
        assert!(statistic < limit(degrees), "{statistic} of {degrees}");
    }
}

#[test]
fn a_seed_gives_the_same_tokens_again() {
    let case = Case::random(8, 500);
    let run = || {
        let mut case = case.clone();
        (0..50)
            .map(|_| case.sample().token().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
