//! Flags that several commands share: the model, the prompt, the sampler.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use thalweg_engine::{ChunkSize, SamplerSettings};
use thalweg_tokenizer::chat::Thinking;

use crate::device::DeviceFlags;
use crate::failure::Failure;

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct ModelPath {
    /// GGUF file of the model [default: the demo model]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
}

/// Which file, and how it is run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelFlags {
    #[command(flatten)]
    pub(crate) path: ModelPath,

    /// Prompt tokens read at once, from 1 to 4096 or what the device can [default: by device]
    #[arg(long, value_name = "N")]
    pub(crate) chunk_size: Option<ChunkSize>,

    /// Threads a side of the matmul's workgroup on a GPU: 8, 16 or 32 [default: by device]
    #[arg(long, value_name = "N")]
    pub(crate) block_size: Option<u32>,

    /// What matrices meet on a GPU, but for prompts on matrix units: q8 rounds activations to 8 bits, 16 of them sharing
    /// a scale
    #[arg(long, value_enum, default_value_t = Activations::F32)]
    pub(crate) activations: Activations,

    #[command(flatten)]
    pub(crate) compute: ComputeFlags,
}

/// What computes, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct ComputeFlags {
    #[command(flatten)]
    pub(crate) device: DeviceFlags,

    /// Arithmetic of prompts: fast rounds operands to 16 bits where a GPU has such floats [default: fast to generate,
    /// chat and bench on matrix units, else exact]
    #[arg(long, value_enum)]
    pub(crate) precision: Option<Precision>,

    /// Threads of the CPU backend, from 1 to 1024 [default: all cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Look at every weight before the start and refuse infinite ones
    #[arg(long)]
    pub(crate) check_tensors: bool,

    /// Neither use nor keep compiled kernels and tunings in the user's cache folder (THALWEG_CACHE_DIR names another)
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Ignore what `thalweg tune` has found out
    #[arg(long)]
    pub(crate) no_tuned: bool,
}

/// What matrices meet in products with a single token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Activations {
    /// 32-bit floats.
    F32,
    /// 8-bit integers with a scale for every 16.
    Q8,
}

impl From<Activations> for thalweg_rwkv::Activations {
    fn from(activations: Activations) -> Self {
        match activations {
            Activations::F32 => thalweg_rwkv::Activations::F32,
            Activations::Q8 => thalweg_rwkv::Activations::Q8,
        }
    }
}

/// The arithmetic of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// Activations, operands and sums are 32-bit floats.
    Exact,
    /// Operands are 16-bit floats, sums are 32-bit floats.
    Fast,
}

impl Precision {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Precision::Exact => "exact",
            Precision::Fast => "fast",
        }
    }
}

impl From<Precision> for thalweg_rwkv::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Exact => thalweg_rwkv::Precision::Exact,
            Precision::Fast => thalweg_rwkv::Precision::Fast,
        }
    }
}

/// Where a text comes from.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Text {
    /// The text itself
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<OsString>,

    /// A file with the text; without -p and -f it is read from standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Text {
    /// The text's bytes, exactly as they are.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt.as_encoded_bytes().to_vec());
        }
        match &self.file {
            Some(path) => read_file(path),
            None => read_standard_input(),
        }
    }

    /// The same, less the line break that editors and `echo` put at the end of what they write.
    pub(crate) fn read_prompt(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = self.read()?;
        if self.prompt.is_none() && bytes.ends_with(b"\n") {
            bytes.truncate(bytes.len() - if bytes.ends_with(b"\r\n") { 2 } else { 1 });
        }
        Ok(bytes)
    }
}

/// Bytes of text that one command reads at most: far more than anyone waits for, and endless input ends in an error.
const TEXT_BYTES: u64 = 1 << 30;

/// The contents of a text file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = File::open(path)
        .and_then(read_bounded)
        .map_err(|error| Failure::path("read", path, &error))?;
    bytes.ok_or_else(|| too_long(path.display()))
}

fn read_standard_input() -> Result<Vec<u8>, Failure> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Err(Failure::Usage(
            "there is no text: standard input is a terminal, expected -p TEXT, -f FILE or a pipe; give one of these"
                .to_owned(),
        ));
    }
    let bytes = read_bounded(stdin).map_err(|error| {
        Failure::Path(format!(
            "cannot read standard input: {error}; check where it comes from, or give -p or -f"
        ))
    })?;
    bytes.ok_or_else(|| too_long("standard input"))
}

