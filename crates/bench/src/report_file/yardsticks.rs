//! What our figures are held against that is no raw result: targets, and figures of others that were written down.

use serde::Deserialize;

use super::results::{Named, Results};
use super::words;
use crate::{Activations, Case, Error, Report, Task};

/// What was to be reached on a device.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Targets {
    /// A part of the device's name.
    pub(super) device: String,
    /// Who set them.
    pub(super) source: String,
    pub(super) models: Vec<Shape>,
    pub(super) targets: Vec<Target>,
}

/// What others do on a device.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peers {
    /// A part of the device's name.
    pub(super) device: String,
    /// What of ours stands beside them.
    pub(super) beside: How,
    /// Where the figures come from.
    pub(super) source: String,
    pub(super) models: Vec<Shape>,
    pub(super) peers: Vec<Peer>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) name: String,
    /// How it was run.
    pub(super) how: String,
    pub(super) figures: Vec<Figure>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub(super) model: String,
    pub(super) how: How,
    pub(super) task: Work,
    pub(super) size: usize,
    pub(super) tokens_per_s: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Figure {
    pub(super) model: String,
    pub(super) task: Work,
    pub(super) size: usize,
    pub(super) tokens_per_s: f64,
}

/// A model by what tells shapes apart.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    pub(super) name: String,
    layers: usize,
    width: usize,
}

/// What is done, whose size is a number of tokens or of sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Work {
    /// A prompt of so many tokens.
    Prefill,
    /// Single tokens of so many sequences, however they are chosen and waited for.
    Decode,
}

/// The arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    Fast,
    FastQ8,
    Exact,
    /// Exact, by the kernels that need no optional feature.
    Plain,
}

/// The best of ours.
pub(super) struct Best<'a> {
    pub(super) tokens_per_s: f64,
    pub(super) run: &'a Named<Report>,
    pub(super) case: &'a Case,
}

impl Targets {
    pub(super) fn from_json(text: &str) -> Result<Targets, Error> {
        let read: Targets = serde_json::from_str(text).map_err(Error::Yardstick)?;
        for target in &read.targets {
            check(
                &read.models,
                &target.model,
                target.size,
                target.tokens_per_s,
            )?;
        }
        Ok(read)
    }
}

impl Peers {
    pub(super) fn from_json(text: &str) -> Result<Peers, Error> {
        let read: Peers = serde_json::from_str(text).map_err(Error::Yardstick)?;
        for figure in read.peers.iter().flat_map(|peer| &peer.figures) {
            check(
                &read.models,
                &figure.model,
                figure.size,
                figure.tokens_per_s,
            )?;
        }
        Ok(read)
    }
}

/// Refuses a figure of no known model, of nothing, or that is no rate.
fn check(models: &[Shape], model: &str, size: usize, tokens_per_s: f64) -> Result<(), Error> {
    let is_known = models.iter().any(|shape| shape.name == model);
    let is_rate = tokens_per_s.is_finite() && tokens_per_s > 0.0;
    match is_known && is_rate && size > 0 {
        true => Ok(()),
        false => Err(Error::Figure {
            model: model.to_owned(),
            size,
            tokens_per_s,
        }),
    }
}

impl Results {
    /// The best of ours that does the work on such a device, if a run does.
    pub(super) fn best(
        &self,
        device: &str,
        model: &Shape,
        how: How,
        (task, size): (Work, usize),
    ) -> Option<Best<'_>> {
        let runs = self.runs.iter().filter(|Named { content, .. }| {
            content.device.name.contains(device)
                && (content.model.layers, content.model.width) == (model.layers, model.width)
        });
        let cases = runs.flat_map(|run| run.content.cases.iter().map(move |case| (run, case)));
        let alike = cases.filter(|(run, case)| {
            How::of(&run.content, case) == Some(how)
                && task.size(case) == Some(size)
                && case.setting.depth == 0
        });
        let rated = alike.filter_map(|(run, case)| {
            Some(Best {
                tokens_per_s: case.tokens_per_s()?.median,
                run,
                case,
            })
        });
        rated.max_by(|one, other| one.tokens_per_s.total_cmp(&other.tokens_per_s))
    }

    /// Whether a run is of such a device.
    pub(super) fn has_device(&self, device: &str) -> bool {
        let mut runs = self.runs.iter();
        runs.any(|run| run.content.device.name.contains(device))
    }
}

impl Best<'_> {
    /// The run and the test, for a cell.
    pub(super) fn place(&self) -> [String; 2] {
        [
            words::name(&self.run.label),
            self.case.setting.test().to_string(),
        ]
    }
}

impl Work {
    /// The case's size if it does such work.
    fn size(self, case: &Case) -> Option<usize> {
        match (self, case.setting.task) {
            (Work::Prefill, Task::Prefill) => Some(case.setting.tokens),
            (Work::Prefill, _) | (_, Task::Prefill) => None,
            _ => Some(case.setting.sequences),
        }
    }

    /// What it is called.
    pub(super) fn name(self, size: usize) -> String {
        match (self, size) {
            (Work::Prefill, tokens) => format!("a prompt of {tokens}"),
            (Work::Decode, 1) => "decoding".to_owned(),
            (Work::Decode, sequences) => format!("decoding, {sequences} sequences"),
        }
    }
}

impl How {
    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            How::Fast => "fast",
            How::FastQ8 => "fast, q8",
            How::Exact => "exact",
            How::Plain => "exact, plain kernels",
        }
    }

    fn of(run: &Report, case: &Case) -> Option<How> {
        let mut arguments = run.arguments.iter();
        let are_features_off = arguments.any(|argument| argument.starts_with("--features-off"));
        match (
            run.device.precision.as_str(),
            case.setting.activations,
            are_features_off,
        ) {
            ("fast", Activations::F32, false) => Some(How::Fast),
            ("fast", Activations::Q8, false) => Some(How::FastQ8),
            ("exact", Activations::F32, false) => Some(How::Exact),
            ("exact", Activations::F32, true) => Some(How::Plain),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = r#"{"device": "a", "source": "b", "models": [{"name": "S", "layers": 1, "width": 2}],
        "targets": [{"model": "S", "how": "fast-q8", "task": "decode", "size": 8, "tokens_per_s": 5}]}"#;

    #[test]
    fn figures_that_make_no_sense_are_refused() {
        assert_eq!(
            Targets::from_json(TARGETS).unwrap().targets[0].how,
            How::FastQ8
        );
        let fault = |from: &str, to: &str| {
            assert!(TARGETS.contains(from));
            Targets::from_json(&TARGETS.replace(from, to)).unwrap_err()
        };
        assert!(matches!(fault("fast-q8", "slow"), Error::Yardstick(_)));
        assert!(matches!(fault("\"size\"", "\"of\""), Error::Yardstick(_)));
        for (from, to) in [
            (": 5", ": 0"),
            (": 5", ": -1"),
            (": 8", ": 0"),
            ("model\": \"S", "model\": \"T"),
        ] {
            assert!(matches!(fault(from, to), Error::Figure { .. }), "{to}");
        }
    }
}
