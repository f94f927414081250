//! `thalweg profile`: which kernels the time goes to, and what the host does meanwhile.

mod stages;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use thalweg_bench::profile::{Markdown, Profile, Timestamps};
use thalweg_rwkv::GpuBatch;
use thalweg_tokenizer::Tokenizer;

use crate::failure::Failure;
use crate::flags::{ModelFlags, Precision};
use crate::model::Slots;
use crate::speculation::Guessing;
use crate::{cli, output};
use stages::Profiler;

/// A prompt of more says nothing new.
const MOST_TOKENS: i64 = 1 << 20;

/// So many are more than any device gains from.
const MOST_SEQUENCES: i64 = 1024;

const AFTER_HELP: &str = "\
A prompt of --prefill arbitrary tokens is read from an empty state, up to the logits after the last one; then tokens are \
decoded, chosen on the device with the default sampler settings, by --parallel sequences at once. Each is measured in three \
ways, after a warm-up: without timestamps, by the host's clock (the median of --repeat, for decoding of --decode steps each); \
with two timestamps, at its begin and its end on the device; and with two for every kernel. These keep kernels apart that \
would overlap and take some microseconds each, so the kernels' sum is longer than the step: trust shares more than sums. Of \
--repeat such runs the one in the middle is shown. Where a device has no timestamps within passes, each kernel has a pass of \
its own, and the table says so.

Bytes and operations are what the shapes ask for, so they count neither caches nor padding. \"Gaps\" are between the \
timestamp behind a kernel and the one before the next. \"% of limit\" is of what --limits measured: reading, multiplying \
and adding, or matrices, whichever the kernel is nearest to. The host's times are those of the step without timestamps.

Examples:
  thalweg profile -m model.gguf --limits
  thalweg profile -m model.gguf --prefill 0 --parallel 32 -o md
  thalweg profile -m model.gguf --prefill 512 --decode 0 --trace prefill.json    to be opened in ui.perfetto.dev";

/// Show which kernels a device's time goes to
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelFlags,

    /// Tokens of the prompt to read; 0 for none
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(..=MOST_TOKENS))]
    prefill: u32,

    /// Steps of decoding behind a figure; 0 for none
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(..=MOST_TOKENS))]
    decode: u32,

    /// Sequences that are decoded at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MOST_SEQUENCES))]
    parallel: u16,

    /// Measurements of each kind
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,

    /// Measure first what the device does at the most, and show how near each kernel comes to it
    #[arg(long)]
    limits: bool,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,

    /// Write the kernels in order as a trace that Chrome and Perfetto show
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Md,
    Json,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.prefill == 0 && args.decode == 0 {
        let message = "--prefill and --decode are both 0, so there is nothing to profile; expected 1 at least of one of them";
        return Err(Failure::Usage(message.to_owned()));
    }
    let file = args.model.open()?;
    let name = file.path().file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let tokenizer = Tokenizer::from_gguf(file.metadata()).ok();
    let flags = &args.model;
    let compute = flags.compute.open(Precision::Fast, flags.activations)?;
    let slots = Slots::Sequences(args.parallel.into());
    let mut model = compute.start_batch(
        file,
        Guessing::default(),
        slots,
        flags.chunk_size,
        flags.block_size,
    )?;
    let batch = model.gpu_mut().ok_or_else(no_device)?;
    let timestamps = timestamps(batch)?;
    let limits = args.limits.then(|| compute.measure_limits()).transpose()?;
    let profile = Profile {
        program: cli::program(),
        arguments: std::env::args().skip(1).collect(),
        platform: cli::platform(),
        device: compute.device(),
        model: name,
        timestamps,
        limits,
        stages: Profiler::new(args, batch, tokenizer.as_ref()).stages()?,
    };
    if let Some(path) = &args.trace {
        write_trace(&profile, path)?;
    }
    match args.output {
        Format::Table => output::write(profile.to_string().as_bytes()),
        Format::Md => output::write(Markdown(&profile).to_string().as_bytes()),
        Format::Json => output::line(profile.to_json()),
    }
}

fn no_device() -> Failure {
    Failure::Usage(
        "profiles are taken by a GPU's timestamps, but the CPU computes; name a GPU of `thalweg devices` with --backend \
         and --device"
            .to_owned(),
    )
}

fn timestamps(batch: &GpuBatch) -> Result<Timestamps, Failure> {
    let context = batch.model().context();
    match context.timestamps() {
        Some(thalweg_gpu::Timestamps::InPasses) => Ok(Timestamps::InPasses),
        Some(thalweg_gpu::Timestamps::AroundPasses) => Ok(Timestamps::AroundPasses),
        None => Err(Failure::Device(format!(
            "{} has no timestamps in use, by which kernels are measured; name another device of `thalweg devices`, or \
             leave timestamps out of --features-off",
            context.adapter().name
        ))),
    }
}

fn write_trace(profile: &Profile, path: &Path) -> Result<(), Failure> {
    std::fs::write(path, profile.to_trace().to_string())
        .map_err(|error| Failure::path("write", path, &error))
}