/// Everything there is to read; nothing if that is more than [`TEXT_BYTES`].
fn read_bounded(reader: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(TEXT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= TEXT_BYTES))
}

fn too_long(source: impl Display) -> Failure {
    Failure::Usage(format!(
        "{source} holds more than {TEXT_BYTES} bytes of text, expected at most that; give it in parts"
    ))
}

/// How tokens are chosen.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Sampling (in this order: penalties, top-k, top-p, min-p, temperature)"
)]
pub(crate) struct SamplerFlags {
    /// Below 1 safer, above 1 wilder; 0 always takes the most probable token
    #[arg(long, value_name = "T", value_parser = number, default_value_t = SamplerSettings::default().temperature)]
    temp: f32,

    /// Choose among the K most probable tokens; 0 for all
    #[arg(long, value_name = "K", value_parser = whole_number::<usize>, default_value_t = SamplerSettings::default().top_k)]
    top_k: usize,

    /// Choose among the most probable tokens that hold this share of the probability; 1 for all
    #[arg(long, value_name = "P", value_parser = number, default_value_t = SamplerSettings::default().top_p)]
    top_p: f32,

    /// Choose among tokens at least this share as probable as the best; 0 for all
    #[arg(long, value_name = "P", value_parser = number, default_value_t = SamplerSettings::default().min_p)]
    min_p: f32,

    /// Taken off the logit of tokens generated before
    #[arg(long, value_name = "X", value_parser = number, default_value_t = SamplerSettings::default().presence_penalty)]
    presence_penalty: f32,

    /// Taken off the logit of a token for each time it was generated before
    #[arg(long, value_name = "X", value_parser = number, default_value_t = SamplerSettings::default().frequency_penalty)]
    frequency_penalty: f32,

    /// What these counts are multiplied by at each token: 1 never forgets
    #[arg(long, value_name = "X", value_parser = number, default_value_t = SamplerSettings::default().penalty_decay)]
    penalty_decay: f32,

    /// Makes a run repeatable; the summary names the one used [default: random]
    #[arg(long, value_name = "N", value_parser = whole_number::<u64>)]
    seed: Option<u64>,
}

impl SamplerFlags {
    /// The settings, checked; a random seed where none was given.
    pub(crate) fn settings(&self) -> Result<SamplerSettings, Failure> {
        let settings = SamplerSettings {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            penalty_decay: self.penalty_decay,
            seed: self.seed.unwrap_or_else(random_seed),
            ..SamplerSettings::default()
        };
        settings.validate()?;
        Ok(settings)
    }
}

/// Short enough to be typed again; from the randomness that the standard library's hash maps start with.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) >> 32
}

/// How a model that can think before it answers begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ThinkingFlag {
    Off,
    On,
    Quick,
}

impl From<ThinkingFlag> for Thinking {
    fn from(flag: ThinkingFlag) -> Self {
        match flag {
            ThinkingFlag::Off => Self::Off,
            ThinkingFlag::On => Self::On,
            ThinkingFlag::Quick => Self::Quick,
        }
    }
}

/// A number; its range is checked where it is used.
fn number(text: &str) -> Result<f32, String> {
    text.parse()
        .map_err(|_| "expected a number such as 0.8".to_owned())
}

/// A count or a seed.
pub(crate) fn whole_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "expected a whole number from 0 up, such as 40".to_owned())
}

/// Token ids as people write them: separated by commas or white space, at least one.
#[derive(Debug, Clone)]
pub(crate) struct TokenIds(pub(crate) Vec<u32>);

impl FromStr for TokenIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ids = text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|id| !id.is_empty());
        let ids: Result<Vec<u32>, String> = ids
            .map(|id| {
                id.parse()
                    .map_err(|_| format!("found '{}', expected whole numbers", id.escape_debug()))
            })
            .collect();
        match ids? {
            ids if ids.is_empty() => Err("found no token id, expected at least one".to_owned()),
            ids => Ok(Self(ids)),
        }
    }
}
