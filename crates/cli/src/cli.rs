//! The commands and what `--help` says of the whole.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    batch, bench, chat, compare, completions, devices, generate, info, logits, perplexity, profile,
    tokenize, tune,
};
use crate::failure::Failure;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("THALWEG_COMMIT"), ")");

const AFTER_HELP: &str = "\
Examples:
  thalweg generate -p \"Once upon a time\"              a story by the demo model
  thalweg generate -m model.gguf -f prompt.txt -n 500
  thalweg chat -m model.gguf
  thalweg batch -m model.gguf -i prompts.jsonl -o replies.jsonl
  thalweg info model.gguf --tensors

Exit codes:
  0 success    2 usage    3 model, prompts or logits at fault    4 device    5 path    130 interrupted";

/// Run RWKV-7 language models from GGUF files.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version = VERSION, after_help = AFTER_HELP, arg_required_else_help = false)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(generate::Args),
    Chat(chat::Args),
    Batch(batch::Args),
    Perplexity(perplexity::Args),
    Logits(logits::Args),
    Tokenize(tokenize::Args),
    Info(info::Args),
    Devices(devices::Args),
    Bench(bench::Args),
    Compare(compare::Args),
    Profile(profile::Args),
    Tune(tune::Args),
    Completions(completions::Args),
}

/// The program with its version, for reports.
pub(crate) fn program() -> String {
    format!("thalweg {VERSION}")
}

/// The operating system and the processor's architecture, for reports.
pub(crate) fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

impl Cli {
    /// Understands the command line. To every flag -1 is a number, and wrong at most, rather than an unknown flag.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let negative = |arg: clap::Arg| match arg.get_action().takes_values() {
            true => arg.allow_negative_numbers(true),
            false => arg,
        };
        let definition = Self::command().mut_subcommands(|command| command.mut_args(negative));
        Self::from_arg_matches(&definition.try_get_matches()?)
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Generate(args) => generate::run(&args),
            Command::Chat(args) => chat::run(&args),
            Command::Batch(args) => batch::run(&args),
            Command::Perplexity(args) => perplexity::run(&args),
            Command::Logits(args) => logits::run(&args),
            Command::Tokenize(args) => tokenize::run(&args),
            Command::Info(args) => info::run(&args),
            Command::Devices(args) => devices::run(&args),
            Command::Bench(args) => bench::run(&args),
            Command::Compare(args) => compare::run(&args),
            Command::Profile(args) => profile::run(&args),
            Command::Tune(args) => tune::run(&args),
            Command::Completions(args) => completions::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
