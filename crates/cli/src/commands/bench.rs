//! `thalweg bench`: how fast the model reads and writes.

mod action;
mod check;
mod former;
mod measurement;
mod model;
mod operations;
mod plan;
mod report_file;
mod results;
mod station;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use thalweg_bench::{Device, LlamaBench, Report, Sweep};
use thalweg_engine::ChunkSize;

use crate::cli;
use crate::commands::pictures::Pictures;
use crate::failure::Failure;
use crate::flags::{Activations, ComputeFlags, ModelPath, Precision};
use crate::model::Compute;
use former::Former;
use measurement::Measurement;
use plan::Plan;

/// A prompt of more says nothing new.
const MOST_TOKENS: usize = 1 << 20;

/// So many are more than any device gains from.
const MOST_SEQUENCES: usize = 1024;

/// Many more than any device has threads a side; which of them it takes it says itself.
const MOST_BLOCK_SIZE: usize = 1024;

const AFTER_HELP: &str = "\
Lists are numbers and ranges: 64,128,256..2048*2 doubles from 256 to 2048, 0..4096+1024 goes on by 1024. Every combination \
is measured: each test runs once cold, all of them run until the device is warm, then each takes --repeat samples, one of \
each test in turn, in a random order that --seed decides.

Tests are named as llama-bench names them. pp512 reads 512 tokens, up to the logits after the last one. tg128 reads 128 \
single tokens, each up to its logits; they are given, so that sampling is not measured. \"@ d4096\" is behind 4096 tokens \
read before, unmeasured. \"x8\" is 8 sequences at once, all together. tg128-sampled has the device choose each token, with \
the default sampler settings, and waits for it; tg128-loop does so without waiting for each, where there is a device.

The table shows median, quartiles, mean and sample deviation of tokens a second; the time of the cold run, in which kernels \
may have been compiled; and, by the model's shape, bytes of weights and states, and operations, a second; with --limits, \
how many percent that is of the limit that it is nearest to: reading, multiplying and adding, matrices. Markdown has a \
row a test with all that its figure depends on, and mean ± deviation; JSON holds every sample. \
Ctrl-C keeps what is measured; --resume goes on with it.

--ops measures what a model consists of, in its shapes but with random weights, none of which are loaded: norms, shifts, \
low-rank chains, products, for one token and for 256. \"alone\" is what it takes on the device, and needs no timestamps: the time of \
many in one submission less that of one, divided by the others; on GPUs weights are copied so often that no cache holds them. \
\"launched\" is what the host sees of a single one: encoding, submission, wait. \"unfused\" has a dispatch for every part, \
\"fused\" as few as a model needs; their ratios are given of both times. All are medians of --repeat. On the CPU the twins are timed.

--check reads a few dozen tokens on the CPU first, and the same on the device: in ragged chunks, token by token, several \
sequences at once, in a loop; then prompts in the chunk and block sizes that are measured against short chunks. Logits may differ \
by 1e-3 of their standard deviation with precision exact, by 0.5 with fast or with activations q8, states by as much of their \
largest number; choices where the best logit is ahead by more are compared, too. If anything differs by more, nothing is measured, \
and the exit code is 4. It compiles kernels, so that the cold run no longer does. On the CPU chunks are compared with one another, \
and must agree bit for bit.

Examples:
  thalweg bench -m model.gguf
  thalweg bench -m model.gguf --prefill 256,512 --chunk-size 64..512*2 --block-size 8,16 -o json --plot pictures > a.json
  thalweg bench -m model.gguf --prefill 0 --decode 32 --parallel 1..64*2 --depth 0,4096 -o md
  llama-bench -m model.gguf -o json > llama.json; thalweg bench -m model.gguf --compare-llama-bench llama.json
  thalweg bench --ops -m model.gguf -o md
  thalweg bench -m model.gguf --check --prefill 0 --decode 0
  thalweg bench --report PHASE2_RESULTS.md --results assets/results --plot assets/results/pictures";

/// Measure how fast a model reads and writes
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    path: ModelPath,

    /// Lengths of the prompts to read, in tokens; 0 for none
    #[arg(long, value_name = "LIST", default_value = "512", value_parser = |text: &str| Sweep::parse(text, 0..=MOST_TOKENS))]
    prefill: Sweep,

    /// Numbers of tokens to decode one by one; 0 for none
    #[arg(long, value_name = "LIST", default_value = "128", value_parser = |text: &str| Sweep::parse(text, 0..=MOST_TOKENS))]
    decode: Sweep,

    /// Numbers of sequences to decode at once
    #[arg(long, value_name = "LIST", value_parser = |text: &str| Sweep::parse(text, 1..=MOST_SEQUENCES))]
    parallel: Option<Sweep>,

    /// Tokens that were read before what is measured
    #[arg(long, value_name = "LIST", default_value = "0", value_parser = |text: &str| Sweep::parse(text, 0..=MOST_TOKENS))]
    depth: Sweep,

    /// Prompt tokens read at once [default: by device]
    #[arg(long, value_name = "LIST", value_parser = |text: &str| Sweep::parse(text, 1..=ChunkSize::MAX))]
    chunk_size: Option<Sweep>,

    /// Threads a side of the matmul's workgroup: 8, 16 or 32 [default: by device]
    #[arg(long, value_name = "LIST", value_parser = |text: &str| Sweep::parse(text, 0..=MOST_BLOCK_SIZE))]
    block_size: Option<Sweep>,

    /// What matrices meet on a GPU, but for prompts on matrix units: q8 rounds activations to 8 bits, 16 of them sharing
    /// a scale
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "f32"
    )]
    activations: Vec<Activations>,

    /// Samples of each test
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,

    /// Decides the order of the samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Measure first what the device does at the most, and show how near each test comes to it
    #[arg(long)]
    limits: bool,

    /// Measure small operations one by one instead, in the shapes of the model: alone, launched, unfused and fused
    #[arg(long, conflicts_with_all = OF_MODELS)]
    ops: bool,

    /// Compare the results with the CPU's first: in ragged chunks, token by token, several sequences at once, and in
    /// whatever sizes are measured; where they differ by more than rounding explains, nothing is measured
    #[arg(long)]
    check: bool,

    /// How to print the result: for a terminal, in Markdown, as JSON, as a line of JSON a test, as CSV
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,

    /// Draw throughput against chunk size, block size and sequences, where they vary, into this folder
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,

    /// What `llama-bench -o json` printed, to show ratios to
    #[arg(long, value_name = "FILE")]
    compare_llama_bench: Option<PathBuf>,

    /// Go on with what an earlier run printed as JSON or JSON lines: only samples that are missing are taken
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,

    /// Measure nothing: write the report of all results that there are into this Markdown file, whose text outside of the
    /// generated sections stays; a new file gets all sections
    #[arg(long, value_name = "FILE", conflicts_with_all = MEASURING)]
    report: Option<PathBuf>,

    /// The folder with the report's results: what `bench`, `profile` and `llama-bench` print with `-o json`, and targets and
    /// figures of others as in assets/results
    /// [default: assets/results]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    #[command(flatten)]
    compute: ComputeFlags,
}

