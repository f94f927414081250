//! `sample_scores.wgsl`, `sample_histogram.wgsl`, `sample_gather.wgsl`, `sample_draw.wgsl`

mod cases;
mod device;
mod edges;
mod guesses;
mod reference;
mod statistics;

use thalweg_shaders::{NO_TOKEN, SampleReport, twins};

use cases::Case;
use device::OnDevice;

/// Rows of a vocabulary at once, and so 300 in all.
const ROWS: usize = 30;
const VOCABS: [usize; 10] = [1, 2, 33, 1023, 1024, 1025, 4099, 5003, 20_011, 65_536];

fn random_cases() -> impl Iterator<Item = Vec<Case>> {
    (0..).zip(VOCABS).map(|(group, vocab)| {
        let seeds = group * ROWS as u64..(group + 1) * ROWS as u64;
        seeds.map(|seed| Case::random(seed, vocab)).collect()
    })
}

#[test]
fn the_twin_keeps_what_a_sorted_reference_in_f64_keeps() {
    let (mut worst, mut kept) = (0.0_f64, 0);
    for case in random_cases().flatten() {
        let found = case.twin_weights().unwrap();
        let expected = reference::distribution(&case);
        for (token, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(*found == 0 || *expected > 0.0, "{token} is kept: {case:?}");
        }
        let distance = reference::total_variation(&found, &expected);
        assert!(distance < 1e-5, "{distance:e}: {case:?}");
        worst = worst.max(distance);
        kept += expected.iter().filter(|share| **share > 0.0).count();
    }
    println!("300 settings, {kept} tokens kept: total variation {worst:.1e} at most");
}

#[test]
fn the_kernels_choose_the_twins_tokens() {
    for mut cases in random_cases() {
        follow(&mut cases, 12);
    }
}

/// Samples so many tokens of each case on the device and with the twin, and compares tokens, reports and counts.
#[track_caller]
fn follow(cases: &mut [Case], steps: usize) {
    let device = OnDevice::new(cases);
    for step in 0..steps {
        device.run();
        let (tokens, reports) = (device.tokens(), device.reports());
        for (index, case) in cases.iter_mut().enumerate() {
            let expected = case.sample();
            assert_same(
                &reports[index],
                &expected,
                &format!("step {step} of {case:?}"),
            );
            assert_eq!(
                tokens[index],
                expected.token().unwrap_or(NO_TOKEN),
                "{case:?}"
            );
        }
    }
    let counts = device.counts();
    for (case, counts) in cases.iter().zip(counts) {
        assert!(case.counts == counts, "counts of {case:?}");
    }
}

#[track_caller]
fn assert_same(found: &SampleReport, expected: &SampleReport, what: &str) {
    let is_close = |a: f32, b: f32| (a - b).abs() <= 1e-6 * (2.0 + b.abs());
    assert_eq!(found.token(), expected.token(), "{what}");
    assert!(is_close(found.logprob(), expected.logprob()), "{what}");
    assert_eq!(found.top().len(), expected.top().len(), "{what}");
    for (found, expected) in found.top().iter().zip(expected.top()) {
        assert_eq!(found.token, expected.token, "{what}");
        assert!(is_close(found.logprob, expected.logprob), "{what}");
    }
}

#[test]
fn random_bits_are_those_published() {
    // The known answers of Random123 1.09.
    let digits = [
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
        [0xa409_3822, 0x299f_31d0, 0, 0],
    ];
    let all = u32::MAX;
    let answers = [
        (
            [0; 2],
            [0; 4],
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        ),
        (
            [all; 2],
            [all; 4],
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        ),
        (
            [digits[1][0], digits[1][1]],
            digits[0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    for (key, counter, expected) in answers {
        assert_eq!(twins::philox(key, counter), expected);
    }
}
