//! `thalweg bench`: how fast the model reads and writes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::ProgressBar;
use serde_json::json;
use thalweg_bench::{Case, Load, Report, Setting, Task, host_memory};
use thalweg_engine::{ChunkSize, SamplerSettings, prefill};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{Batch, Hyperparameters, Logits, Next, Part, Session, Wanted};

use crate::failure::Failure;
use crate::flags::{ComputeFlags, ModelPath, Precision};
use crate::model::{Compute, Model, Slots};
use crate::speculation::Guessing;
use crate::{cli, interrupt, output};

/// A prompt of more says nothing new.
const MOST_TOKENS: usize = 1 << 20;

/// So many are more than any device gains from.
const MOST_SEQUENCES: i64 = 1024;

const AFTER_HELP: &str = "\
Every combination of the lists is measured: once unmeasured to warm up, then --repeat times. Prefill reads N tokens \
into an empty state, up to the logits after the last one. Decode reads N single tokens, each up to its logits, from an \
empty state; the tokens are given, as llama-bench does it, so that sampling is not measured. \"Decode sampled\" has the \
device choose each token, with the default sampler settings, and waits for it; \"decode loop\" does so without waiting for \
each, where there is a device. With --parallel, so many sequences at once do the same; where tokens are given, the logits \
of all sequences come back after each step. The table shows the \
median, the quartiles, the mean and the sample deviation of tokens a second, all sequences together; JSON holds every \
sample.

Examples:
  thalweg bench -m model.gguf
  thalweg bench -m model.gguf --prefill 256,512 --chunk-size 64,128,256,512 --block-size 8,16 -o json > result.json
  thalweg bench -m model.gguf --parallel 1,8,32,64 --decode 32";

/// Measure how fast a model reads and writes
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    path: ModelPath,

    /// Lengths of the prompts to read, in tokens
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "512", value_parser = tokens)]
    prefill: Vec<usize>,

    /// Tokens to decode one by one; 0 for none
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(..=MOST_TOKENS as i64))]
    decode: u32,

    /// Numbers of sequences to decode at once
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=MOST_SEQUENCES))]
    parallel: Vec<u16>,

    /// Prompt tokens read at once [default: by device]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    chunk_size: Vec<ChunkSize>,

    /// Threads a side of the matmul's workgroup: 8, 16 or 32 [default: by device]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    block_size: Vec<u32>,

    /// Samples of each case
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,

    #[command(flatten)]
    compute: ComputeFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.decode == 0 && !args.parallel.is_empty() {
        let message =
            "--parallel decodes as many tokens as --decode says, which is 0; expected 1 at least";
        return Err(Failure::Usage(message.to_owned()));
    }
    let model = describe(&args.path.open()?)?;
    let compute = args.compute.open(Precision::Fast)?;
    let mut bench = Bench::new(args, &compute);
    bench.measure_prefill()?;
    bench.measure_decode()?;
    bench.measure_batches()?;
    bench.bar.finish_and_clear();
    let report = Report {
        program: cli::program(),
        arguments: std::env::args().skip(1).collect(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        device: compute.device(),
        model,
        tuned: bench.is_tuned,
        loads: bench.loads,
        cases: bench.cases,
    };
    match args.output {
        Format::Table => output::write(report.to_string().as_bytes()),
        Format::Json => output::line(json!(report)),
    }
}

fn describe(file: &GgufFile) -> Result<thalweg_bench::Model, Failure> {
    let hp = Hyperparameters::from_gguf(file)?;
    let name = file.path().file_name().unwrap_or_default();
    Ok(thalweg_bench::Model {
        file: name.to_string_lossy().into_owned(),
        file_bytes: file.bytes_len(),
        layers: hp.layers,
        width: hp.width,
        vocab: hp.vocab,
    })
}

/// A GPU that has idled, as it does while kernels compile, runs at a fraction of its clock for up to two seconds.
const WARM_UP: Duration = Duration::from_millis(2000);
/// Processors are at their clock sooner.
const PROCESSOR_WARM_UP: Duration = Duration::from_millis(500);

/// A chunk and a block size, as far as they are given.
type Sizes = (Option<ChunkSize>, Option<u32>);

