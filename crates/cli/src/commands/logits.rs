//! `thalweg logits`: raw logits for given tokens, to compare engines.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thalweg_engine::ChunkSize;
use thalweg_rwkv::{Session, Wanted};

use crate::failure::Failure;
use crate::flags::{self, ModelFlags, Precision, TokenIds};
use crate::output;

const AFTER_HELP: &str = "\
The file holds 32-bit floats, little endian, one for each token of the vocabulary; with --all one such row for each \
id, in order. Nothing is added to the ids, and the state starts at zero.

Examples:
  thalweg logits -m model.gguf --ids 33,45,2 -o last.f32
  thalweg logits -m model.gguf --ids-file ids.txt --all -o all.f32
  python3 -c \"import numpy; print(numpy.fromfile('last.f32', '<f4').argmax())\"";

/// Write the raw logits that follow given token ids
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    ids: Ids,

    /// Write the logits after every id, not only after the last
    #[arg(long)]
    all: bool,

    /// File to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    model: ModelFlags,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Ids {
    /// Token ids, separated by commas or white space
    #[arg(long, value_name = "IDS")]
    ids: Option<TokenIds>,

    /// A file with token ids, separated by commas or white space
    #[arg(long, value_name = "FILE")]
    ids_file: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let ids = args.ids.read()?;
    let mut model = args.model.start(args.model.open()?, Precision::Exact)?;
    let rows = write_logits(
        model.session.as_mut(),
        &ids,
        model.chunk_size,
        args.all,
        &args.output,
    )?;
    let vocab = model.session.hyperparameters().vocab;
    output::note(format_args!(
        "wrote {rows} x {vocab} logits to {}",
        args.output.display()
    ));
    Ok(())
}

impl Ids {
    fn read(&self) -> Result<Vec<u32>, Failure> {
        let Some(path) = &self.ids_file else {
            return Ok(self.ids.iter().flat_map(|ids| ids.0.clone()).collect());
        };
        let bytes = flags::read_file(path)?;
        let ids: TokenIds = String::from_utf8_lossy(&bytes)
            .parse()
            .map_err(|error| Failure::Usage(format!("--ids-file {}: {error}", path.display())))?;
        Ok(ids.0)
    }
}

/// Writes each chunk's logits as they come, so that memory holds one chunk of them. Returns the number of rows.
fn write_logits(
    session: &mut dyn Session,
    ids: &[u32],
    chunk_size: ChunkSize,
    all: bool,
    path: &Path,
) -> Result<usize, Failure> {
    let cannot_write = |error: io::Error| Failure::path("write", path, &error);
    let mut file = BufWriter::new(File::create(path).map_err(cannot_write)?);
    let mut left = ids.len();
    for chunk in ids.chunks(chunk_size.tokens()) {
        left -= chunk.len();
        let wanted = match (all, left) {
            (true, _) => Wanted::All,
            (false, 0) => Wanted::Last,
            (false, _) => Wanted::Nothing,
        };
        for logit in session.forward(chunk, wanted)? {
            file.write_all(&logit.to_le_bytes()).map_err(cannot_write)?;
        }
    }
    file.flush().map_err(cannot_write)?;
    Ok(if all { ids.len() } else { 1 })
}
