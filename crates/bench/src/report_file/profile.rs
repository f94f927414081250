//! What `thalweg profile -o json` printed: which kernels the time goes to, and what the host does meanwhile.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::results::{Named, Results};
use super::words;
use crate::format::{or_nothing, three_digits};
use crate::{Error, Table};

/// As much of a profile as a report tells.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ProfileFile {
    program: String,
    device: String,
    driver: String,
    /// The name of the model's file.
    model: String,
    stages: Vec<Stage>,
}

/// A prompt, or a step of decoding.
#[derive(Debug, Clone, Deserialize)]
struct Stage {
    name: String,
    /// Seconds until the host has its results.
    wall_s: f64,
    /// The same where nobody waits for each step.
    loop_s: Option<f64>,
    /// Seconds from begin to end on the device.
    device_s: f64,
    /// Where the host's time went, by names that end in `_s`.
    host: BTreeMap<String, Option<f64>>,
    kernels: Vec<Kernel>,
}

/// All dispatches of one kernel in a stage.
#[derive(Debug, Clone, Deserialize)]
struct Kernel {
    kernel: String,
    count: usize,
    total_s: f64,
    share: f64,
    bytes: f64,
    flops: f64,
}

impl ProfileFile {
    /// Reads it.
    pub(super) fn from_json(text: &str) -> Result<ProfileFile, Error> {
        serde_json::from_str(text).map_err(Error::Profile)
    }
}

/// The stages of all profiles, kernel by kernel.
pub(super) fn breakdown(results: &Results) -> String {
    let mut text = String::new();
    for profile in &results.profiles {
        text += &head(profile);
        for stage in &profile.content.stages {
            text += &stage.section(results.layers(&profile.content.model));
        }
    }
    text
}

fn head(profile: &Named<ProfileFile>) -> String {
    let ProfileFile {
        program,
        device,
        driver,
        model,
        ..
    } = &profile.content;
    let names = [&profile.label, model, device, driver, program].map(|name| words::name(name));
    let [label, model, device, driver, program] = names;
    format!("**{label}**: {model} on {device} ({driver}), {program}, `thalweg profile -o json`\n\n")
}

impl Results {
    /// The layers of a model, if a run is of it.
    fn layers(&self, file: &str) -> Option<usize> {
        let mut models = self.runs.iter().map(|run| &run.content.model);
        models
            .find(|model| model.file == file)
            .map(|model| model.layers)
    }
}

impl Stage {
    fn section(&self, layers: Option<usize>) -> String {
        let mut table = Table::new([
            "kernel", "count", "mean us", "total us", "share %", "GB/s", "TFLOP/s",
        ]);
        self.kernels
            .iter()
            .for_each(|kernel| table.row(kernel.cells()));
        format!("{}\n\n{table}\n{}\n\n", self.times(layers), self.host())
    }

    /// How long it takes, and its dispatches.
    fn times(&self, layers: Option<usize>) -> String {
        let dispatches: usize = self.kernels.iter().map(|kernel| kernel.count).sum();
        let a_layer = layers.filter(|layers| *layers > 0).map(|layers| {
            let a_layer = dispatches as f64 / layers as f64;
            format!(", {a_layer:.1} a layer of {layers}")
        });
        let looped = self
            .loop_s
            .map(|seconds| format!(", {} us in a loop", microseconds(seconds)));
        format!(
            "{}: {} us until the host has the result{}, {} us on the device, {dispatches} dispatches{}; by timestamps around each",
            words::name(&self.name),
            microseconds(self.wall_s),
            or_nothing(looped),
            microseconds(self.device_s),
            or_nothing(a_layer),
        )
    }

    fn host(&self) -> String {
        let known = self
            .host
            .iter()
            .filter_map(|(name, seconds)| Some((name, (*seconds)?)));
        let times = known.map(|(name, seconds)| {
            let name = name.strip_suffix("_s").unwrap_or(name).replace('_', " ");
            format!("{} {}", words::name(&name), microseconds(seconds))
        });
        format!(
            "The host's time in us: {}.",
            times.collect::<Vec<_>>().join(", ")
        )
    }
}

impl Kernel {
    fn cells(&self) -> Vec<String> {
        let rate = |amount: f64, unit: f64| {
            or_nothing((self.total_s > 0.0).then(|| three_digits(amount / self.total_s / unit)))
        };
        vec![
            words::name(&self.kernel),
            self.count.to_string(),
            microseconds(self.total_s / self.count.max(1) as f64),
            microseconds(self.total_s),
            format!("{:.1}", self.share * 100.0),
            rate(self.bytes, 1e9),
            rate(self.flops, 1e12),
        ]
    }
}

fn microseconds(seconds: f64) -> String {
    format!("{:.1}", seconds * 1e6)
}
