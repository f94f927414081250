//! `thalweg bench --check`: before anything is measured, results are held against those of the CPU twins of the same weights.
//!
//! The twins read a few dozen tokens and go on greedily, which takes seconds for the largest models. The device reads the same in
//! ragged chunks, token by token, several sequences at once, and in a loop. Long chunks are then held against short ones of the
//! device itself, which by then are known to be right.

mod expected;
mod several;

use std::time::Instant;

use indicatif::ProgressBar;
use thalweg_bench::{Activations, Check, Device, Finding, tolerance};
use thalweg_rwkv::{Error, Session, State, Wanted};

use super::action::stop_if_interrupted;
use super::plan::{Place, Plan, Sequences};
use crate::failure::Failure;
use crate::flags;
use crate::model::{Compute, Model, SharedModel};
use crate::output;
use crate::some_ids::some_ids;
use expected::{Expected, SEQUENCES, STEPS};

/// A single sequence, with a chunk of one token between others.
const CUTS_ALONE: [usize; 3] = [17, 1, 15];
/// Short chunks, which long ones are held against, in tokens.
const SHORT: usize = 33;
/// Tokens behind a whole chunk, so that the next one is ragged.
const BEHIND: usize = 9;

/// Compares what each kind of activations comes to, in whatever sizes the plan measures it, with what it should be.
pub(super) fn run(
    compute: &Compute<'_>,
    shared: &SharedModel,
    plan: &Plan,
    activations: &[flags::Activations],
    device: &Device,
) -> Result<Check, Failure> {
    let start = Instant::now();
    let bar = output::progress(1 + plan.places.len(), 0, "checking");
    let expected = Expected::of_twins(shared)?;
    bar.inc(1);
    let mut findings = Vec::new();
    for (index, &kind) in activations.iter().enumerate() {
        if activations[..index].contains(&kind) {
            continue;
        }
        let compute = compute.with_activations(kind);
        let checking = Checking {
            compute: &compute,
            shared,
            activations: of_report(kind),
            tolerance: tolerance(device, of_report(kind)),
            is_on_cpu: device.backend == "cpu",
        };
        let of_kind = |place: &&Place| place.activations == kind;
        let places: Vec<&Place> = plan.places.iter().filter(of_kind).collect();
        findings.extend(checking.all(&expected, &places, &bar)?);
    }
    bar.finish_and_clear();
    Ok(Check {
        seconds: start.elapsed().as_secs_f64(),
        findings,
    })
}

/// What is to be said of a device that computes wrongly; none if it does not.
pub(super) fn failure(check: &Check, device: &Device) -> Option<Failure> {
    let wrong = check.faults().next()?;
    let others = match check.faults().count() - 1 {
        0 => String::new(),
        others => format!(
            " ({others} more of {} comparisons fail)",
            check.findings.len()
        ),
    };
    Some(Failure::Device(format!(
        "{} computes wrongly: {}, activations {}: {}{others}; nothing was measured; try another driver, \
         --features-off subgroup,f16,coop,dot4, --no-tuned or another --backend, and report this",
        device.name,
        wrong.what,
        wrong.activations.name(),
        wrong.differences(),
    )))
}

fn of_report(activations: flags::Activations) -> Activations {
    match activations {
        flags::Activations::F32 => Activations::F32,
        flags::Activations::Q8 => Activations::Q8,
    }
}

/// The comparisons of one kind of activations.
struct Checking<'a> {
    compute: &'a Compute<'a>,
    shared: &'a SharedModel,
    activations: Activations,
    tolerance: f64,
    is_on_cpu: bool,
}

/// What a device should come to behind so many tokens.
struct Stop {
    tokens: usize,
    logits: Vec<f32>,
    state: State,
}

