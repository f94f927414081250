//! `thalweg perplexity`: how well the model predicts a text.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use thalweg_engine::{Perplexity, WINDOW, perplexity};
use thalweg_tokenizer::Tokenizer;

use crate::failure::Failure;
use crate::flags::{self, ModelFlags, Precision};
use crate::output;

const AFTER_HELP: &str = "\
The text is tokenised whole and cut into windows of 512 tokens, each read from a fresh state with the begin-of-text \
token (if the model asks for one) in its first place; the last 255 tokens of each window are scored, and a tail that \
does not fill a window is dropped. llama-perplexity -c 512 measures in the same way.

Examples:
  thalweg perplexity -m model.gguf -f text.txt
  thalweg perplexity -m model.gguf -f text.txt --windows 4 --json";

/// Measure a model's perplexity on a text
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The text, UTF-8
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,

    /// Measure only the first N windows [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    windows: Option<u32>,

    /// Print the figures as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelFlags,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let text = flags::read_file(&args.file)?;
    let file = args.model.open()?;
    let tokenizer = Tokenizer::from_gguf(file.metadata())?;
    let begin_of_text = tokenizer.bos_id().filter(|_| tokenizer.add_bos());
    let mut tokens: Vec<u32> = begin_of_text.into_iter().collect();
    tokens.extend(tokenizer.encode(&text)?);
    if let Some(windows) = args.windows {
        tokens.truncate(WINDOW.saturating_mul(windows as usize));
    }
    let mut model = args.model.start(file, Precision::Exact)?;

    let start = Instant::now();
    let bar = output::progress(tokens.len() / WINDOW, 1, "windows");
    let figures = perplexity(
        model.session.as_mut(),
        &tokens,
        begin_of_text,
        model.chunk_size,
        &mut |so_far| {
            bar.set_message(format!("perplexity {:.3}", so_far.perplexity));
            bar.set_position(so_far.windows as u64);
        },
    )?;
    bar.finish_and_clear();
    let rate = (figures.windows * WINDOW) as f64 / start.elapsed().as_secs_f64();

    output::line(if args.json {
        as_json(&figures)
    } else {
        as_text(&figures)
    })?;
    output::note(format_args!(
        "read {} tokens at {rate:.1} tok/s on {}",
        figures.windows * WINDOW,
        model.device
    ));
    Ok(())
}

fn as_json(figures: &Perplexity) -> String {
    json!({
        "perplexity": figures.perplexity,
        "standard_error": figures.standard_error,
        "nats_per_token": figures.nats_per_token,
        "windows": figures.windows,
        "window_tokens": WINDOW,
        "scored_tokens": figures.scored,
    })
    .to_string()
}

fn as_text(figures: &Perplexity) -> String {
    format!(
        "perplexity {:.4} +/- {:.4} ({} windows of {WINDOW} tokens, {} tokens scored)",
        figures.perplexity, figures.standard_error, figures.windows, figures.scored
    )
}
