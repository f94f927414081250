//! What was to be reached, and the gap to it.

use super::results::Results;
use super::words;
use super::yardsticks::{Best, Shape, Target, Targets};
use crate::Table;

/// The targets, with the best that any run on their device came to.
pub(super) fn targets(results: &Results) -> String {
    let of_device = |targets: &&Targets| results.has_device(&targets.device);
    let tables = results.targets.iter().filter(of_device);
    tables
        .map(|targets| table(results, targets))
        .collect::<Vec<_>>()
        .join("\n")
}

fn table(results: &Results, targets: &Targets) -> String {
    let mut table = Table::new([
        "model",
        "how",
        "what",
        "wanted tok/s",
        "measured",
        "gap",
        "reached",
        "run",
        "test",
    ]);
    for (target, best) in with_best(results, targets) {
        let fixed = [
            words::name(&target.model),
            target.how.name().to_owned(),
            target.task.name(target.size),
            words::rate(target.tokens_per_s),
        ];
        let outcome = match best {
            None => vec!["no raw result".to_owned()],
            Some(best) => outcome(target, &best),
        };
        table.row(fixed.into_iter().chain(outcome));
    }
    format!(
        "On an {}; they come from {}. The best of all runs counts, whatever their commits, chunk sizes, block sizes and ways to \
         decode.\n\n{table}",
        words::name(&targets.device),
        words::name(&targets.source),
    )
}

fn outcome(target: &Target, best: &Best<'_>) -> Vec<String> {
    let reached = if is_reached(target, best) {
        "yes"
    } else {
        "**no**"
    };
    let gap = 100.0 * (best.tokens_per_s / target.tokens_per_s - 1.0);
    let [run, test] = best.place();
    vec![
        words::rate(best.tokens_per_s),
        format!("{gap:+.0} %"),
        reached.to_owned(),
        run,
        test,
    ]
}

fn is_reached(target: &Target, best: &Best<'_>) -> bool {
    best.tokens_per_s >= target.tokens_per_s
}

/// The targets with the best of ours; those of models that the file does not describe were refused when it was read.
fn with_best<'a>(
    results: &'a Results,
    targets: &'a Targets,
) -> impl Iterator<Item = (&'a Target, Option<Best<'a>>)> {
    targets.targets.iter().map(|target| {
        let model = targets
            .models
            .iter()
            .find(|shape: &&Shape| shape.name == target.model);
        let best = model.and_then(|model| {
            let work = (target.task, target.size);
            results.best(&targets.device, model, target.how, work)
        });
        (target, best)
    })
}

/// A line for each target that was measured and missed.
pub(super) fn missed(results: &Results) -> String {
    let mut lines = String::new();
    for targets in &results.targets {
        for (target, best) in with_best(results, targets) {
            if let Some(best) = best.filter(|best| !is_reached(target, best)) {
                let [run, test] = best.place();
                lines += &format!(
                    "- {} on an {}, {}, {}: {} of the {} tok/s that were wanted ({test} in {run})\n",
                    words::name(&target.model),
                    words::name(&targets.device),
                    target.how.name(),
                    target.task.name(target.size),
                    words::rate(best.tokens_per_s),
                    words::rate(target.tokens_per_s),
                );
            }
        }
    }
    lines
}