/// Flags that say how to measure, which a report does not. The device is not among them: the environment may name it, too.
const MEASURING: [&str; 16] = [
    "ModelPath",
    "precision",
    "prefill",
    "decode",
    "parallel",
    "depth",
    "chunk_size",
    "block_size",
    "activations",
    "repeat",
    "seed",
    "limits",
    "check",
    "output",
    "compare_llama_bench",
    "resume",
];

/// Flags about running models as a whole, of which operations know nothing.
const OF_MODELS: [&str; 15] = [
    "prefill",
    "decode",
    "parallel",
    "depth",
    "chunk_size",
    "block_size",
    "activations",
    "seed",
    "limits",
    "check",
    "plot",
    "compare_llama_bench",
    "resume",
    "report",
    "results",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Md,
    Json,
    Jsonl,
    Csv,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.ops {
        return operations::run(args);
    }
    let pictures = args.plot.as_deref().map(Pictures::new).transpose()?;
    if let Some(file) = &args.report {
        let folder = args.results.as_deref();
        let folder = folder.unwrap_or(Path::new(report_file::RESULTS));
        return report_file::write(file, folder, pictures.as_ref());
    }
    if args.results.is_some() {
        let message = "--results names the results of a report, but there is no --report; expected both, or neither";
        return Err(Failure::Usage(message.to_owned()));
    }
    let rival = args.compare_llama_bench.as_deref();
    let rival = rival.map(results::read_llama_bench).transpose()?;
    let former = args.resume.as_deref().map(Former::read).transpose()?;
    let model = model::describe(&args.path.open()?)?;
    // Features are proven for what asks for the most of them.
    let integers = args.activations.contains(&Activations::Q8);
    let most = if integers {
        Activations::Q8
    } else {
        Activations::F32
    };
    let compute = args.compute.open(Precision::Fast, most)?;
    let mut report = begin(args, model, &compute);
    let measured = measure(args, &compute, former, &mut report);
    report.cases.retain(|case| !case.samples_s.is_empty());
    // What was measured before a Ctrl-C or a failure is not lost.
    let is_empty = report.cases.is_empty() && report.limits.is_none() && report.check.is_none();
    let shown = match is_empty {
        true => Ok(()),
        false => show(args, &report, rival.as_ref(), pictures.as_ref()),
    };
    measured.and(shown)
}

/// A report in which all is said that is known before anything is measured.
fn begin(args: &Args, model: thalweg_bench::Model, compute: &Compute<'_>) -> Report {
    Report {
        program: cli::program(),
        arguments: std::env::args().skip(1).collect(),
        platform: cli::platform(),
        // Each case has its own activations, so they are no part of the precision.
        device: Device {
            precision: compute.precision().name().to_owned(),
            ..compute.device()
        },
        model,
        tuned: false,
        seed: Some(args.seed),
        limits: None,
        check: None,
        loads: Vec::new(),
        cases: Vec::new(),
    }
}

fn measure(
    args: &Args,
    compute: &Compute<'_>,
    former: Option<Former>,
    report: &mut Report,
) -> Result<(), Failure> {
    let block_sizes = args.block_size.as_ref().map_or(&[][..], Sweep::numbers);
    let block_sizes: Vec<u32> = block_sizes.iter().map(|size| *size as u32).collect();
    let plan = Plan::new(args, compute.block_sizes(&block_sizes))?;
    if args.limits {
        report.limits = Some(compute.measure_limits()?);
    }
    Measurement::new(args, compute, &plan, former, report).run()
}

fn show(
    args: &Args,
    report: &Report,
    rival: Option<&LlamaBench>,
    pictures: Option<&Pictures<'_>>,
) -> Result<(), Failure> {
    results::write(args.output, report)?;
    results::warn_of_drift(report);
    if let Some(rival) = rival {
        results::write_beside(args.output, report, rival)?;
    }
    match pictures {
        None => Ok(()),
        Some(pictures) => pictures.draw(&thalweg_bench::plot::of_report(report)?),
    }
}