/// The measurements so far.
struct Bench<'a> {
    args: &'a Args,
    compute: &'a Compute<'a>,
    /// Every combination of chunk and block size.
    sizes: Vec<Sizes>,
    bar: ProgressBar,
    is_tuned: bool,
    loads: Vec<Load>,
    cases: Vec<Case>,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args, compute: &'a Compute<'a>) -> Bench<'a> {
        let block_sizes = compute.block_sizes(&args.block_size);
        let sizes = combinations(&args.chunk_size, block_sizes);
        let decode = usize::from(args.decode > 0);
        let loops = usize::from(compute.is_on_device());
        let sampled = (1 + loops) * batch_sizes(args).len();
        let cases = args.prefill.len() * sizes.len() + decode + args.parallel.len() + sampled;
        let bar = output::progress(cases * usize::from(args.repeat), 1, "measuring");
        Bench {
            args,
            compute,
            sizes,
            bar,
            is_tuned: false,
            loads: Vec::new(),
            cases: Vec::new(),
        }
    }

    fn measure_prefill(&mut self) -> Result<(), Failure> {
        for sizes in std::mem::take(&mut self.sizes) {
            let mut model = self.load(sizes)?;
            for &tokens in &self.args.prefill {
                self.measure(&mut model, Task::Prefill, tokens)?;
            }
        }
        Ok(())
    }

    fn measure_decode(&mut self) -> Result<(), Failure> {
        if self.args.decode == 0 {
            return Ok(());
        }
        let mut model = self.load((None, None))?;
        self.measure(&mut model, Task::Decode, self.args.decode as usize)
    }

    /// One batch with a slot for each of the most sequences serves all numbers of them.
    fn measure_batches(&mut self) -> Result<(), Failure> {
        let sizes = batch_sizes(self.args);
        let Some(&most) = sizes.iter().max() else {
            return Ok(());
        };
        let compute = self.compute;
        let slots = Slots::Sequences(most);
        let start = |file| {
            let model = compute.start_batch(file, Guessing::default(), slots, None, None)?;
            let is_tuned = model.is_tuned;
            Ok((model, is_tuned))
        };
        let mut model = self.load_with(start)?;
        let batch = model.batch_mut();
        for sequences in self.args.parallel.iter().copied().map(usize::from) {
            self.measure_batch(batch, Task::Parallel, sequences)?;
        }
        for &sequences in &sizes {
            self.measure_batch(batch, Task::Sampled, sequences)?;
            if batch.longest_loop() > 1 {
                self.measure_batch(batch, Task::Loop, sequences)?;
            }
        }
        Ok(())
    }

    fn measure_batch(
        &mut self,
        batch: &mut dyn Batch,
        task: Task,
        sequences: usize,
    ) -> Result<(), Failure> {
        let tokens = self.args.decode as usize;
        let steps_at_once = match task {
            Task::Loop => batch.longest_loop(),
            _ => 1,
        };
        let samples_s = self.samples(|| match task {
            Task::Sampled | Task::Loop => generate(batch, sequences, tokens, steps_at_once),
            _ => decode(batch, sequences, tokens),
        })?;
        let setting = Setting {
            task,
            tokens,
            sequences,
            chunk_size: 1,
            block_size: None,
        };
        self.cases.push(Case::new(setting, samples_s));
        Ok(())
    }

    fn load(&mut self, (chunk_size, block_size): Sizes) -> Result<Model, Failure> {
        let compute = self.compute;
        self.load_with(|file| {
            let model = compute.start(file, chunk_size, block_size)?;
            let is_tuned = model.is_tuned;
            Ok((model, is_tuned))
        })
    }

    /// What `load` makes of the file, and whether what a tuner found out was used.
    fn load_with<T>(
        &mut self,
        load: impl FnOnce(GgufFile) -> Result<(T, bool), Failure>,
    ) -> Result<T, Failure> {
        let file = self.args.path.open()?;
        let start = Instant::now();
        let (model, is_tuned) = self.bar.suspend(|| load(file))?;
        self.is_tuned = is_tuned;
        self.loads.push(Load {
            seconds: start.elapsed().as_secs_f64(),
            host_memory: host_memory(),
            device_bytes: self.compute.device_bytes(),
        });
        Ok(model)
    }

    fn measure(&mut self, model: &mut Model, task: Task, tokens: usize) -> Result<(), Failure> {
        let (chunk_size, block_size) = match task {
            Task::Prefill => (model.chunk_size, model.block_size),
            _ => (ChunkSize::new(1)?, None),
        };
        let ids = some_ids(tokens, model.session.hyperparameters().vocab);
        let samples_s = self.samples(|| read(model.session.as_mut(), &ids, chunk_size, task))?;
        let setting = Setting {
            task,
            tokens,
            sequences: 1,
            chunk_size: chunk_size.tokens(),
            block_size,
        };
        self.cases.push(Case::new(setting, samples_s));
        Ok(())
    }

    /// The seconds that `action` says it took: first to warm up, then as often as asked.
    fn samples(
        &self,
        mut action: impl FnMut() -> Result<Duration, Failure>,
    ) -> Result<Vec<f64>, Failure> {
        let warm_up = match self.compute.is_gpu() {
            true => WARM_UP,
            false => PROCESSOR_WARM_UP,
        };
        let start = Instant::now();
        loop {
            action()?;
            if start.elapsed() >= warm_up {
                break;
            }
        }
        let sample = |_| {
            let elapsed = action()?;
            self.bar.inc(1);
            Ok(elapsed.as_secs_f64())
        };
        (0..self.args.repeat).map(sample).collect()
    }
}

