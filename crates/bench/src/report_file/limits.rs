//! What devices do at the most, and whose limits serve which results.

use super::results::Results;
use super::words;
use crate::{Device, Limits, Table};

/// A result with the limits that it is held against.
struct Limited<'a> {
    label: &'a str,
    device: &'a Device,
    limits: Option<Limits>,
    limits_of: Option<&'a str>,
}

/// The limits of each device, and which results borrow them.
pub(super) fn limits(results: &Results) -> String {
    let mut table = Table::new([
        "device",
        "backend",
        "driver",
        "read GB/s",
        "FMA TFLOP/s",
        "matrices TFLOP/s",
        "a dispatch us",
        "a round trip us",
        "measured by",
    ]);
    let mut notes = String::new();
    for lender in limited(results) {
        let Some(limits) = lender.limits.filter(|_| lender.limits_of.is_none()) else {
            continue;
        };
        table.row(cells(&lender, &limits));
        let borrows = |other: &Limited<'_>| other.limits_of == Some(lender.label);
        let borrowers = limited(results).filter(borrows);
        let borrowers: Vec<String> = borrowers.map(|other| words::name(other.label)).collect();
        if !borrowers.is_empty() {
            let (lender, borrowers) = (words::name(lender.label), borrowers.join(", "));
            notes += &format!("- What {lender} measured serves, too: {borrowers}\n");
        }
    }
    if limited(results).all(|result| result.limits.is_none()) {
        return String::new();
    }
    let command = "thalweg bench --limits --prefill 0 --decode 0".to_owned();
    let table = table.without_empty_columns();
    format!("{table}\n{notes}\n{}", words::block(&[command]))
}

fn limited(results: &Results) -> impl Iterator<Item = Limited<'_>> {
    let runs = results.runs.iter().map(|run| Limited {
        label: &run.label,
        device: &run.content.device,
        limits: run.content.limits,
        limits_of: run.limits_of.as_deref(),
    });
    let profiles = results.profiles.iter().map(|profile| Limited {
        label: &profile.label,
        device: &profile.content.device,
        limits: profile.content.limits,
        limits_of: profile.limits_of.as_deref(),
    });
    runs.chain(profiles)
}

fn cells(result: &Limited<'_>, limits: &Limits) -> [String; 9] {
    let matrices = limits.matrix_flop_per_s;
    let matrices = matrices.map(|rate| format!("{:.1}", rate / 1e12));
    [
        words::name(&result.device.name),
        words::name(&result.device.backend),
        words::name(&result.device.driver),
        words::rate(limits.read_bytes_per_s / 1e9),
        format!("{:.2}", limits.fma_flop_per_s / 1e12),
        matrices.unwrap_or_default(),
        format!("{:.2}", limits.dispatch_s * 1e6),
        format!("{:.1}", limits.round_trip_s * 1e6),
        words::name(result.label),
    ]
}
