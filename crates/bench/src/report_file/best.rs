//! The best of each test: whatever was varied, the fastest setting of each run.

use super::results::{Named, Results};
use super::words;
use crate::format::{or_nothing, three_digits};
use crate::{Case, Report, Setting, Table, Task};

/// The fastest cases of a run, one a test and kind of activations.
pub(super) fn of_run(run: &Report, wanted: impl Fn(&Setting) -> bool) -> Vec<&Case> {
    let mut best: Vec<&Case> = Vec::new();
    for case in run.cases.iter().filter(|case| wanted(&case.setting)) {
        let Some(rate) = case.tokens_per_s() else {
            continue;
        };
        let kind = |case: &Case| (case.setting.test(), case.setting.activations);
        match best.iter_mut().find(|known| kind(known) == kind(case)) {
            Some(known)
                if known
                    .tokens_per_s()
                    .is_some_and(|known| known.median < rate.median) =>
            {
                *known = case
            }
            Some(_) => {}
            None => best.push(case),
        }
    }
    best
}

/// Prompts, model by model: the best of each length in each run.
pub(super) fn prompts(results: &Results) -> String {
    tables(results, |setting| setting.task == Task::Prefill)
}

/// Decoding of single sequences, likewise.
pub(super) fn decoding(results: &Results) -> String {
    tables(results, |setting| {
        setting.task != Task::Prefill && setting.sequences == 1
    })
}

fn tables(results: &Results, wanted: impl Fn(&Setting) -> bool) -> String {
    let models = results.by_model();
    let tables = models
        .iter()
        .filter_map(|(model, runs)| table(model, runs, &wanted));
    tables.collect::<Vec<_>>().join("\n")
}

fn table(
    model: &str,
    runs: &[&Named<Report>],
    wanted: impl Fn(&Setting) -> bool,
) -> Option<String> {
    let mut rows: Vec<(&Named<Report>, &Case)> = Vec::new();
    for run in runs {
        let best = of_run(&run.content, &wanted);
        rows.extend(best.into_iter().map(|case| (*run, case)));
    }
    // The same test stands side by side.
    rows.sort_by_key(|(_, Case { setting, .. })| {
        (setting.task as u8, setting.depth, setting.tokens)
    });
    let mut table = Table::new([
        "test",
        "run",
        "activations",
        "chunk",
        "block",
        "tok/s",
        "least",
        "most",
        "samples",
        "ms/token",
        "GB/s",
        "TFLOP/s",
        "% of limit",
    ]);
    rows.iter()
        .for_each(|(run, case)| table.row(cells(run, case)));
    let measured = runs
        .iter()
        .filter(|run| rows.iter().any(|(other, _)| other.label == run.label));
    let commands: Vec<String> = measured.map(|run| run.command()).collect();
    (!rows.is_empty()).then(|| {
        let table = table.without_empty_columns();
        format!(
            "**{}**\n\n{table}\n{}",
            words::name(model),
            words::block(&commands)
        )
    })
}

fn cells(run: &Named<Report>, case: &Case) -> Vec<String> {
    let setting = &case.setting;
    let work = run.content.model.work.as_ref();
    let rate = case.tokens_per_s();
    let rate_of = |pick: fn(&crate::Summary) -> f64| {
        or_nothing(rate.as_ref().map(|rate| words::rate(pick(rate))))
    };
    vec![
        setting.test().to_string(),
        words::name(&run.label),
        words::activations(setting).to_owned(),
        or_nothing(setting.prompt_chunk()),
        or_nothing(setting.block_size),
        rate_of(|rate| rate.median),
        rate_of(|rate| rate.min),
        rate_of(|rate| rate.max),
        or_nothing(rate.map(|rate| rate.count)),
        or_nothing(case.ms_per_token().map(three_digits)),
        or_nothing(work.and_then(|work| work.gb_per_s(case)).map(three_digits)),
        or_nothing(
            work.and_then(|work| work.tflop_per_s(case))
                .map(three_digits),
        ),
        or_nothing(run.content.share_of_limit(case)),
    ]
}
