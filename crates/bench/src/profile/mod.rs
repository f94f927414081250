//! Profiles: what each kernel of a step takes on a device, and what the host does meanwhile.

mod kernels;
mod text;
mod trace;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Device, Error, Limits};
pub use kernels::KernelTime;
pub use text::Markdown;

/// What profiling a model on a device has found out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Profile {
    /// The program and its version.
    pub program: String,
    /// The arguments that it was given; none in former profiles.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The operating system and the processor's architecture.
    pub platform: String,
    /// What computed.
    pub device: Device,
    /// The name of the model's file.
    pub model: String,
    /// How dispatches were told apart.
    pub timestamps: Timestamps,
    /// What the device does at the most, if that was measured.
    pub limits: Option<Limits>,
    /// What was profiled.
    pub stages: Vec<Stage>,
}

/// How dispatches were told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timestamps {
    /// By timestamps between the dispatches of a pass.
    InPasses,
    /// By a pass for each of them, for want of such timestamps.
    AroundPasses,
}

/// Something that a model does again and again: reading a prompt, or one step of decoding.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stage {
    /// Its name: `prefill 512`, `decode`, `decode x8`.
    pub name: String,
    /// Tokens that it reads, of all sequences together.
    pub tokens: usize,
    /// Seconds that it takes the host to have its results, without timestamps: the median of several.
    pub wall_s: f64,
    /// The same where the device goes on by itself, without being waited for.
    pub loop_s: Option<f64>,
    /// Seconds from its begin to its end on the device, with no timestamps but these two.
    pub device_s: f64,
    /// Where the host's time went.
    pub host: HostSeconds,
    /// Its dispatches, in order, with two timestamps each.
    pub dispatches: Vec<Dispatch>,
}

/// Where the host's time went in a stage, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSeconds {
    /// Telling the device what the step is about: token ids, tables, settings.
    pub write_s: f64,
    /// Handing commands to the queue.
    pub submit_s: f64,
    /// Encoding commands; those of the next step, while the device works.
    pub encode_s: f64,
    /// Waiting for the device.
    pub wait_s: f64,
    /// Mapping buffers and copying results out of them.
    pub read_back_s: f64,
    /// Turning the prompt's text into tokens, or what was chosen into text; not a part of the stage's wall time. Nothing if the
    /// tokens have no text.
    pub text_s: Option<f64>,
}

/// One dispatch by its timestamps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dispatch {
    /// The kernel's name.
    pub kernel: String,
    /// What does its arithmetic.
    pub unit: Unit,
    /// The number of its submission; what lies between two of them is no gap of the device's.
    pub submission: usize,
    /// Seconds from the stage's begin to its own.
    pub begin_s: f64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Estimated bytes that it moves.
    pub bytes: f64,
    /// Estimated floating-point operations.
    pub flops: f64,
}

/// What does a kernel's arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// 32-bit or 16-bit floats.
    Floats,
    /// Integer dot products.
    Integers,
    /// Cooperative matrices.
    Matrices,
}

impl Stage {
    /// Seconds of all dispatches together.
    pub fn dispatches_s(&self) -> f64 {
        self.dispatches
            .iter()
            .map(|dispatch| dispatch.seconds)
            .sum()
    }

    /// Seconds that the host spent on nothing that is told apart.
    pub fn other_s(&self) -> f64 {
        let HostSeconds {
            write_s,
            submit_s,
            encode_s,
            wait_s,
            read_back_s,
            ..
        } = self.host;
        (self.wall_s - write_s - submit_s - encode_s - wait_s - read_back_s).max(0.0)
    }

    /// Dispatches that belong to what chooses tokens.
    pub fn sampling_s(&self) -> f64 {
        let chooses = |dispatch: &&Dispatch| dispatch.kernel.starts_with("sample");
        let dispatches = self.dispatches.iter().filter(chooses);
        dispatches.map(|dispatch| dispatch.seconds).sum()
    }

    /// For each dispatch the seconds between the timestamp behind the one before it and its own first; nothing where another
    /// submission begins.
    fn gaps_s(&self) -> Vec<f64> {
        let mut before: Option<&Dispatch> = None;
        let gap = |dispatch| {
            let gap = before.map_or(0.0, |before: &Dispatch| gap_s(before, dispatch));
            before = Some(dispatch);
            gap
        };
        self.dispatches.iter().map(gap).collect()
    }
}

fn gap_s(before: &Dispatch, dispatch: &Dispatch) -> f64 {
    match before.submission == dispatch.submission {
        true => (dispatch.begin_s - before.begin_s - before.seconds).max(0.0),
        false => 0.0,
    }
}

