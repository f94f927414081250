//! `thalweg batch`: replies to many prompts.

mod budget;
mod entry;
mod job;
mod lines;
mod progress;
mod reader;
mod reply;
mod requests;
mod results;
mod resume;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

use thalweg_engine::{EngineOptions, Request};
use thalweg_tokenizer::Tokenizer;
use thalweg_tokenizer::chat::ChatTemplate;

use crate::failure::Failure;
use crate::flags::{ModelFlags, Precision, SamplerFlags, ThinkingFlag, whole_number};
use crate::interrupt;
use crate::model::Slots;
use crate::prompt_cache::PromptCacheFlags;
use crate::speculation::{GuessReport, SpeculationFlags};
use budget::{Budget, Size};
use job::Job;
use progress::{Progress, Summary, Tally};
use reader::{Input, LONGEST_LINE, Reader};
use requests::Requests;
use results::Results;

/// So many are more than any device gains from.
const MOST_SEQUENCES: i64 = 1024;

/// Lines read ahead, for each sequence at once: enough for a long reply not to hold up those after it that wait for
/// their turn to be written.
const LINES_AHEAD: usize = 8;

/// Tokens of a reply at most.
const LONGEST_REPLY: usize = 1 << 20;

const AFTER_HELP: &str = "\
Every line of the input is a JSON object with \"prompt\", a text to continue, or \"messages\", a list of {\"role\": \
\"system\", \"user\" or \"assistant\", \"content\": TEXT} to reply to. It may have an \"id\", a string or a whole number (else the \
line's number is its id), and settings of its own: tokens (or n), temp, top_k, top_p, min_p, presence_penalty, \
frequency_penalty, penalty_decay, seed, stop, logprobs. Flags say what goes for lines that do not say. Blank lines are \
passed over.

Every line of the output has id, line (its number), text, finish (limit, stop_token or stop_string), prompt_tokens, \
tokens, seed, logprobs if asked for, timing; or id, line and error. A line with an error does not stop the others: the \
exit code is 3 at the end. A line that has no seed takes that of --seed plus its number.

An output file that is there is gone on with: lines whose id has a reply are skipped, failed ones are done again, and a last \
line that was torn is cut off. So after Ctrl-C the same command goes on. A line without an id is known by its number: give \
ids if the input may change. Standard output is always written anew.

Examples:
  thalweg batch -m model.gguf -i prompts.jsonl -o out.jsonl --parallel 64
  echo '{\"prompt\": \"Once upon a time\", \"n\": 40}' | thalweg batch
  thalweg batch -i prompts.jsonl -o out.jsonl --ordered --temp 0 --json > summary.json";

/// Reply to many prompts, several at once
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A file with a JSON object a line; - for standard input
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    input: PathBuf,

    /// Where the replies go, one a line; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,

    /// Sequences at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=MOST_SEQUENCES))]
    parallel: u16,

    /// Write in the order of the input instead of as they are done. What is complete but must wait for its turn is lost
    /// by an interrupt; what a job that goes on adds comes after what is there
    #[arg(long)]
    ordered: bool,

    /// Write the summary as JSON: to standard output, or to standard error if the replies go there
    #[arg(long)]
    json: bool,

    /// Tokens of a reply at most
    #[arg(short = 'n', long, value_name = "N", value_parser = whole_number::<usize>, default_value_t = 256)]
    tokens: usize,

    /// A text that ends a reply, and is no part of it; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,

    /// Give each token's log-probability, and so many of the most probable tokens in its place, from 0 to 20
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=Request::MOST_LOGPROBS as i64))]
    logprobs: Option<u16>,

    /// Whether a model that can think before it answers messages does so; quick answers at once
    #[arg(long, value_enum, default_value_t = ThinkingFlag::Off)]
    thinking: ThinkingFlag,

    #[command(flatten)]
    sampler: SamplerFlags,

    #[command(flatten)]
    prompt_cache: PromptCacheFlags,

    #[command(flatten)]
    speculation: SpeculationFlags,

    #[command(flatten)]
    model: ModelFlags,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.sampler.settings()?;
    args.check()?;
    let file = args.model.open()?;
    let tokenizer = Tokenizer::from_gguf(file.metadata())?;
    let guessing = args.speculation.open(&tokenizer)?;
    let template = ChatTemplate::from_gguf(file.metadata())?;
    let requests = Requests::new(
        args,
        settings.clone(),
        guessing.source,
        template,
        &tokenizer,
    );
    let input = Input::open(&args.input)?;
    let (results, known) = Results::open(&args.output, args.ordered)?;
    let model_hash = args.prompt_cache.model_hash(&file)?;
    let slots = Slots::Sequences(args.parallel.into());
    let model = args
        .model
        .start_batch(file, guessing, slots, Precision::Fast)?;
    let device = model.device.clone();
    let cache = args.prompt_cache.open(model_hash, &model)?;

    let interrupt = interrupt::watch();
    let budget = Arc::new(Budget::new(args.lines_ahead()));
    let (ends, events) = mpsc::channel();
    let engine = model.into_engine(Arc::new(tokenizer), cache, args.engine_options())?;
    let mut job = Job {
        engine,
        input_name: input.name.clone(),
        results,
        budget: Arc::clone(&budget),
        progress: Progress::new(input.length),
        ends: ends.clone(),
        running: HashMap::new(),
        tally: Tally::default(),
        first_mistake: None,
        tokens: Arc::new(AtomicU64::new(0)),
    };
    let reader = Reader {
        input,
        requests,
        known,
        budget,
        events: ends,
    };
    reader.spawn()?;
    let worked = job.work(&events, interrupt);
    let summary = Summary {
        tally: job.tally,
        guesses: GuessReport::of(&job.tally.timings),
        seconds: job.progress.seconds(),
        seed: settings.seed,
        device,
        complete: worked.is_ok(),
    };
    let failed = job.failed_lines();
    let prints_replies = job.results.is_standard_output();
    drop(job); // the bar goes, the engine ends
    if !matches!(worked, Err(Failure::BrokenPipe)) {
        summary.show(args.json, prints_replies)?;
    }
    worked.and(failed)
}

impl Args {
    /// Refuses what every line would fail by.
    fn check(&self) -> Result<(), Failure> {
        let refuse = |what: String| Err(Failure::Usage(what));
        if self.tokens > LONGEST_REPLY {
            return refuse(format!(
                "--tokens is {}; expected at most {LONGEST_REPLY}",
                self.tokens
            ));
        }
        if self.stop.len() > Request::MOST_STOP_STRINGS {
            return refuse(format!(
                "--stop is given {} times; expected at most {}",
                self.stop.len(),
                Request::MOST_STOP_STRINGS
            ));
        }
        let longest = self.stop.iter().map(String::len).max().unwrap_or(0);
        match longest <= Request::LONGEST_STOP_STRING {
            true => Ok(()),
            false => refuse(format!(
                "--stop has {longest} bytes; expected at most {}",
                Request::LONGEST_STOP_STRING
            )),
        }
    }

    fn lines_ahead(&self) -> Size {
        Size {
            lines: usize::from(self.parallel) * LINES_AHEAD,
            bytes: LONGEST_LINE as u64,
        }
    }

    /// The queue has room for all that the budget lets in: a token has a byte at least, but for what a chat template adds.
    fn engine_options(&self) -> EngineOptions {
        EngineOptions {
            queue_requests: self.lines_ahead().lines,
            queue_tokens: 2 * LONGEST_LINE,
            longest_reply: LONGEST_REPLY,
            ..EngineOptions::default()
        }
    }
}
