//! `thalweg compare`: results of several runs side by side.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use thalweg_bench::{Comparison, Report, plot};

use super::pictures::Pictures;
use super::results_file;
use crate::failure::Failure;
use crate::output;

const AFTER_HELP: &str = "\
Ratios are to the first file. The table is Markdown, for issues too. Differences beyond noise are told from others by the \
rule that stands under it. A test that each file has in one setting only makes one row, also where these settings differ. \
Results of models that differ in size are refused.

Examples:
  thalweg compare vulkan.json dx12.json metal.json
  thalweg compare before.json after.json --plot pictures > comparison.md";

/// Compare results of `thalweg bench`: of backends, drivers, commits
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// What `thalweg bench -o json` or `-o jsonl` printed: two runs or more
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    files: Vec<PathBuf>,

    /// How to print the comparison: as tables in Markdown, or as JSON
    #[arg(short, long, value_enum, default_value_t = Format::Md)]
    output: Format,

    /// Draw the ratios into this folder
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    #[value(alias = "table")]
    Md,
    Json,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let pictures = args.plot.as_deref().map(Pictures::new).transpose()?;
    let runs = read(&args.files)?;
    let comparison = Comparison::new(&runs)?;
    for doubt in Comparison::doubts(&runs) {
        output::note(format_args!("warning: {doubt}"));
    }
    match args.output {
        Format::Md => output::write(comparison.to_string().as_bytes())?,
        Format::Json => output::line(comparison.to_json())?,
    }
    match pictures {
        None => Ok(()),
        Some(pictures) => pictures.draw(&[plot::of_comparison(&comparison)?]),
    }
}

/// The reports, each called by its file's name, or by its path where two files have the same name.
fn read(files: &[PathBuf]) -> Result<Vec<(String, Report)>, Failure> {
    let labeled = files.iter().map(|path| {
        let label = match files
            .iter()
            .filter(|other| stem(other) == stem(path))
            .count()
        {
            1 => stem(path),
            _ => path.display().to_string(),
        };
        Ok((label, results_file::read(path)?))
    });
    labeled.collect()
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str());
    stem.to_string_lossy().into_owned()
}
