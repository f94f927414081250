//! Build tasks of the workspace: `cargo xtask TASK`.

// A build task talks to the person who started it.
#![allow(clippy::print_stderr)]

mod adapter;
mod bench_check;
mod check_targets;
mod conformance;
mod machine;
mod shell;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::machine::Consent;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build tasks of the workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the machine ready and run all tests of the workspace.
    Test {
        #[command(flatten)]
        consent: Consent,
    },
    /// Compare the model and the tokenizer with reference data that is not part of the repository.
    Conformance {
        /// The folder with `models` and `golden` in it.
        dir: PathBuf,
        #[command(flatten)]
        consent: Consent,
    },
    /// Compare what steps of a model ask of a device and of the heap with what they are expected to.
    BenchCheck {
        /// Write what is found as what is expected from now on.
        #[arg(long)]
        bless: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Type-check the workspace for Windows and macOS, and its libraries for the browser.
    CheckTargets {
        #[command(flatten)]
        consent: Consent,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test { consent } => test::run(&consent),
        Task::Conformance { dir, consent } => conformance::run(&dir, &consent),
        Task::BenchCheck { bless, consent } => bench_check::run(bless, &consent),
        Task::CheckTargets { consent } => check_targets::run(&consent),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
