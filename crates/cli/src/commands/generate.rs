//! `thalweg generate`: continue a text.

use std::sync::Arc;

use thalweg_engine::{Ending, Finish, SamplerSettings, Until, encode_prompt};
use thalweg_tokenizer::Tokenizer;

use crate::failure::Failure;
use crate::flags::{ModelFlags, Precision, SamplerFlags, Text, whole_number};
use crate::model::{Slots, Writing};
use crate::output;
use crate::prompt_cache::PromptCacheFlags;
use crate::speculation::{GuessReport, SpeculationFlags};

const AFTER_HELP: &str = "\
Standard output holds the generated text alone, streamed as it comes; progress and the summary go to standard error. \
On a terminal the prompt is shown in front of the text, through standard error. The final line break of a prompt from \
a file or a pipe is dropped. Ctrl-C stops after the current token, a second one at once.

Examples:
  thalweg generate -p \"Once upon a time\"
  thalweg generate -m model.gguf -f prompt.txt -n 500 --temp 0.8 --seed 1 > story.txt
  thalweg generate -m model.gguf -f prompt.txt --draft-model small.gguf
  echo \"The old house\" | thalweg generate --temp 0";

/// Continue a text
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    text: Text,

    /// Tokens to generate at most
    #[arg(short = 'n', long, value_name = "N", value_parser = whole_number::<usize>, default_value_t = 256)]
    tokens: usize,

    /// Write the prompt to standard output before the text
    #[arg(long)]
    echo: bool,

    #[command(flatten)]
    sampler: SamplerFlags,

    #[command(flatten)]
    prompt_cache: PromptCacheFlags,

    #[command(flatten)]
    speculation: SpeculationFlags,

    #[command(flatten)]
    model: ModelFlags,
}

/// For the text, and for the state before a loop of steps, which is gone back to if the text ends within it.
const SLOTS: Slots = Slots::Alone(2);

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.sampler.settings()?;
    let prompt = args.text.read_prompt()?;
    let file = args.model.open()?;
    let tokenizer = Tokenizer::from_gguf(file.metadata())?;
    let guessing = args.speculation.open(&tokenizer)?;
    let tokens = encode_prompt(&tokenizer, &prompt)?;
    let until = Until {
        tokens: args.tokens,
        stop_ids: tokenizer.stop_ids().to_vec(),
        stop_strings: Vec::new(),
    };
    let model_hash = args.prompt_cache.model_hash(&file)?;
    let model = args
        .model
        .start_batch(file, guessing, SLOTS, Precision::Fast)?;
    let cache = args.prompt_cache.open(model_hash, &model)?;
    let mut writer = model.into_writer(Arc::new(tokenizer), cache)?;

    let mut writing = writer.begin(tokens, settings.clone(), until)?;
    writing.read_prompt("reading the prompt")?;
    show_prompt(&prompt, args.echo)?;
    let ending = print(writing)?;
    summarize(&ending, &settings, &writer.device);
    match ending.finish {
        Finish::Interrupted => Err(Failure::Interrupted),
        _ => Ok(()),
    }
}

/// A continuation reads best after its beginning, but only --echo may put that on standard output.
fn show_prompt(prompt: &[u8], echo: bool) -> Result<(), Failure> {
    if echo {
        return output::write(prompt);
    }
    if output::is_watched() {
        output::note_part(String::from_utf8_lossy(prompt));
    }
    Ok(())
}

/// Prints the text as it comes. Where it ends within a line, the summary begins a new one.
fn print(writing: Writing<'_>) -> Result<Ending, Failure> {
    let mut ends_line = true;
    let ending = writing.write(|text| {
        ends_line = text.ends_with('\n');
        output::write(text.as_bytes())
    })?;
    if !ends_line {
        output::note("");
    }
    Ok(ending)
}

fn summarize(ending: &Ending, settings: &SamplerSettings, device: &str) {
    let timings = ending.timings;
    let guesses = GuessReport::of(&timings).map_or(String::new(), |report| format!("{report} | "));
    output::note(format_args!(
        "prefill {} tokens, {:.1} tok/s | decode {} tokens, {:.1} tok/s | first token after {:.3} s | {guesses}seed {} | {device}",
        timings.prefill_tokens,
        timings.prefill_rate(),
        ending.tokens.len(),
        timings.decode_rate(),
        timings.first_token.as_secs_f64(),
        settings.seed,
    ));
}
