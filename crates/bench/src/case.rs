//! One thing measured several times.

use serde::{Deserialize, Serialize};

use crate::{Setting, Summary};

/// One thing measured several times: what was measured, and no more than that.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// What was done.
    #[serde(flatten)]
    pub setting: Setting,
    /// The very first time, in seconds, in which kernels may have been compiled; in no statistic.
    #[serde(default)]
    pub first_s: Option<f64>,
    /// The samples, in seconds and in the order of measurement.
    pub samples_s: Vec<f64>,
    /// Bytes on the device for the weights and what this case needs besides, where it tells.
    #[serde(default)]
    pub device_bytes: Option<u64>,
}

impl Case {
    /// A case without samples.
    pub fn new(setting: Setting) -> Case {
        Case {
            setting,
            first_s: None,
            samples_s: Vec::new(),
            device_bytes: None,
        }
    }

    /// The samples as tokens a second, of all sequences together.
    pub fn rates(&self) -> Vec<f64> {
        let tokens = self.setting.all_tokens();
        self.samples_s
            .iter()
            .map(|seconds| tokens / seconds)
            .collect()
    }

    /// What the samples come to in tokens a second, of all sequences together; none without samples.
    pub fn tokens_per_s(&self) -> Option<Summary> {
        Summary::of(&self.rates())
    }

    /// What they come to in tokens a second of each sequence.
    pub fn tokens_per_s_a_sequence(&self) -> Option<Summary> {
        let tokens = self.setting.tokens as f64;
        let rates = self.samples_s.iter().map(|seconds| tokens / seconds);
        Summary::of(&rates.collect::<Vec<_>>())
    }

    /// The median time of a sample, in seconds.
    pub fn median_s(&self) -> Option<f64> {
        Summary::of(&self.samples_s).map(|summary| summary.median)
    }

    /// The median time from one token of a sequence to the next, in milliseconds.
    pub fn ms_per_token(&self) -> Option<f64> {
        Some(self.median_s()? * 1e3 / self.setting.tokens as f64)
    }
}
