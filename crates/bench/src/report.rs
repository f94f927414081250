//! A benchmark's report: what was measured on what, with every sample.

use serde::{Deserialize, Serialize};

use crate::{Case, Check, DRIFT, HostMemory, Limits, Share, Work, drift};

/// Everything that one run of the benchmark found out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The program and its version.
    pub program: String,
    /// The arguments that it was given.
    pub arguments: Vec<String>,
    /// The operating system and the processor's architecture.
    pub platform: String,
    /// What computed.
    pub device: Device,
    /// What was run.
    pub model: Model,
    /// Whether what a tuner found out was used.
    pub tuned: bool,
    /// What the random order of the samples came from; none in reports whose cases were measured one after the other.
    #[serde(default)]
    pub seed: Option<u64>,
    /// What the device does at the most, if that was measured.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// Whether the device's results were what they should be, if that was looked at.
    #[serde(default)]
    pub check: Option<Check>,
    /// What making it ready took, each time that was done.
    pub loads: Vec<Load>,
    /// What was measured.
    pub cases: Vec<Case>,
}

/// What computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The backend: `cpu`, `vulkan`, ...
    pub backend: String,
    /// The device's name.
    pub name: String,
    /// Its driver with the version; empty for the CPU.
    pub driver: String,
    /// Its optional features in use, as `thalweg devices` names them.
    #[serde(default)]
    pub features: Vec<String>,
    /// The arithmetic: `exact` or `fast`.
    pub precision: String,
}

/// What was run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    /// The file's name.
    pub file: String,
    /// The file's length.
    pub file_bytes: u64,
    /// A hash that tells models apart by their weights, as 16 hexadecimal digits.
    #[serde(default)]
    pub hash: Option<String>,
    /// Layers.
    pub layers: usize,
    /// Width of a layer.
    pub width: usize,
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// What it has to move and to compute.
    #[serde(default)]
    pub work: Option<Work>,
}

/// What making the model ready took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// From the opened file to a model that can run, in seconds.
    pub seconds: f64,
    /// The process's memory afterwards, where the system tells.
    pub host_memory: Option<HostMemory>,
    /// Bytes in use on the device afterwards, where it tells.
    pub device_bytes: Option<u64>,
}

impl Device {
    /// The device in a few words.
    pub fn summary(&self) -> String {
        format!("{} {}, {}", self.backend, self.name, self.precision)
    }
}

impl Model {
    /// Its name in tables: the file's without the ending.
    pub fn name(&self) -> &str {
        self.file.strip_suffix(".gguf").unwrap_or(&self.file)
    }

    /// Whether both have the same number of weights, so that their speeds say something about what ran them.
    pub fn has_shape_of(&self, other: &Model) -> bool {
        let shape = |model: &Model| (model.layers, model.width, model.vocab);
        shape(self) == shape(other)
    }

    /// Whether both are the same file as far as can be told.
    pub fn is_same_as(&self, other: &Model) -> bool {
        let hashes = self.hash.as_ref().zip(other.hash.as_ref());
        self.has_shape_of(other)
            && self.file_bytes == other.file_bytes
            && hashes.is_none_or(|(one, other)| one == other)
    }
}

impl Report {
    /// The cases that got faster or slower while they were measured, by which share.
    pub fn drifting(&self) -> impl Iterator<Item = (&Case, f64)> {
        self.cases
            .iter()
            .filter_map(|case| Some((case, drift(&case.samples_s)?)))
            .filter(|(_, change)| change.abs() > DRIFT)
    }

    /// How near the case came to what the device does at the most, if that was measured.
    pub fn share_of_limit(&self, case: &Case) -> Option<Share> {
        let (limits, work) = (self.limits?, self.model.work?);
        limits.share(case, &work, &self.device.precision)
    }

    /// Why `earlier` is no part of the same measurement, if it is not: another program, machine, model or arithmetic.
    pub fn difference_from(&self, earlier: &Report) -> Option<String> {
        let of_both = self.identity().into_iter().zip(earlier.identity());
        let mut differing = of_both.filter(|((_, now), (_, then))| now != then);
        differing.next().map(|((what, now), (_, then))| {
            format!("its {what} is '{then}', that of this run is '{now}'")
        })
    }

    /// What all samples of a measurement have in common.
    fn identity(&self) -> [(&'static str, String); 9] {
        let Report { device, model, .. } = self;
        let tuned = if self.tuned { "tuned" } else { "not tuned" };
        [
            ("program", self.program.clone()),
            ("platform", self.platform.clone()),
            ("backend", device.backend.clone()),
            ("device", device.name.clone()),
            ("driver", device.driver.clone()),
            ("feature list", device.features.join(" ")),
            ("precision", device.precision.clone()),
            ("division of work", tuned.to_owned()),
            (
                "model",
                format!(
                    "{} of {} bytes, hash {}",
                    model.file,
                    model.file_bytes,
                    model.hash.as_deref().unwrap_or("unknown")
                ),
            ),
        ]
    }
}
