//! `thalweg bench --report`: the report of all results in a folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thalweg_bench::Results;

use crate::commands::pictures::Pictures;
use crate::commands::results_file;
use crate::failure::Failure;
use crate::output;

/// Where results are unless told.
pub(super) const RESULTS: &str = "assets/results";

/// Endings of files that are results.
const ENDINGS: [&str; 2] = ["json", "jsonl"];

/// Writes the report, and says what it has no place for. Nothing is written unless all of it can be made.
pub(super) fn write(
    file: &Path,
    folder: &Path,
    pictures: Option<&Pictures<'_>>,
) -> Result<(), Failure> {
    let mut results = read(folder)?;
    let existing = existing(file)?;
    if let Some(pictures) = pictures {
        let drawn = results.pictures()?;
        results.show_pictures(&seen_from(file, pictures.folder()), &drawn);
        pictures.draw(&drawn)?;
    }
    let report = results
        .report_file(existing.as_deref())
        .map_err(|error| results_file::failure(file, &error))?;
    std::fs::write(file, &report.text).map_err(|error| Failure::path("write", file, &error))?;
    if !report.without_place.is_empty() {
        output::note(format_args!(
            "{} has no place for the sections {}; add `<!-- generated: NAME -->` and `<!-- end -->` for what it should have",
            file.display(),
            report.without_place.join(", ")
        ));
    }
    Ok(())
}

/// All results in the folder, by their names.
fn read(folder: &Path) -> Result<Results, Failure> {
    let fault = |error: std::io::Error| {
        Failure::Path(format!(
            "cannot read the folder {}: {error}; name one that holds results with --results",
            folder.display()
        ))
    };
    let entries = std::fs::read_dir(folder).map_err(fault)?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(fault)?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
    });
    paths.sort();
    if paths.is_empty() {
        return Err(Failure::Path(format!(
            "found no result in {}, expected files that end in .json or .jsonl; name another folder with --results, or make one: \
             thalweg bench -m model.gguf -o json > {}",
            folder.display(),
            folder.join("result.json").display()
        )));
    }
    let mut results = Results::default();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = results_file::text(path)?;
        results
            .add(&name, &text)
            .map_err(|error| results_file::failure(path, &error))?;
    }
    Ok(results)
}

/// The report as it is, if there is one.
fn existing(file: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::path("read", file, &error)),
    }
}

/// The folder as a link in the report names it: relative to the report where it lies below it.
fn seen_from(file: &Path, folder: &Path) -> String {
    let home = file.parent().unwrap_or(Path::new(""));
    let folder = folder.strip_prefix(home).unwrap_or(folder);
    folder
        .to_string_lossy()
        .replace('\\', "/")
        .trim_end_matches('/')
        .to_owned()
}
