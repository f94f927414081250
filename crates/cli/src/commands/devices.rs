//! `thalweg devices`: the adapters of this machine, and which would compute.

use serde_json::{Value, json};
use thalweg_gpu::{Adapter, Feature};

use crate::device::{CPU, Choice, DeviceFlags};
use crate::failure::Failure;
use crate::output;

const AFTER_HELP: &str = "\
Software adapters compute on the CPU and are good for tests only; --backend auto never takes one. WGPU_BACKEND and \
WGPU_ADAPTER_NAME stand in for --backend and --device where these are not given.

Examples:
  thalweg devices
  thalweg devices --json
  thalweg devices --device nvidia";

/// List the devices that can compute, and the one that would
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    device: DeviceFlags,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (listing, choice) = args.device.list()?;
    let choice = choice?;
    if args.json {
        return output::line(as_json(&listing.adapters, &choice));
    }
    listing
        .adapters
        .iter()
        .try_for_each(|adapter| output::write(describe(adapter).as_bytes()))?;
    output::line(match choice {
        Choice::Cpu { reason } => format!("chosen: {CPU} ({reason})"),
        Choice::Adapter(choice) => format!("chosen: {} ({})", choice.index, choice.reason),
    })
}

fn as_json(adapters: &[Adapter], choice: &Choice) -> Value {
    let (chosen, reason) = match choice {
        Choice::Cpu { reason } => (json!(CPU), reason),
        Choice::Adapter(choice) => (json!(choice.index), &choice.reason),
    };
    json!({ "adapters": adapters, "chosen": chosen, "reason": reason })
}

fn describe(adapter: &Adapter) -> String {
    let limits = &adapter.limits;
    let software = if adapter.software { ", software" } else { "" };
    format!(
        "{} {} ({}, {}{software})\n    driver: {}\n    features: {}\n    limits: buffers of {} MiB, bindings of {} MiB, \
         workgroups of {} invocations and {} KiB\n",
        adapter.index,
        adapter.name,
        adapter.backend,
        adapter.kind.name(),
        or(&adapter.driver_and_version(), "unknown"),
        or(&features(adapter).join(", "), "none of interest"),
        limits.buffer_bytes >> 20,
        limits.storage_binding_bytes >> 20,
        limits.workgroup_invocations,
        limits.workgroup_bytes >> 10,
    )
}

fn features(adapter: &Adapter) -> Vec<String> {
    let name = |feature: &Feature| match (feature, adapter.subgroup_sizes) {
        (Feature::Subgroup, [min, max]) if min == max => format!("{feature} of {min}"),
        (Feature::Subgroup, [min, max]) => format!("{feature} of {min} to {max}"),
        _ => feature.to_string(),
    };
    adapter.features.iter().map(name).collect()
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}
