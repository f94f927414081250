//! Measures what is to be known of the engine on a device, and prints it as tables or, with `--json`, as JSON.
//!
//! `engine-figures --model FILE [--backend vulkan] [--device N] [--json] [--samples N] [--section WORD]`
//!
//! The section on guesses has the model say a given text (`thalweg_benches::copying`): acceptance there is by construction, cost
//! is measured.

#![allow(clippy::print_stdout, reason = "prints its result")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use thalweg_bench::Figures;
use thalweg_benches::figures::{SECTIONS, Subject};
use thalweg_gguf::GgufFile;
use thalweg_gpu::{Backend, Context, DeviceRequest, DeviceSelector};
use thalweg_rwkv::{
    Activations, GpuModel, GpuOptions, Hyperparameters, Precision, Tuning, model_hash,
};
use thalweg_tokenizer::Tokenizer;

/// Figures of the engine on a device.
#[derive(Debug, Parser)]
struct Args {
    /// GGUF file of the model.
    #[arg(short, long)]
    model: PathBuf,

    /// The graphics interface: vulkan, metal, dx12.
    #[arg(long, default_value = "auto")]
    backend: String,

    /// The device, by its place in the listing or a part of its name.
    #[arg(long)]
    device: Option<DeviceSelector>,

    /// 32-bit floats throughout.
    #[arg(long)]
    exact: bool,

    /// 8-bit integers where products allow them.
    #[arg(long)]
    q8: bool,

    /// Samples of each figure.
    #[arg(long, default_value_t = 5)]
    samples: usize,

    /// A text of at least 600 words that is repeated [default: one of held-out prose].
    #[arg(long)]
    text: Option<PathBuf>,

    /// Only sections whose names contain this.
    #[arg(long, default_value = "")]
    section: String,

    /// JSON in the place of tables.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.samples > 0, "--samples is 0; expected at least 1");
    let context = open(&args)?;
    let device = context.adapter().name.clone();
    let subject = subject(&args, context)?;
    let mut figures = Vec::new();
    for (name, measure) in SECTIONS {
        if name.contains(&args.section) {
            figures.extend(measure(&subject).with_context(|| format!("measuring: {name}"))?);
        }
    }
    let model = args.model.file_name().unwrap_or_default();
    let figures = Figures {
        command: command(),
        device,
        model: model.to_string_lossy().into_owned(),
        figures,
    };
    match args.json {
        true => println!("{}", figures.to_json()?),
        false => println!("{}", figures.to_markdown()),
    }
    Ok(())
}

fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("engine-figures {}", arguments.join(" "))
}

fn open(args: &Args) -> Result<Context> {
    let backends = [
        Backend::Auto,
        Backend::Vulkan,
        Backend::Metal,
        Backend::Dx12,
    ];
    let backend = backends
        .into_iter()
        .find(|backend| backend.name() == args.backend);
    let backend = backend.with_context(|| format!("--backend {} is none", args.backend))?;
    Ok(Context::new(&DeviceRequest {
        backend,
        device: args.device.clone(),
        ..DeviceRequest::default()
    })?)
}

fn subject(args: &Args, context: Context) -> Result<Subject> {
    let file = GgufFile::open(&args.model)?;
    let hp = Hyperparameters::from_gguf(&file)?;
    let activations = if args.q8 {
        Activations::Q8
    } else {
        Activations::F32
    };
    let options = GpuOptions {
        tuning: Tuning::suiting(&hp, activations),
        precision: if args.exact {
            Precision::Exact
        } else {
            Precision::Fast
        },
        activations,
    };
    Ok(Subject {
        model: Arc::new(GpuModel::load(Arc::new(context), &file, options)?),
        tokenizer: Arc::new(Tokenizer::from_gguf(file.metadata())?),
        hash: model_hash(&file)?,
        samples: args.samples,
        text: text(args)?,
    })
}

fn text(args: &Args) -> Result<String> {
    Ok(match &args.text {
        Some(path) => fs::read_to_string(path)?,
        None => include_str!("../../../assets/thalweg-demo-29m-validation.txt").to_owned(),
    })
}
