//! Small operations: what they take alone, launched, and fused.

use super::results::{Named, Results};
use super::words;
use crate::operations::Operations;

/// The tables of all results that are about operations.
pub(super) fn operations(results: &Results) -> String {
    let tables = results.operations.iter().map(table);
    tables.collect::<Vec<_>>().join("\n")
}

fn table(Named { label, content, .. }: &Named<Operations>) -> String {
    let Operations {
        program,
        device,
        model,
        ..
    } = content;
    let names = [
        label,
        model,
        &device.name,
        &device.backend,
        &device.driver,
        &device.precision,
        program,
    ];
    let [label, model, device, backend, driver, precision, program] =
        names.map(|name| words::name(name));
    let driver = match driver.is_empty() {
        true => driver,
        false => format!(", {driver}"),
    };
    let command = format!("{}    # {label}", words::command(&content.arguments));
    let command = words::block(&[command]);
    let table = content.table();
    format!(
        "**{label}**: shapes of {model} on {device} ({backend}{driver}), precision {precision}, {program}\n\n{table}\n{command}"
    )
}
