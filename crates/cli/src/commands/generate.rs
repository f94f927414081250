//! `thalweg generate`: continue a text.

use std::sync::atomic::AtomicBool;

use thalweg_engine::{
    Finish, Generation, Outcome, Prefill, PrefixCache, Sampler, SamplerSettings, Until,
    encode_prompt, prefill,
};
use thalweg_tokenizer::Tokenizer;

use crate::failure::Failure;
use crate::flags::{ModelFlags, Precision, SamplerFlags, Text, whole_number};
use crate::model::Model;
use crate::prompt_cache::{self, PromptCacheFlags};
use crate::{interrupt, output};

const AFTER_HELP: &str = "\
Standard output holds the generated text alone, streamed as it comes; progress and the summary go to standard error. \
On a terminal the prompt is shown in front of the text, through standard error. The final line break of a prompt from \
a file or a pipe is dropped. Ctrl-C stops after the current token, a second one at once.

Examples:
  thalweg generate -p \"Once upon a time\"
  thalweg generate -m model.gguf -f prompt.txt -n 500 --temp 0.8 --seed 1 > story.txt
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
    model: ModelFlags,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.sampler.settings()?;
    let prompt = args.text.read_prompt()?;
    let file = args.model.open()?;
    let tokenizer = Tokenizer::from_gguf(file.metadata())?;
    let mut tokens = encode_prompt(&tokenizer, &prompt)?;
    let model_hash = args.prompt_cache.model_hash(&file)?;
    let mut model = args.model.start(file, Precision::Fast)?;
    let mut cache = args.prompt_cache.open(model_hash, &model)?;

    let interrupt = interrupt::watch();
    let prefill = read_prompt(&mut model, cache.as_mut(), &tokens, interrupt)?;
    show_prompt(&prompt, args.echo)?;
    let until = Until {
        tokens: args.tokens,
        stop_ids: tokenizer.stop_ids().to_vec(),
        stop_strings: Vec::new(),
    };
    let mut sampler = Sampler::new(settings.clone())?;
    let generation = Generation::new(
        model.session.as_mut(),
        &tokenizer,
        &mut sampler,
        prefill,
        until,
        interrupt,
    );
    let outcome = print(generation)?;
    if let Some(mut cache) = cache {
        tokens.extend(&outcome.tokens[..outcome.read]);
        cache.remember(model.session.as_mut(), &tokens, Some(&outcome.logits))?;
        prompt_cache::report(cache.close());
    }

    summarize(&outcome, &settings, &model.device);
    if outcome.finish == Some(Finish::Interrupted) {
        Err(Failure::Interrupted)
    } else {
        Ok(())
    }
}

fn read_prompt(
    model: &mut Model,
    mut cache: Option<&mut PrefixCache>,
    tokens: &[u32],
    interrupt: &AtomicBool,
) -> Result<Prefill, Failure> {
    let known = cache.as_mut().map_or(0, |cache| cache.known(tokens));
    let bar = output::progress(
        tokens.len() - known,
        model.chunk_size.tokens(),
        "reading the prompt",
    );
    let on_progress = &mut |read| bar.set_position(read as u64);
    let session = model.session.as_mut();
    let result = match cache {
        Some(cache) => cache.read(session, tokens, model.chunk_size, interrupt, on_progress),
        None => prefill(session, tokens, model.chunk_size, interrupt, on_progress),
    };
    bar.finish_and_clear();
    Ok(result?)
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
fn print(mut generation: Generation<'_>) -> Result<Outcome, Failure> {
    let mut ends_line = true;
    for text in &mut generation {
        let text = text?;
        output::write(text.as_bytes())?;
        ends_line = text.ends_with('\n');
    }
    if !ends_line {
        output::note("");
    }
    Ok(generation.outcome())
}

fn summarize(outcome: &Outcome, settings: &SamplerSettings, device: &str) {
    let timings = outcome.timings;
    output::note(format_args!(
        "prefill {} tokens, {:.1} tok/s | decode {} tokens, {:.1} tok/s | first token after {:.3} s | seed {} | {device}",
        timings.prefill_tokens,
        timings.prefill_rate(),
        outcome.tokens.len(),
        timings.decode_rate(),
        timings.first_token.as_secs_f64(),
        settings.seed,
    ));
}
