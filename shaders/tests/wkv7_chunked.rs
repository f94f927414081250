//! The chunked forms of the recurrence against its definition in f64, at the ends of every range.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's ways of failing and of reporting"
)]

use thalweg_shaders::twins::{Wkv7Inputs, wkv7_affine, wkv7_chunked};

const N: usize = 64;
const CHUNKS: [usize; 4] = [8, 16, 32, 64];

/// A form of the recurrence: name, function, largest relative error.
type Form = (
    &'static str,
    fn(Wkv7Inputs<'_>, usize, usize, &mut [f32], &mut [f32]),
    f64,
);
const FORMS: [Form; 2] = [
    ("chunked", wkv7_chunked, 2e-6),
    ("affine", wkv7_affine, 2e-3),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Regime {
    /// As a model before training.
    Ordinary,
    /// Every decay at its floor.
    Fastest,
    /// Every decay 1.
    None,
    /// Neighbouring channels at the two ends.
    Mixed,
    /// One key for all tokens, nearly wholly replaced by each.
    Repeated,
    /// Some channels much larger than others.
    Outliers,
}

const REGIMES: [Regime; 6] = [
    Regime::Ordinary,
    Regime::Fastest,
    Regime::None,
    Regime::Mixed,
    Regime::Repeated,
    Regime::Outliers,
];

/// Inputs `[tokens, heads, N]` and a state `[heads, N, N]`.
struct Case {
    heads: usize,
    r: Vec<f32>,
    w: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    kk: Vec<f32>,
    a: Vec<f32>,
    state: Vec<f32>,
}

impl Case {
    fn new(regime: Regime, heads: usize, tokens: usize) -> Case {
        let width = heads * N;
        let mut noise = Noise(tokens as u64 + 1);
        let mut normal = |count: usize, scale: f32| -> Vec<f32> {
            (0..count).map(|_| noise.normal() * scale).collect()
        };
        let mut r = normal(tokens * width, 0.7);
        let mut k = normal(tokens * width, 0.7);
        let mut v = normal(tokens * width, 0.7);
        let mut kk = normal(tokens * width, 1.0);
        let mut a: Vec<f32> = normal(tokens * width, 1.0);
        let mut z = normal(tokens * width, 1.0);
        let state = normal(width * N, 0.5);
        a.iter_mut().for_each(|a| *a = logistic(*a - 0.2));
        for (i, z) in z.iter_mut().enumerate() {
            let n = (i % N) as f32 / (N - 1) as f32;
            let zigzag = 2.0 * n - 1.0;
            *z += -5.5 + 6.0 * n.powf(1.5) + 2.5 * zigzag * zigzag.abs();
        }
        match regime {
            Regime::Ordinary => {}
            Regime::Fastest => z.fill(40.0),
            Regime::None => z.fill(-200.0),
            Regime::Mixed => z
                .chunks_exact_mut(2)
                .for_each(|pair| pair.copy_from_slice(&[40.0, -200.0])),
            Regime::Repeated => {
                for x in [&mut k, &mut kk] {
                    for t in 1..tokens {
                        x.copy_within(..width, t * width);
                    }
                }
                a.fill(0.98);
                z.fill(-5.0);
            }
            Regime::Outliers => {
                for (x, channel, scale) in [(&mut k, 3, 20.0), (&mut r, 3, 10.0), (&mut v, 7, 30.0)]
                {
                    x.iter_mut()
                        .skip(channel)
                        .step_by(N)
                        .for_each(|x| *x *= scale);
                }
            }
        }
        for head in kk.chunks_exact_mut(N) {
            let norm = head.iter().map(|x| x * x).sum::<f32>().sqrt();
            head.iter_mut().for_each(|x| *x /= norm);
        }
        let w = z
            .iter()
            .map(|z| (-(-0.5f32).exp() * logistic(*z)).exp())
            .collect();
        Case {
            heads,
            r,
            w,
            k,
            v,
            kk,
            a,
            state,
        }
    }

    fn width(&self) -> usize {
        self.heads * N
    }

    fn tokens(&self) -> usize {
        self.r.len() / self.width()
    }

    fn inputs(&self, from: usize, to: usize) -> Wkv7Inputs<'_> {
        let span = from * self.width()..to * self.width();
        Wkv7Inputs {
            r: &self.r[span.clone()],
            w: &self.w[span.clone()],
            k: &self.k[span.clone()],
            v: &self.v[span.clone()],
            kk: &self.kk[span.clone()],
            a: &self.a[span],
        }
    }

    /// y and the state after the last token, by `form` in chunks, called anew at each of `splits`.
    fn run(&self, form: &Form, chunk: usize, splits: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let (mut state, mut y) = (self.state.clone(), vec![]);
        let mut from = 0;
        for to in splits.iter().copied().chain([self.tokens()]) {
            let mut part = vec![f32::NAN; (to - from) * self.width()];
            form.1(self.inputs(from, to), N, chunk, &mut state, &mut part);
            y.extend(part);
            from = to;
        }
        (y, state)
    }

    /// y and the state after the last token, by the definition.
    fn expected(&self) -> (Vec<f64>, Vec<f64>) {
        let mut state: Vec<f64> = self.state.iter().map(|x| f64::from(*x)).collect();
        let mut y = vec![];
        for t in 0..self.tokens() {
            for head in 0..self.heads {
                let at = t * self.width() + head * N;
                let channel = |x: &[f32], j: usize| f64::from(x[at + j]);
                for i in 0..N {
                    let row = &mut state[(head * N + i) * N..][..N];
                    let removed: f64 = (0..N).map(|j| row[j] * channel(&self.kk, j)).sum();
                    for (j, s) in row.iter_mut().enumerate() {
                        *s = *s * channel(&self.w, j)
                            - removed * channel(&self.kk, j) * channel(&self.a, j)
                            + channel(&self.v, i) * channel(&self.k, j);
                    }
                    y.push((0..N).map(|j| row[j] * channel(&self.r, j)).sum());
                }
            }
        }
        (y, state)
    }
}

#[test]
fn errors_stay_within_bounds_in_every_regime() {
    for regime in REGIMES {
        let case = Case::new(regime, 2, 512);
        let (y, state) = case.expected();
        for form in &FORMS {
            for chunk in CHUNKS {
                let found = case.run(form, chunk, &[]);
                let what = format!("{} {regime:?} chunks of {chunk}", form.0);
                assert_near(&found.0, &y, form.2, &format!("{what}: y"));
                assert_near(&found.1, &state, form.2, &format!("{what}: state"));
            }
        }
    }
}

#[test]
fn any_number_of_tokens_will_do() {
    for chunk in CHUNKS {
        for tokens in [1, 7, chunk - 1, chunk, chunk + 1, 100] {
            for regime in [Regime::Ordinary, Regime::Mixed] {
                let case = Case::new(regime, 3, tokens);
                let (y, state) = case.expected();
                for form in &FORMS {
                    let found = case.run(form, chunk, &[]);
                    let what = format!("{} {regime:?} {tokens} tokens by {chunk}", form.0);
                    assert_near(&found.0, &y, form.2, &format!("{what}: y"));
                    assert_near(&found.1, &state, form.2, &format!("{what}: state"));
                }
            }
        }
    }
}

#[test]
fn the_state_carries_over_any_split() {
    let case = Case::new(Regime::Ordinary, 2, 200);
    let (y, state) = case.expected();
    let mut noise = Noise(7);
    for round in 0..4 {
        let mut splits: Vec<usize> = (0..5).map(|_| 1 + noise.bits() as usize % 199).collect();
        splits.sort_unstable();
        splits.dedup();
        for form in &FORMS {
            for chunk in CHUNKS {
                let found = case.run(form, chunk, &splits);
                let what = format!("{} round {round} by {chunk}, split at {splits:?}", form.0);
                assert_near(&found.0, &y, form.2, &format!("{what}: y"));
                assert_near(&found.1, &state, form.2, &format!("{what}: state"));
            }
        }
    }
}

#[test]
fn a_split_between_chunks_changes_no_bit() {
    let case = Case::new(Regime::Ordinary, 2, 100);
    for form in &FORMS {
        assert_eq!(case.run(form, 16, &[]), case.run(form, 16, &[16, 64]));
    }
}

#[test]
fn what_exceeds_f16_stays_finite() {
    let mut case = Case::new(Regime::Fastest, 1, 64);
    for x in [&mut case.k, &mut case.v, &mut case.state] {
        x.iter_mut().for_each(|x| *x *= 1e6);
    }
    let (y, state) = case.run(&FORMS[1], 64, &[]);
    assert!(y.iter().chain(&state).all(|x| x.is_finite()));
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let mut differences = found.iter().zip(expected).map(|(f, e)| f64::from(*f) - e);
    let error = norm(&mut differences) / norm(&mut expected.iter().copied());
    println!("{what}: {error:.1e}");
    assert!(error <= bound, "{what}: {error:.1e}"); // a NaN fails too
}

fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Near enough: twelve uniform numbers have the variance 1.
    fn normal(&mut self) -> f32 {
        (0..12)
            .map(|_| (self.bits() >> 40) as f32 / (1 << 24) as f32)
            .sum::<f32>()
            - 6.0
    }
}
