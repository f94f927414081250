//! Whether what was measured was right.

use super::results::{Named, Results};
use super::words;
use crate::check::difference;
use crate::{Finding, Report, Table};

/// What the checks of runs found out, and which runs were not checked.
pub(super) fn check(results: &Results) -> String {
    let mut table = Table::new([
        "run",
        "activations",
        "against",
        "tokens",
        "rows of logits",
        "off by",
        "states",
        "off by",
        "choices",
        "wrong",
        "tolerance",
        "passed",
    ]);
    let mut commands = Vec::new();
    let mut unchecked = Vec::new();
    for run in &results.runs {
        match &run.content.check {
            None => unchecked.push(words::name(&run.label)),
            Some(check) => {
                check
                    .sums()
                    .iter()
                    .for_each(|sum| table.row(cells(run, sum)));
                commands.push(run.command());
            }
        }
    }
    if commands.is_empty() {
        return String::new();
    }
    let unchecked = match unchecked.is_empty() {
        true => String::new(),
        false => format!("Not checked: {}.\n\n", unchecked.join(", ")),
    };
    format!(
        "Compared in the same process, before anything was measured; logits in standard deviations of their row, states in parts of their \
         largest number.\n\n{table}\n{unchecked}{}",
        words::block(&commands)
    )
}

fn cells(run: &Named<Report>, sum: &Finding) -> Vec<String> {
    vec![
        words::name(&run.label),
        sum.activations.name().to_owned(),
        words::name(&sum.reference),
        sum.tokens.to_string(),
        sum.rows.to_string(),
        difference(sum.logits),
        sum.states.to_string(),
        difference(sum.state),
        sum.choices.to_string(),
        sum.wrong_choices.to_string(),
        difference(sum.tolerance),
        if sum.passed() { "yes" } else { "**no**" }.to_owned(),
    ]
}

/// A line for each comparison that failed.
pub(super) fn faults(results: &Results) -> String {
    let mut lines = String::new();
    for run in &results.runs {
        for fault in run.content.check.iter().flat_map(|check| check.faults()) {
            lines += &format!(
                "- **{} computes wrongly**: {}, activations {}: {}\n",
                words::name(&run.label),
                words::name(&fault.what),
                fault.activations.name(),
                words::name(&fault.differences()),
            );
        }
    }
    lines
}