impl Profile {
    /// Reads what [`to_json`](Profile::to_json) made.
    ///
    /// # Errors
    /// [`Error::Profile`] if it is not that.
    pub fn from_json(text: &str) -> Result<Profile, Error> {
        serde_json::from_str(text).map_err(Error::Profile)
    }

    /// The profile as one JSON object: every dispatch, and what they come to kernel by kernel.
    pub fn to_json(&self) -> Value {
        let mut json = json!(self);
        for (index, stage) in self.stages.iter().enumerate() {
            let of_stage = &mut json["stages"][index];
            let kernels = stage.kernels();
            let kernels = kernels
                .iter()
                .map(|kernel| kernel.to_json(self.limits.as_ref()));
            of_stage["kernels"] = kernels.collect();
            of_stage["dispatches_s"] = json!(stage.dispatches_s());
            of_stage["sampling_s"] = json!(stage.sampling_s());
            of_stage["host"]["other_s"] = json!(stage.other_s());
        }
        json
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(super) fn dispatch(kernel: &str, submission: usize, begin_us: f64, us: f64) -> Dispatch {
        Dispatch {
            kernel: kernel.to_owned(),
            unit: Unit::Floats,
            submission,
            begin_s: begin_us * 1e-6,
            seconds: us * 1e-6,
            bytes: 2e6,
            flops: 4e6,
        }
    }

    /// Two products around a norm, in two submissions.
    pub(super) fn stage() -> Stage {
        Stage {
            name: "decode".to_owned(),
            tokens: 1,
            wall_s: 100e-6,
            loop_s: Some(70e-6),
            device_s: 61e-6,
            host: HostSeconds {
                write_s: 5e-6,
                submit_s: 10e-6,
                encode_s: 15e-6,
                wait_s: 40e-6,
                read_back_s: 20e-6,
                text_s: None,
            },
            dispatches: vec![
                dispatch("matvec", 0, 0.0, 30.0),
                dispatch("norm", 0, 32.0, 10.0),
                dispatch("sample_best", 1, 500.0, 20.0),
                dispatch("matvec", 1, 523.0, 40.0),
            ],
        }
    }

    pub(crate) fn profile() -> Profile {
        Profile {
            program: "thalweg 1.2.3".to_owned(),
            arguments: vec!["profile".to_owned(), "--limits".to_owned()],
            platform: "linux x86_64".to_owned(),
            device: Device {
                backend: "vulkan".to_owned(),
                name: "A card".to_owned(),
                driver: "driver 5".to_owned(),
                features: vec!["subgroup".to_owned()],
                precision: "exact".to_owned(),
            },
            model: "a.gguf".to_owned(),
            timestamps: Timestamps::InPasses,
            limits: None,
            stages: vec![stage()],
        }
    }

    pub(super) const LIMITS: Limits = Limits {
        read_bytes_per_s: 1e12,
        fma_flop_per_s: 1e12,
        matrix_flop_per_s: Some(1e13),
        dispatch_s: 2e-6,
        round_trip_s: 9e-5,
    };

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn gaps_are_those_within_a_submission() {
        let gaps = stage().gaps_s();
        for (gap, expected) in gaps.into_iter().zip([0.0, 2e-6, 0.0, 3e-6]) {
            assert_close(gap, expected);
        }
    }

    #[test]
    fn what_is_not_told_apart_is_the_rest() {
        assert_close(stage().other_s(), 10e-6);
        assert_close(stage().dispatches_s(), 100e-6);
        assert_close(stage().sampling_s(), 20e-6);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let read = Profile::from_json(&profile().to_json().to_string()).unwrap();
        assert_eq!(read.to_string(), profile().to_string());
    }

    #[test]
    fn programs_get_every_dispatch_and_every_kernel() {
        let json = profile().to_json();
        let stage = &json["stages"][0];
        assert_eq!(stage["dispatches"].as_array().unwrap().len(), 4);
        assert_eq!(stage["kernels"][0]["kernel"], "matvec");
        assert_eq!(stage["kernels"][0]["count"], 2);
        assert_eq!(json["timestamps"], "in_passes");
        assert!(stage["kernels"][0]["share_of_limit"].is_null());
        let json_with_limits = Profile {
            limits: Some(LIMITS),
            ..profile()
        };
        let json_with_limits = json_with_limits.to_json();
        let share = &json_with_limits["stages"][0]["kernels"][2]["share_of_limit"];
        assert_eq!(share["of"], "fma");
        assert!(stage["host"]["other_s"].as_f64() > Some(0.0));
    }
}