fn combinations(chunk_sizes: &[ChunkSize], block_sizes: &[u32]) -> Vec<Sizes> {
    let block_sizes = or_default(block_sizes);
    let with_each = |chunk_size| {
        block_sizes
            .iter()
            .map(move |block_size| (chunk_size, *block_size))
    };
    or_default(chunk_sizes)
        .into_iter()
        .flat_map(with_each)
        .collect()
}

fn or_default<T: Copy>(given: &[T]) -> Vec<Option<T>> {
    if given.is_empty() {
        vec![None]
    } else {
        given.iter().copied().map(Some).collect()
    }
}

/// Reads the ids into an empty state and returns the time that took.
fn read(
    session: &mut dyn Session,
    ids: &[u32],
    chunk_size: ChunkSize,
    task: Task,
) -> Result<Duration, Failure> {
    session.reset();
    session.forward(&[], Wanted::Nothing)?; // an empty state is where reading starts, not a part of it
    let interrupt = interrupt::watch();
    let start = Instant::now();
    let ids_at_once = match task {
        Task::Prefill => ids.len(),
        _ => 1,
    };
    for ids in ids.chunks(ids_at_once) {
        prefill(session, ids, chunk_size, interrupt, &mut |_| ())?;
    }
    Ok(start.elapsed())
}

/// Has the first `sequences` slots read `tokens` tokens each, one a step, and returns the time that took.
fn decode(batch: &mut dyn Batch, sequences: usize, tokens: usize) -> Result<Duration, Failure> {
    (0..sequences).try_for_each(|slot| batch.reset(slot))?;
    batch.state(0)?; // waits until the slots are empty
    let ids = some_ids(sequences * tokens, batch.hyperparameters().vocab);
    let interrupt = interrupt::watch();
    let start = Instant::now();
    for ids in ids.chunks(sequences) {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        let part = |(slot, id)| Part {
            slot,
            tokens: std::slice::from_ref(id),
            wanted: Wanted::Last,
        };
        let parts: Vec<_> = ids.iter().enumerate().map(part).collect();
        batch.forward(&parts)?;
    }
    Ok(start.elapsed())
}

/// Has the first `sequences` slots generate `tokens` tokens each, asking for them after so many steps, and returns the time
/// that took.
fn generate(
    batch: &mut dyn Batch,
    sequences: usize,
    tokens: usize,
    steps_at_once: usize,
) -> Result<Duration, Failure> {
    let ids = some_ids(sequences, batch.hyperparameters().vocab);
    let mut next = Vec::new();
    for (slot, token) in ids.into_iter().enumerate() {
        let settings = SamplerSettings {
            seed: slot as u64,
            ..SamplerSettings::default()
        };
        batch.reset(slot)?;
        batch.set_sampling(slot, settings.sampling(None))?;
        next.push(Next { slot, token });
    }
    batch.state(0)?; // waits until the slots are empty
    let interrupt = interrupt::watch();
    let start = Instant::now();
    let mut left = tokens;
    while left > 0 {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        let steps = left.min(steps_at_once);
        let chosen = batch.decode(&next, steps)?;
        for (next, chosen) in next.iter_mut().zip(&chosen[(steps - 1) * sequences..]) {
            next.token = match chosen {
                Some(chosen) => chosen.token,
                None => return Err(ran_away(next.slot)),
            };
        }
        left -= steps;
    }
    Ok(start.elapsed())
}

fn ran_away(slot: usize) -> Failure {
    let (slots, logits) = (vec![slot], Logits(Vec::new()));
    thalweg_rwkv::Error::Runaway { slots, logits }.into()
}

/// Numbers of sequences that generate at once: one always.
fn batch_sizes(args: &Args) -> Vec<usize> {
    let given = args.parallel.iter().copied().map(usize::from);
    let others = given.filter(|sequences| *sequences > 1);
    let sizes = std::iter::once(1).chain(others);
    sizes.filter(|_| args.decode > 0).collect()
}

/// Ids spread over the vocabulary, the same in every run.
fn some_ids(count: usize, vocab: usize) -> Vec<u32> {
    // Multiples of a large prime visit the vocabulary without a visible order.
    (1..=count as u64)
        .map(|i| (i * 2_654_435_761 % vocab as u64) as u32)
        .collect()
}

fn tokens(text: &str) -> Result<usize, String> {
    let tokens = text
        .parse()
        .ok()
        .filter(|tokens| (1..=MOST_TOKENS).contains(tokens));
    tokens.ok_or_else(|| format!("expected whole numbers from 1 to {MOST_TOKENS}"))
}
