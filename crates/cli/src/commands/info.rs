//! `thalweg info`: what a GGUF file holds and what running it would take.

mod summary;
mod text;

use std::path::PathBuf;

use serde_json::{Value, json};
use thalweg_gguf::{GgufFile, TensorInfo};

use crate::failure::Failure;
use crate::{model, output};
use summary::Summary;

const AFTER_HELP: &str = "\
Metadata is enough: a vocabulary-only file is described too, and of other architectures as much as is known. \
Weights are not read.

Examples:
  thalweg info model.gguf
  thalweg info model.gguf --tensors
  thalweg info model.gguf --json";

/// Describe a GGUF file
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// GGUF file [default: the demo model]
    model: Option<PathBuf>,

    /// List every tensor: name, type, shape (fastest dimension first), bytes
    #[arg(long)]
    tensors: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let file = model::open(args.model.as_deref())?;
    let summary = Summary::new(&file);
    if args.json {
        return output::line(as_json(&summary, &file, args.tensors));
    }
    output::write(summary.to_string().as_bytes())?;
    if args.tensors {
        output::write(tensor_table(file.tensors()).as_bytes())?;
    }
    Ok(())
}

fn as_json(summary: &Summary, file: &GgufFile, tensors: bool) -> Value {
    let mut json = summary.json();
    if tensors {
        let list = file.tensors().iter();
        json["tensors"] = list
            .map(|t| json!({ "name": t.name, "type": t.ty.name(), "shape": t.shape, "offset": t.offset, "bytes": t.bytes }))
            .collect();
    }
    json
}

fn tensor_table(tensors: &[TensorInfo]) -> String {
    let width = tensors
        .iter()
        .map(|tensor| tensor.name.len())
        .max()
        .unwrap_or_default();
    let row = |t: &TensorInfo| {
        let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
        format!(
            "{:width$}  {:6} {:18} {:>12}\n",
            t.name,
            t.ty.name(),
            shape.join(" x "),
            t.bytes
        )
    };
    tensors.iter().map(row).collect()
}