impl Checking<'_> {
    fn all(
        &self,
        expected: &[Expected; SEQUENCES],
        places: &[&Place],
        bar: &ProgressBar,
    ) -> Result<Vec<Finding>, Failure> {
        let mut findings = vec![self.one_sequence(&expected[0])?];
        let stops = self.stops(places)?;
        let mut numbers = Vec::new();
        for place in places {
            match place.sequences {
                Sequences::One(..) => findings.extend(self.long_chunks(place, &stops)?),
                Sequences::Batch(_) => numbers.extend(place.numbers()),
            }
            bar.inc(1);
        }
        findings.extend(self.several_sequences(expected, &numbers)?);
        Ok(findings)
    }

    fn finding(&self, what: String, reference: &str) -> Finding {
        Finding::new(what, reference, self.activations, self.tolerance)
    }

    fn finding_of_twins(&self, what: String) -> Finding {
        self.finding(
            what,
            match self.is_on_cpu {
                true => "the CPU twins, that is itself in one chunk",
                false => "the CPU twins",
            },
        )
    }

    fn start(&self, place: Sequences) -> Result<Model, Failure> {
        let (chunk_size, block_size) = match place {
            Sequences::One(chunk_size, block_size) => (chunk_size, block_size),
            Sequences::Batch(_) => (None, None),
        };
        self.compute
            .start_shared(self.shared, chunk_size, block_size)
    }

    /// One sequence in ragged chunks, then token by token.
    fn one_sequence(&self, expected: &Expected) -> Result<Finding, Failure> {
        let mut finding = self.finding_of_twins(format!(
            "a prompt in chunks of 17, 1 and 15 tokens, then {STEPS} single tokens"
        ));
        let mut model = self.start(Sequences::One(None, None))?;
        let mut read = 0;
        for length in CUTS_ALONE.into_iter().chain([1; STEPS]) {
            let tokens = &expected.tokens[read..read + length];
            let Some(logits) = forward(model.session.as_mut(), tokens, Wanted::Last, &mut finding)?
            else {
                return Ok(finding);
            };
            read += length;
            finding.compare_logits(&logits, expected.logits_behind(read));
        }
        compare_states(&mut finding, &model.session.state()?, &expected.end);
        Ok(finding)
    }

    /// What the device comes to in short chunks, wherever a place of the plan is to be held against it.
    fn stops(&self, places: &[&Place]) -> Result<Vec<Stop>, Failure> {
        let mut lengths = Vec::new();
        for place in places.iter().filter(|place| place.longest_prompt() > 0) {
            lengths.push(self.tokens_of(place, &self.start(place.sequences)?));
        }
        lengths.sort_unstable();
        lengths.dedup();
        let mut model = self.start(Sequences::One(None, None))?;
        let session = model.session.as_mut();
        let ids = some_ids(
            lengths.last().copied().unwrap_or(0),
            session.hyperparameters().vocab,
        );
        let mut stops = Vec::new();
        let mut read = 0;
        for tokens in lengths {
            let mut logits = Vec::new();
            while read < tokens {
                stop_if_interrupted()?;
                let end = (read + SHORT).min(tokens);
                logits = session.forward(&ids[read..end], Wanted::Last)?;
                read = end;
            }
            let state = session.state()?;
            stops.push(Stop {
                tokens,
                logits,
                state,
            });
        }
        Ok(stops)
    }

    /// A whole chunk of the place, as far as its prompts fill it, and some more.
    fn tokens_of(&self, place: &Place, model: &Model) -> usize {
        model.chunk_size.tokens().min(place.longest_prompt()) + BEHIND
    }

    /// A prompt in the chunks that the place measures; nothing if it measures none.
    fn long_chunks(&self, place: &Place, stops: &[Stop]) -> Result<Option<Finding>, Failure> {
        if place.longest_prompt() == 0 {
            return Ok(None);
        }
        let mut model = self.start(place.sequences)?;
        let (tokens, chunk) = (self.tokens_of(place, &model), model.chunk_size.tokens());
        let Some(stop) = stops.iter().find(|stop| stop.tokens == tokens) else {
            return Ok(None);
        };
        let block = model.block_size;
        let block = block.map_or_else(String::new, |size| format!(", block size {size}"));
        let mut finding = self.finding(
            format!("a prompt of {tokens} tokens in chunks of {chunk}{block}"),
            &format!("itself in chunks of {SHORT}"),
        );
        let ids = some_ids(tokens, model.session.hyperparameters().vocab);
        let mut logits = Vec::new();
        for ids in ids.chunks(chunk) {
            match forward(model.session.as_mut(), ids, Wanted::Last, &mut finding)? {
                Some(found) => logits = found,
                None => return Ok(Some(finding)),
            }
        }
        finding.compare_logits(&logits, &stop.logits);
        compare_states(&mut finding, &model.session.state()?, &stop.state);
        Ok(Some(finding))
    }
}

/// Reads the tokens; nothing if the numbers run away, which is noted.
fn forward(
    session: &mut dyn Session,
    tokens: &[u32],
    wanted: Wanted,
    finding: &mut Finding,
) -> Result<Option<Vec<f32>>, Failure> {
    stop_if_interrupted()?;
    finding.tokens += tokens.len();
    or_lost(session.forward(tokens, wanted), finding)
}

/// Notes numbers that run away: those of the twins did not, so the model is not to blame.
fn or_lost<T>(result: Result<T, Error>, finding: &mut Finding) -> Result<Option<T>, Failure> {
    match result {
        Err(Error::NonFinite { .. } | Error::Runaway { .. }) => {
            finding.ran_away();
            Ok(None)
        }
        result => Ok(Some(result?)),
    }
}

fn compare_states(finding: &mut Finding, found: &State, expected: &State) {
    finding.compare_state(parts(found), parts(expected));
}

fn parts(state: &State) -> [&[f32]; 3] {
    [&state.att_shift, &state.ffn_shift, &state.wkv]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device {
            backend: "vulkan".to_owned(),
            name: "A card".to_owned(),
            driver: String::new(),
            features: Vec::new(),
            precision: "exact".to_owned(),
        }
    }

    fn check(logit: f32) -> Check {
        let mut finding = Finding::new(
            "a prompt".to_owned(),
            "the CPU twins",
            Activations::F32,
            tolerance(&device(), Activations::F32),
        );
        finding.compare_logits(&[0.0, logit], &[0.0, 1.0]);
        Check {
            seconds: 1.0,
            findings: vec![finding],
        }
    }

    #[test]
    fn a_device_that_computes_wrongly_is_at_fault() {
        assert!(failure(&check(1.0001), &device()).is_none());
        for wrong in [1.01, f32::NAN] {
            match failure(&check(wrong), &device()) {
                Some(Failure::Device(message)) => assert!(
                    message.starts_with("A card computes wrongly: a prompt, activations f32: "),
                    "{message}"
                ),
                other => panic!("{other:?}"),
            }
        }
    }
}
