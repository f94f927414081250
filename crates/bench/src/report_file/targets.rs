//! What was to be reached, and what is missing to it.

use super::results::{Named, Results};
use super::words;
use crate::{Activations, Case, Report, Table, Task};

/// A rate that was to be reached on an H200, in tokens a second of all sequences together.
struct Target {
    model: Shape,
    how: How,
    task: Task,
    /// Tokens of a prompt, or sequences.
    size: usize,
    tokens_per_s: f64,
}

/// A model by its layers and width.
type Shape = (&'static str, usize, usize);

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Fast,
    FastQ8,
    Exact,
    /// Exact, by the kernels that need no optional feature.
    Plain,
}

const DEVICE: &str = "H200";

const SMALL: Shape = ("0.1B", 12, 768);
const MIDDLE: Shape = ("2.9B", 32, 2560);
const LARGE: Shape = ("7.2B", 32, 4096);

const TARGETS: [Target; 17] = [
    prompt(MIDDLE, How::Fast, 64, 7_000.0),
    prompt(MIDDLE, How::Fast, 512, 13_000.0),
    prompt(MIDDLE, How::Fast, 1024, 16_000.0),
    prompt(MIDDLE, How::Fast, 2048, 16_000.0),
    prompt(MIDDLE, How::Exact, 1024, 4_000.0),
    prompt(MIDDLE, How::Plain, 1024, 3_400.0),
    sequences(MIDDLE, How::Fast, 1, 400.0),
    sequences(MIDDLE, How::FastQ8, 1, 600.0),
    sequences(MIDDLE, How::Plain, 1, 350.0),
    sequences(MIDDLE, How::Fast, 8, 2_200.0),
    sequences(MIDDLE, How::Fast, 32, 5_500.0),
    sequences(MIDDLE, How::Fast, 64, 8_500.0),
    sequences(MIDDLE, How::Fast, 256, 12_000.0),
    prompt(SMALL, How::Fast, 1024, 70_000.0),
    sequences(SMALL, How::Fast, 1, 1_400.0),
    prompt(LARGE, How::Fast, 1024, 8_000.0),
    sequences(LARGE, How::Fast, 1, 240.0),
];

const fn prompt(model: Shape, how: How, size: usize, tokens_per_s: f64) -> Target {
    Target {
        model,
        how,
        task: Task::Prefill,
        size,
        tokens_per_s,
    }
}

const fn sequences(model: Shape, how: How, size: usize, tokens_per_s: f64) -> Target {
    Target {
        model,
        how,
        task: Task::Decode,
        size,
        tokens_per_s,
    }
}

/// The targets, with the best that any run on their device came to.
pub(super) fn targets(results: &Results) -> String {
    let mut table = Table::new([
        "model",
        "how",
        "what",
        "wanted tok/s",
        "measured",
        "of it",
        "reached",
        "run",
        "test",
    ]);
    let runs = || {
        results
            .runs
            .iter()
            .filter(|run| run.content.device.name.contains(DEVICE))
    };
    for target in &TARGETS {
        let cases = runs().flat_map(|run| run.content.cases.iter().map(move |case| (run, case)));
        let of_target = cases.filter(|(run, case)| target.is_of(&run.content, case));
        let rated =
            of_target.filter_map(|(run, case)| Some((case.tokens_per_s()?.median, run, case)));
        let best = rated.max_by(|(one, ..), (other, ..)| one.total_cmp(other));
        let fixed = [
            target.model.0.to_owned(),
            target.how.name().to_owned(),
            target.what(),
            words::rate(target.tokens_per_s),
        ];
        table.row(fixed.into_iter().chain(target.outcome(best)));
    }
    match runs().next() {
        None => String::new(),
        Some(_) => format!(
            "On an {DEVICE}. The best of all runs counts, whatever their commits, chunk sizes, block sizes and ways to decode.\n\n{table}"
        ),
    }
}

impl How {
    fn name(self) -> &'static str {
        match self {
            How::Fast => "fast",
            How::FastQ8 => "fast, q8",
            How::Exact => "exact",
            How::Plain => "exact, plain kernels",
        }
    }

    fn of(run: &Report, case: &Case) -> Option<How> {
        let are_features_off = run
            .arguments
            .iter()
            .any(|argument| argument.starts_with("--features-off"));
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

impl Target {
    fn what(&self) -> String {
        match (self.task, self.size) {
            (Task::Prefill, tokens) => format!("a prompt of {tokens}"),
            (_, 1) => "decoding".to_owned(),
            (_, sequences) => format!("{sequences} sequences"),
        }
    }

    fn is_of(&self, run: &Report, case: &Case) -> bool {
        let setting = &case.setting;
        let size = match (self.task, setting.task) {
            (Task::Prefill, Task::Prefill) => setting.tokens,
            (Task::Prefill, _) | (_, Task::Prefill) => return false,
            _ => setting.sequences,
        };
        let (_, layers, width) = self.model;
        (run.model.layers, run.model.width) == (layers, width)
            && (size, setting.depth) == (self.size, 0)
            && How::of(run, case) == Some(self.how)
    }

    fn outcome(&self, best: Option<(f64, &Named<Report>, &Case)>) -> [String; 5] {
        let Some((rate, run, case)) = best else {
            return [
                "no raw result".to_owned(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ];
        };
        let reached = if rate >= self.tokens_per_s {
            "yes"
        } else {
            "**no**"
        };
        [
            words::rate(rate),
            format!("{:.0} %", 100.0 * rate / self.tokens_per_s),
            reached.to_owned(),
            words::name(&run.label),
            case.setting.test().to_string(),
        ]
    }
}
