//! Tries other ways to divide a model's work, and keeps those that make its steps faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use thalweg_bench::Summary;
use thalweg_rwkv::{Error, GpuModel, GpuSession, KNOBS, Knob, Session, TimedStep, Tuning, Wanted};

use crate::failure::Failure;
use crate::output;

/// Both ways run for so long before they are timed: a GPU that has idled runs at a fifth of its clock.
const WARM_UP: Duration = Duration::from_millis(250);
/// Samples of each way, taken in turns.
const SAMPLES: usize = 7;
/// A sample is of so many steps that it takes about as long as this.
const SAMPLE: Duration = Duration::from_millis(20);
/// The share of the time before that a new way may take to replace the old one: what is saved by less may be noise.
const WORTH_IT: f64 = 0.98;
/// Tokens of a step of few.
const FEW_TOKENS: u32 = 64;

/// Times candidates until the deadline.
pub(crate) struct Tuner<'a> {
    pub(crate) model: &'a GpuModel,
    pub(crate) deadline: Instant,
    pub(crate) interrupt: &'a AtomicBool,
}

/// What came of the candidates.
pub(crate) struct Tuned {
    pub(crate) tuning: Tuning,
    pub(crate) trials: Vec<Trial>,
}

/// One candidate, and what came of it.
pub(crate) struct Trial {
    pub(crate) knob: Knob,
    /// What was chosen until then, and what was tried instead.
    pub(crate) values: [String; 2],
    pub(crate) outcome: Outcome,
}

/// What came of a candidate.
pub(crate) enum Outcome {
    /// Seconds a token with the choice until then and with the candidate.
    Timed { seconds: [f64; 2] },
    /// The device cannot do it, for this reason.
    Impossible(String),
    /// There was no time left to try it.
    NotTried,
}

impl Outcome {
    /// Whether the candidate becomes the choice.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Outcome::Timed { seconds: [before, after] } if *after <= WORTH_IT * before)
    }
}

impl Tuner<'_> {
    /// Tries all candidates, choice by choice, each against the best so far.
    ///
    /// # Errors
    /// The device failed, or the user interrupted.
    pub(crate) fn run(&self) -> Result<Tuned, Failure> {
        let mut tuning = self.model.options().tuning;
        let mut trials = Vec::new();
        let bar = self.progress(tuning);
        for knob in KNOBS {
            for candidate in knob.candidates(tuning, self.model) {
                let outcome = self.compare(knob.step, [tuning, candidate])?;
                let is_taken = outcome.is_taken();
                trials.push(Trial {
                    knob,
                    values: [knob.value(tuning), knob.value(candidate)],
                    outcome,
                });
                if is_taken {
                    tuning = candidate;
                }
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(Tuned { tuning, trials })
    }

    fn progress(&self, tuning: Tuning) -> ProgressBar {
        let candidates = KNOBS
            .iter()
            .map(|knob| knob.candidates(tuning, self.model).len());
        output::progress(candidates.sum(), 1, "timing candidates")
    }

    /// Times two ways to divide the work of a step.
    fn compare(&self, step: TimedStep, ways: [Tuning; 2]) -> Result<Outcome, Failure> {
        match self.times(step, ways) {
            Ok(Some(seconds)) => Ok(Outcome::Timed { seconds }),
            Ok(None) => Ok(Outcome::NotTried),
            Err(error) if is_refusal(&error) => Ok(Outcome::Impossible(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Seconds a token of two ways; none if there is no time for it.
    fn times(&self, step: TimedStep, ways: [Tuning; 2]) -> Result<Option<[f64; 2]>, Error> {
        if Instant::now() >= self.deadline {
            return Ok(None);
        }
        let mut runners = [self.runner(step, ways[0])?, self.runner(step, ways[1])?];
        let start = Instant::now();
        let mut step_s = [f64::INFINITY; 2];
        loop {
            for (runner, step_s) in runners.iter_mut().zip(&mut step_s) {
                *step_s = self.seconds(runner, 1)?.min(*step_s);
                if self.will_be_late(*step_s) {
                    return Ok(None);
                }
            }
            if start.elapsed() >= WARM_UP {
                break;
            }
        }
        let steps = step_s.map(|seconds| (SAMPLE.as_secs_f64() / seconds).ceil().max(1.0) as usize);
        let mut samples = [const { Vec::new() }; 2];
        for _ in 0..SAMPLES {
            for way in 0..2 {
                let seconds = self.seconds(&mut runners[way], steps[way])?;
                samples[way].push(seconds / runners[way].tokens.len() as f64);
            }
        }
        let median = |samples: &Vec<f64>| Summary::of(samples).map(|summary| summary.median);
        Ok(median(&samples[0])
            .zip(median(&samples[1]))
            .map(<[f64; 2]>::from))
    }

    /// Whether all samples of two ways would end after the deadline if their steps took so long.
    fn will_be_late(&self, step_s: f64) -> bool {
        let sample_s = step_s.max(SAMPLE.as_secs_f64());
        let samples = Duration::from_secs_f64((2 * SAMPLES) as f64 * sample_s);
        Instant::now() + samples > self.deadline
    }

    fn runner(&self, step: TimedStep, tuning: Tuning) -> Result<Runner, Error> {
        let tokens = match step {
            TimedStep::OneToken => 1,
            TimedStep::FewTokens => FEW_TOKENS.min(tuning.chunk),
            TimedStep::Chunk => tuning.chunk,
        };
        let model = self.model.with_tuning(Tuning {
            chunk: tokens,
            ..tuning
        })?;
        let vocab = self.model.hyperparameters().vocab as u32;
        let mut session = GpuSession::new(Arc::new(model))?;
        session.prepare(tokens as usize, Wanted::Last)?;
        Ok(Runner {
            session,
            tokens: (0..tokens).map(|token| token * 7919 % vocab).collect(),
        })
    }

    /// The seconds that a step takes, on average over some.
    fn seconds(&self, runner: &mut Runner, steps: usize) -> Result<f64, Error> {
        runner.session.reset();
        let start = Instant::now();
        for _ in 0..steps {
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            runner.session.forward(&runner.tokens, Wanted::Last)?;
        }
        Ok(start.elapsed().as_secs_f64() / steps as f64)
    }
}

/// A sequence that reads the same tokens again and again.
struct Runner {
    session: GpuSession,
    tokens: Vec<u32>,
}

/// Whether a candidate cannot be had while others can.
fn is_refusal(error: &Error) -> bool {
    use thalweg_gpu::Error::{Limit, OutOfMemory, Pipeline, Validation};
    matches!(
        error,
        Error::Setting { .. }
            | Error::Gpu(Limit { .. } | OutOfMemory { .. } | Pipeline { .. } | Validation { .. })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_has_to_be_two_percent_faster() {
        let is_taken = |after| {
            Outcome::Timed {
                seconds: [1.0, after],
            }
            .is_taken()
        };
        assert!(is_taken(0.5) && is_taken(0.979));
        assert!(!is_taken(0.99) && !is_taken(1.5) && !is_taken(f64::NAN));
        assert!(!Outcome::NotTried.is_taken() && !Outcome::Impossible(String::new()).is_taken());
    }
}
