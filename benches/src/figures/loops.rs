//! Loops of many tokens a submission against one synchronisation a token, and sampled tokens against logits alone.
//!
//! What a submission costs beyond its steps is seen from two lengths: a single step takes a + b, a loop of n of them a + n b, where
//! b is a step on the device and a all the rest: handing the work over, waking up, reading back. A token's share of that is a / n.

use anyhow::Result;
use thalweg_bench::Figure;
use thalweg_engine::SamplerSettings;
use thalweg_rwkv::{Batch, GpuBatch, Next, Part, Sampling, Wanted};

use super::{Subject, figure, median, timed};

pub(super) const SECTION: &str = "One sequence, many tokens a submission";

/// Tokens of a sample.
const TOKENS: usize = 256;
/// Steps of the shortest loop, by which it is found out how many the engine would make.
const SHORT: usize = 8;
/// What a loop of the engine is to take.
const LOOP_SECONDS: f64 = 0.05;
/// The width of the models whose steps are so short that loops are to pay by themselves.
const SMALL_WIDTH: usize = 768;

pub(super) fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let greedy = Sampling::greedy();
    let drawn = SamplerSettings {
        temperature: 1.0,
        top_p: 0.9,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        seed: 1,
        ..SamplerSettings::greedy()
    };
    let drawn = drawn.sampling(None);
    let mut batch = subject.batch(1)?;
    let rough = loops(subject, &mut batch, &greedy, SHORT)?;
    let long = ((LOOP_SECONDS / rough) as usize).clamp(2 * SHORT, batch.longest_loop().min(TOKENS));
    let single = loops(subject, &mut batch, &greedy, 1)?;
    let context = subject.model.context();
    let before = context.host_times();
    let together = loops(subject, &mut batch, &greedy, long)?;
    let host = context.host_times() - before;
    let sampled = loops(subject, &mut batch, &drawn, long)?;
    let raw = logits_alone(subject, &mut batch)?;

    let n = long as f64;
    let beyond = (single - together) * n / (n - 1.0);
    let tokens = ((1 + subject.samples) * (TOKENS / long) * long) as f64;
    let us = |duration: std::time::Duration| 1e6 * duration.as_secs_f64() / tokens;
    let of = |name: String, value, unit| figure(SECTION, name, value, unit);
    let times = format!("{long} tokens a submission against one");
    let times = of(times, single / together, "times");
    let is_small = subject.model.hyperparameters().width <= SMALL_WIDTH;
    Ok(vec![
        of("a token a submission".to_owned(), 1.0 / single, "tok/s"),
        of(
            format!("{long} tokens a submission"),
            1.0 / together,
            "tok/s",
        ),
        match is_small {
            true => times.at_least(1.15),
            false => times,
        },
        of(
            "a submission beyond its steps".to_owned(),
            1e6 * beyond,
            "us",
        ),
        of(
            format!("that for each of {long} tokens"),
            1e6 * beyond / n,
            "us",
        )
        .at_most(10.0),
        of(
            "the host: reading back, for each token".to_owned(),
            us(host.read_back),
            "us",
        ),
        of(
            "the host: handing over and writing, for each token".to_owned(),
            us(host.submit + host.write),
            "us",
        ),
        of(
            "the host: encoding, while the device works, for each token".to_owned(),
            us(host.encode),
            "us",
        ),
        of(
            format!("drawn with top-p 0.9, {long} tokens a submission"),
            1.0 / sampled,
            "tok/s",
        ),
        of(
            "drawn against greedy".to_owned(),
            100.0 * together / sampled,
            "%",
        ),
        of(
            "logits for the host, a token a submission".to_owned(),
            1.0 / raw,
            "tok/s",
        ),
        of(
            "drawn against logits for the host".to_owned(),
            100.0 * raw / sampled,
            "%",
        )
        .at_least(97.0),
    ])
}

/// Seconds a token of loops of so many steps.
fn loops(
    subject: &Subject,
    batch: &mut GpuBatch,
    sampling: &Sampling,
    steps: usize,
) -> Result<f64> {
    batch.reset(0)?;
    batch.set_sampling(0, sampling.clone())?;
    let next = [Next { slot: 0, token: 1 }];
    per_token(subject, TOKENS / steps, steps, || {
        batch.decode(&next, steps)?;
        Ok(())
    })
}

/// Seconds a token of passes whose logits come to the host, from which nothing is chosen.
fn logits_alone(subject: &Subject, batch: &mut GpuBatch) -> Result<f64> {
    batch.reset(0)?;
    let part = [Part {
        slot: 0,
        tokens: &[1],
        wanted: Wanted::Last,
    }];
    per_token(subject, TOKENS, 1, || {
        batch.forward(&part)?;
        Ok(())
    })
}

/// The median of samples of so many calls, each of so many tokens, after one that prepares.
fn per_token(
    subject: &Subject,
    calls: usize,
    tokens: usize,
    mut call: impl FnMut() -> Result<()>,
) -> Result<f64> {
    let mut seconds = Vec::new();
    for sample in 0..=subject.samples {
        let ((), took) = timed(|| (0..calls).try_for_each(|_| call()))?;
        if sample > 0 {
            seconds.push(took.as_secs_f64() / (calls * tokens) as f64);
        }
    }
    Ok(median(seconds))
}
