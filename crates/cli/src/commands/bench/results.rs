//! Where what was measured goes.

use std::path::Path;

use thalweg_bench::{Case, DRIFT, LlamaBench, Report};

use super::Format;
use crate::commands::results_file;
use crate::failure::Failure;
use crate::output;

pub(super) fn write(format: Format, report: &Report) -> Result<(), Failure> {
    match format {
        Format::Table => output::write(report.to_string().as_bytes()),
        Format::Md => output::write(report.to_markdown().as_bytes()),
        Format::Json => output::line(report.to_json()),
        Format::Jsonl => output::write(report.to_json_lines().as_bytes()),
        Format::Csv => output::write(report.to_csv().as_bytes()),
    }
}

/// Tests that a warning names; it counts the others.
const NAMED: usize = 4;

/// Says which tests got faster or slower while they were measured.
pub(super) fn warn_of_drift(report: &Report) {
    let drifting: Vec<_> = report.drifting().collect();
    if drifting.is_empty() {
        return;
    }
    let name = |(case, change): &(&Case, f64)| {
        let chunk = case.setting.prompt_chunk();
        let chunk = chunk.map_or_else(String::new, |size| format!(" in chunks of {size}"));
        format!("{}{chunk} by {:+.1} %", case.setting.test(), change * 100.0)
    };
    let names: Vec<String> = drifting.iter().take(NAMED).map(name).collect();
    let others = match drifting.len() - names.len() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    output::note(format_args!(
        "warning: {} of {} tests changed their speed by more than {:.0} % while they were measured: {}{others}; let the machine \
         come to rest, or take more samples with --repeat",
        drifting.len(),
        report.cases.len(),
        DRIFT * 100.0,
        names.join(", "),
    ));
}

pub(super) fn read_llama_bench(path: &Path) -> Result<LlamaBench, Failure> {
    let text = results_file::text(path)?;
    LlamaBench::from_json(&text).map_err(|error| results_file::failure(path, &error))
}

/// Writes the tests that both have: under the table, or to standard error where standard output is for a program.
pub(super) fn write_beside(
    format: Format,
    report: &Report,
    rival: &LlamaBench,
) -> Result<(), Failure> {
    if let Some(doubt) = rival.doubt(report) {
        output::note(format_args!("warning: {doubt}"));
    }
    let Some(table) = rival.beside(report) else {
        output::note("llama-bench has none of these tests; run it with the same -p, -n and -d");
        return Ok(());
    };
    match format {
        Format::Table | Format::Md => output::write(format!("\n{table}").as_bytes()),
        Format::Json | Format::Jsonl | Format::Csv => {
            output::note_part(&table);
            Ok(())
        }
    }
}
