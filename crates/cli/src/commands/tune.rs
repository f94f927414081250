//! `thalweg tune`: find out how a device runs a model fastest, and remember it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thalweg_bench::Table;

use crate::failure::Failure;
use crate::flags::{Activations, ComputeFlags, ModelPath, Precision};
use crate::tuner::{Outcome, Trial, Tuned, Tuner};
use crate::{interrupt, output, tuned};

const AFTER_HELP: &str = "\
Whole steps of the model are timed, of one token, of 64 and of as many as are read at once, with one choice changed at \
a time. A candidate replaces what was chosen before if it is at least 2 % faster. What is found is kept in the user's \
cache folder (THALWEG_CACHE_DIR names another) for this model on this device with this driver and arithmetic; \
generate, chat, bench, perplexity and logits use it unless told --no-tuned. Their results change by rounding at most. \
Ctrl-C ends it and keeps nothing.

Examples:
  thalweg tune -m model.gguf
  thalweg tune -m model.gguf --precision exact       for perplexity and logits, which compute so
  thalweg tune -m model.gguf --json > tuning.json";

/// Find out how this device runs a model fastest
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    path: ModelPath,

    /// Try nothing more when so many seconds have passed since the start
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// What matrices meet: those of integers can meet activations rounded to 8 bits, 16 of them sharing a scale
    #[arg(long, value_enum, default_value_t = Activations::F32)]
    activations: Activations,

    #[command(flatten)]
    compute: ComputeFlags,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(args.seconds.into());
    let file = args.path.open()?;
    let compute = args.compute.open(Precision::Fast, args.activations)?;
    let place = compute.place_of_tuning(&file)?;
    let model = compute.load_untuned(&file)?;
    let _kernels = compute.kernels();
    let tuner = Tuner {
        model: &model,
        deadline,
        interrupt: interrupt::watch(),
    };
    let tuned = tuner.run()?;
    let kept_in = match place {
        Some((path, key)) => {
            tuned::save(&path, &key, &tuned.tuning)?;
            Some(path)
        }
        None => None,
    };
    if args.json {
        output::line(as_json(&tuned, kept_in.as_deref()))?;
    } else {
        output::write(table(&tuned.trials).to_string().as_bytes())?;
    }
    summarize(&tuned, kept_in.as_deref(), args.seconds);
    Ok(())
}

fn as_json(tuned: &Tuned, kept_in: Option<&Path>) -> Value {
    json!({
        "tuning": tuned.tuning,
        "kept_in": kept_in,
        "trials": tuned.trials.iter().map(trial_as_json).collect::<Value>(),
    })
}

fn trial_as_json(trial: &Trial) -> Value {
    let [before, candidate] = &trial.values;
    let (seconds, impossible) = match &trial.outcome {
        Outcome::Timed { seconds } => (json!(seconds), Value::Null),
        Outcome::Impossible(reason) => (Value::Null, json!(reason)),
        Outcome::NotTried => (Value::Null, Value::Null),
    };
    json!({
        "choice": trial.knob.name,
        "before": before,
        "candidate": candidate,
        "seconds_per_token": seconds,
        "impossible": impossible,
        "taken": trial.outcome.is_taken(),
    })
}

fn table(trials: &[Trial]) -> Table {
    let headings = [
        "choice",
        "before",
        "candidate",
        "tok/s before",
        "tok/s then",
        "gain",
        "outcome",
    ];
    let mut table = Table::new(headings);
    for trial in trials {
        let mut cells = vec![trial.knob.name.to_owned()];
        cells.extend(trial.values.clone());
        cells.extend(match &trial.outcome {
            Outcome::Timed {
                seconds: [before, after],
            } => {
                let verdict = if trial.outcome.is_taken() {
                    "taken"
                } else {
                    ""
                };
                [
                    format!("{:.1}", 1.0 / before),
                    format!("{:.1}", 1.0 / after),
                    format!("{:+.1} %", 100.0 * (before / after - 1.0)),
                    verdict.to_owned(),
                ]
            }
            Outcome::Impossible(reason) => {
                [String::new(), String::new(), String::new(), reason.clone()]
            }
            Outcome::NotTried => [
                String::new(),
                String::new(),
                String::new(),
                "no time left".to_owned(),
            ],
        });
        table.row(cells);
    }
    table
}

fn summarize(tuned: &Tuned, kept_in: Option<&Path>, seconds: u16) {
    let not_tried = tuned
        .trials
        .iter()
        .filter(|trial| matches!(trial.outcome, Outcome::NotTried));
    let not_tried = not_tried.count();
    if not_tried > 0 {
        output::note(format_args!(
            "{not_tried} of {} candidates were not tried within {seconds} s; --seconds gives more time",
            tuned.trials.len()
        ));
    }
    let taken = tuned
        .trials
        .iter()
        .filter(|trial| trial.outcome.is_taken())
        .count();
    match kept_in {
        Some(path) => output::note(format_args!(
            "{taken} candidates taken, kept in {}",
            path.display()
        )),
        None => output::note(format_args!(
            "{taken} candidates taken, but there is no cache folder to keep that in; THALWEG_CACHE_DIR names one"
        )),
    }
}
