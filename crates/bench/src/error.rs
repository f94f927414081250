//! What can be wrong with results.

use crate::{MarkerFault, Model};

/// Why results cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no JSON, or not that of a report.
    #[error(
        "found no report of `thalweg bench`: {0}; expected what `thalweg bench -o json` or `-o jsonl` prints"
    )]
    Json(serde_json::Error),
    /// There is nothing in the file.
    #[error("found an empty file, expected what `thalweg bench -o json` or `-o jsonl` prints")]
    NoReport,
    /// A sample is no time.
    #[error("found a sample of {found} s in {test}, expected 1e-9 s to 1e9 s; measure it again")]
    Sample {
        /// The test.
        test: String,
        /// The sample.
        found: f64,
    },
    /// A case is of no token, no sequence, or chunks of no token.
    #[error(
        "found a case of no token, sequence or chunk, {test}, expected one of each at least; measure it again"
    )]
    NothingRead {
        /// The test.
        test: String,
    },
    /// The lines are of several runs.
    #[error("found lines of several runs: {0}; keep each run in a file of its own")]
    Mixed(String),
    /// The text is no JSON, or not that of llama-bench.
    #[error(
        "found no result of llama-bench: {0}; expected what `llama-bench -o json` or `-o jsonl` prints"
    )]
    LlamaBench(serde_json::Error),
    /// Nothing of llama-bench's results can be set against ours.
    #[error(
        "found no pp or tg test of llama-bench in it, expected one at least; run `llama-bench -p 512 -n 128 -o json`"
    )]
    NoLlamaBench,
    /// The text is not that of a profile.
    #[error("found no profile: {0}; expected what `thalweg profile -o json` prints")]
    Profile(serde_json::Error),
    /// The text is not that of small operations.
    #[error("found no operations: {0}; expected what `thalweg bench --ops -o json` prints")]
    Operations(serde_json::Error),
    /// The text is not that of targets, or of figures of others.
    #[error(
        "found neither targets nor figures of others: {0}; expected a device, models, and what each is held against, as in \
         assets/results"
    )]
    Yardstick(serde_json::Error),
    /// A target or a figure of others makes no sense.
    #[error(
        "found {tokens_per_s} tok/s of {size} tokens or sequences of the model '{model}', expected a positive rate of one at least, \
         and a model that the file describes; correct it"
    )]
    Figure {
        /// The model's name.
        model: String,
        /// Tokens or sequences.
        size: usize,
        /// The rate.
        tokens_per_s: f64,
    },
    /// Runs call different models the same.
    #[error(
        "{one} and {other} are of different models, {} layers of width {} and {} of {}, both called {name}; expected a name for \
         each; keep them in different folders", .models[0].layers, .models[0].width, .models[1].layers, .models[1].width
    )]
    OneName {
        /// What both are called.
        name: String,
        /// The first run.
        one: String,
        /// The run of another model.
        other: String,
        /// The models of both.
        models: Box<[Model; 2]>,
    },
    /// The text is not that of figures, or a figure is no number.
    #[error("found no figures: {0}; expected what `engine-figures --json` prints")]
    Figures(serde_json::Error),
    /// JSON that is no result.
    #[error(
        "found JSON of another kind, expected what `thalweg bench`, `thalweg profile` or `llama-bench` prints with `-o json`; \
         keep it in another folder"
    )]
    NoResult,
    /// A marker of a report is broken.
    #[error(
        "line {line}: {fault}; expected `<!-- generated: NAME -->` and `<!-- end -->`, each on a line of its own, with a NAME as \
         in a new report"
    )]
    Marker {
        /// The line, counted from one.
        line: usize,
        /// What is wrong with it.
        fault: MarkerFault,
    },
    /// A report has no place for what is generated.
    #[error(
        "found no place for what is generated, expected `<!-- generated: claim -->` and `<!-- end -->` at least; add them, or \
         name a file that does not exist"
    )]
    NoMarkers,
    /// The runs are of models that differ in size.
    #[error(
        "{one} and {other} are different models ({} layers of width {} and {} of {}), expected one model; compare runs of \
         the same one", .models[0].layers, .models[0].width, .models[1].layers, .models[1].width
    )]
    DifferentModels {
        /// The first run.
        one: String,
        /// The run with another model.
        other: String,
        /// The models of both.
        models: Box<[Model; 2]>,
    },
    /// Nothing can be set side by side.
    #[error(
        "the runs have no test in common, expected one at least; measure the same tests in each"
    )]
    NothingInCommon,
    /// A picture could not be drawn.
    #[error("cannot draw {picture}: {fault}; leave --plot out, and report this")]
    Picture {
        /// The picture's name.
        picture: String,
        /// What the drawing library says.
        fault: String,
    },
}
