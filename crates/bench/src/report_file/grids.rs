//! Tables of rates by two things that a run varied.

use super::results::{Named, Results};
use super::words;
use crate::{Case, Report, Setting, Table, Task, Test};

/// Throughput against chunk size, a column a prompt.
pub(super) fn chunk_sizes(results: &Results) -> String {
    let row = |setting: &Setting| setting.prompt_chunk();
    let column = |setting: &Setting| with_activations(setting.test().to_string(), setting);
    of_runs(results, |run| {
        grid("chunk size", &run.cases, row, column)
            .into_iter()
            .collect()
    })
}

/// Block size by chunk size, a table a prompt.
pub(super) fn block_sizes(results: &Results) -> String {
    let row = |setting: &Setting| setting.block_size.map(|size| size as usize);
    let column =
        |setting: &Setting| with_activations(format!("chunk {}", setting.chunk_size), setting);
    of_runs(results, |run| {
        let mut tests = Vec::new();
        for case in &run.cases {
            let test = case.setting.test();
            if !tests.contains(&test) {
                tests.push(test);
            }
        }
        let table = |test: &Test| {
            let of_test = run.cases.iter().filter(|case| case.setting.test() == *test);
            let cases: Vec<Case> = of_test.cloned().collect();
            grid(&format!("{test}, block"), &cases, row, column)
        };
        tests.iter().filter_map(table).collect()
    })
}

/// Throughput of all sequences together against their number, a column a way to decode.
pub(super) fn sequences(results: &Results) -> String {
    let row = |setting: &Setting| {
        matches!(setting.task, Task::Parallel | Task::Sampled | Task::Loop)
            .then_some(setting.sequences)
    };
    let column = |setting: &Setting| {
        let task = match setting.task {
            Task::Parallel => Task::Decode,
            task => task,
        };
        let alone = Setting {
            task,
            sequences: 1,
            ..*setting
        };
        with_activations(alone.test().to_string(), setting)
    };
    of_runs(results, |run| {
        grid("sequences", &run.cases, row, column)
            .into_iter()
            .collect()
    })
}

fn with_activations(column: String, setting: &Setting) -> String {
    match words::activations(setting) {
        "" => column,
        activations => format!("{column}, {activations}"),
    }
}

/// The tables of each run that has any, with its command.
fn of_runs(results: &Results, tables: impl Fn(&Report) -> Vec<Table>) -> String {
    let of_run = |run: &Named<Report>| {
        let tables: Vec<String> = tables(&run.content).iter().map(Table::to_string).collect();
        let tables = Some(tables.join("\n")).filter(|tables| !tables.is_empty())?;
        let (label, model) = (
            words::name(&run.label),
            words::name(run.content.model.name()),
        );
        let command = words::block(&[run.command()]);
        Some(format!(
            "**{label}**, {model}, tok/s\n\n{tables}\n{command}"
        ))
    };
    results
        .runs
        .iter()
        .filter_map(of_run)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A table of the best rates by row and column, the best of each column in bold; nothing with less than two rows.
fn grid(
    corner: &str,
    cases: &[Case],
    row: impl Fn(&Setting) -> Option<usize>,
    column: impl Fn(&Setting) -> String,
) -> Option<Table> {
    let mut cells: Vec<(usize, String, f64)> = Vec::new();
    let mut measured: Vec<&Case> = cases.iter().collect();
    measured.sort_by_key(|Case { setting, .. }| {
        (
            setting.task as u8,
            setting.depth,
            setting.tokens,
            setting.chunk_size,
        )
    });
    for case in measured {
        if let Some((row, rate)) = row(&case.setting).zip(case.tokens_per_s()) {
            cells.push((row, column(&case.setting), rate.median));
        }
    }
    let mut rows: Vec<usize> = cells.iter().map(|cell| cell.0).collect();
    rows.sort_unstable();
    rows.dedup();
    let mut columns: Vec<&str> = Vec::new();
    for (_, column, _) in &cells {
        if !columns.contains(&column.as_str()) {
            columns.push(column);
        }
    }
    let best = |wanted: &dyn Fn(&(usize, String, f64)) -> bool| {
        let rates = cells.iter().filter(|cell| wanted(cell)).map(|cell| cell.2);
        rates.max_by(f64::total_cmp)
    };
    let mut table = Table::new(std::iter::once(corner).chain(columns.iter().copied()));
    for row in &rows {
        let cell = |column: &&str| {
            let Some(rate) = best(&|cell| cell.0 == *row && cell.1 == *column) else {
                return String::new();
            };
            match best(&|cell| cell.1 == *column) {
                Some(most) if most > rate => words::rate(rate),
                _ => format!("**{}**", words::rate(rate)),
            }
        };
        table.row(std::iter::once(row.to_string()).chain(columns.iter().map(cell)));
    }
    (rows.len() > 1).then_some(table)
}
