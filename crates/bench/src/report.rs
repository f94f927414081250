//! A benchmark's report: what was measured on what, every sample, and what they come to.

use std::fmt;

use serde::Serialize;

use crate::{HostMemory, Summary, Table};

/// Everything that one run of the benchmark found out.
#[derive(Debug, Clone, Serialize)]
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
    /// What making it ready took: once for each combination of sizes.
    pub loads: Vec<Load>,
    /// What was measured.
    pub cases: Vec<Case>,
}

/// What computed.
#[derive(Debug, Clone, Serialize)]
pub struct Device {
    /// The backend: `cpu`, `vulkan`, ...
    pub backend: String,
    /// The device's name.
    pub name: String,
    /// Its driver with the version; empty for the CPU.
    pub driver: String,
    /// The arithmetic: `exact` or `fast`.
    pub precision: String,
}

impl Device {
    /// The device in a few words.
    pub fn summary(&self) -> String {
        format!("{} {}, {}", self.backend, self.name, self.precision)
    }
}

/// What was run.
#[derive(Debug, Clone, Serialize)]
pub struct Model {
    /// The file's name.
    pub file: String,
    /// The file's length.
    pub file_bytes: u64,
    /// Layers.
    pub layers: usize,
    /// Width of a layer.
    pub width: usize,
    /// Tokens of the vocabulary.
    pub vocab: usize,
}

/// What making the model ready took.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// From the opened file to a model that can run, in seconds.
    pub seconds: f64,
    /// The process's memory afterwards, where the system tells.
    pub host_memory: Option<HostMemory>,
    /// Bytes in use on the device afterwards, where it tells.
    pub device_bytes: Option<u64>,
}

/// What a case measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Reading a prompt, in chunks.
    Prefill,
    /// Single tokens, each waited for.
    Decode,
    /// Single tokens of several sequences at once, each of the steps waited for.
    Parallel,
    /// Single tokens of one sequence or several, each chosen where the model runs, each of the steps waited for.
    Sampled,
    /// The same without waiting for each of the steps.
    Loop,
}

/// What a case does, and the settings that its speed depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// What is measured.
    pub task: Task,
    /// Tokens of one sample, of each sequence.
    pub tokens: usize,
    /// Sequences that are read at once.
    pub sequences: usize,
    /// Tokens read at once.
    pub chunk_size: usize,
    /// Threads a side of the matmul's workgroup, where there is one.
    pub block_size: Option<u32>,
}

/// One thing measured several times.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    #[serde(flatten)]
    setting: Setting,
    samples_s: Vec<f64>,
    tokens_per_s: Option<Summary>,
    tokens_per_s_a_sequence: Option<Summary>,
}

impl Case {
    /// The samples, in seconds and in the order of measurement.
    pub fn new(setting: Setting, samples_s: Vec<f64>) -> Case {
        let rates = |tokens: usize| {
            let rates = samples_s.iter().map(|seconds| tokens as f64 / seconds);
            Summary::of(&rates.collect::<Vec<_>>())
        };
        Case {
            setting,
            tokens_per_s: rates(setting.tokens * setting.sequences),
            tokens_per_s_a_sequence: rates(setting.tokens),
            samples_s,
        }
    }

    /// What the samples come to in tokens a second, of all sequences together; none without samples.
    pub fn tokens_per_s(&self) -> Option<&Summary> {
        self.tokens_per_s.as_ref()
    }

    /// What they come to in tokens a second of each sequence.
    pub fn tokens_per_s_a_sequence(&self) -> Option<&Summary> {
        self.tokens_per_s_a_sequence.as_ref()
    }

    fn cells(&self) -> Vec<String> {
        let Setting {
            task,
            tokens,
            sequences,
            chunk_size,
            block_size,
        } = self.setting;
        let times = match sequences {
            1 => String::new(),
            several => format!(" x {several}"),
        };
        let mut cells = match task {
            Task::Prefill => vec![format!("prefill {tokens}"), chunk_size.to_string()],
            Task::Decode => vec![format!("decode {tokens}"), String::new()],
            Task::Parallel => vec![format!("decode {tokens} x {sequences}"), String::new()],
            Task::Sampled => vec![format!("decode sampled {tokens}{times}"), String::new()],
            Task::Loop => vec![format!("decode loop {tokens}{times}"), String::new()],
        };
        cells.push(block_size.map_or_else(String::new, |size| size.to_string()));
        if let Some(rate) = self.tokens_per_s() {
            let numbers = [
                rate.median,
                rate.lower_quartile,
                rate.upper_quartile,
                rate.mean,
                rate.deviation,
            ];
            cells.extend(numbers.map(|number| format!("{number:.1}")));
            cells.push(rate.count.to_string());
        }
        let is_shared = task == Task::Parallel || sequences > 1;
        if let Some(rate) = self.tokens_per_s_a_sequence().filter(|_| is_shared) {
            cells.push(format!("{:.1}", rate.median));
        }
        cells
    }
}

/// The report for people: what was measured on what, then a table in Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            program,
            platform,
            device,
            model,
            tuned,
            loads,
            ..
        } = self;
        writeln!(f, "{program} on {platform}")?;
        let driver = if device.driver.is_empty() {
            String::new()
        } else {
            format!(", {}", device.driver)
        };
        writeln!(
            f,
            "device: {} ({}{driver}), precision {}{}",
            device.name,
            device.backend,
            device.precision,
            if *tuned { ", tuned" } else { "" }
        )?;
        let file_mb = megabytes(model.file_bytes);
        writeln!(
            f,
            "model: {}, {file_mb}, {} layers of width {}",
            model.file, model.layers, model.width
        )?;
        if let Some(load) = loads.first() {
            writeln!(f, "loaded in {:.3} s{}", load.seconds, memory(load))?;
        }
        writeln!(f)?;
        let headings = [
            "tok/s",
            "chunk",
            "block",
            "median",
            "25 %",
            "75 %",
            "mean",
            "deviation",
            "samples",
        ];
        let is_parallel = |case: &Case| case.setting.task == Task::Parallel;
        let of_each = self.cases.iter().any(is_parallel).then_some("a sequence");
        let mut table = Table::new(headings.into_iter().chain(of_each));
        self.cases.iter().for_each(|case| table.row(case.cells()));
        table.fmt(f)
    }
}

fn memory(load: &Load) -> String {
    let on_device = load
        .device_bytes
        .map(|bytes| format!("{} on the device", megabytes(bytes)));
    let on_host = load.host_memory.map(|memory| {
        format!(
            "{} of the host's own memory",
            megabytes(memory.anonymous_bytes)
        )
    });
    match (on_device, on_host) {
        (Some(device), Some(host)) => format!(", {device}, {host}"),
        (Some(one), None) | (None, Some(one)) => format!(", {one}"),
        (None, None) => String::new(),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let prefill = Setting {
            task: Task::Prefill,
            tokens: 512,
            sequences: 1,
            chunk_size: 128,
            block_size: Some(16),
        };
        let decode = Setting {
            task: Task::Decode,
            tokens: 64,
            sequences: 1,
            chunk_size: 1,
            block_size: None,
        };
        Report {
            program: "thalweg 1.2.3".to_owned(),
            arguments: vec!["bench".to_owned()],
            platform: "linux x86_64".to_owned(),
            device: Device {
                backend: "vulkan".to_owned(),
                name: "A card".to_owned(),
                driver: "driver 5".to_owned(),
                precision: "exact".to_owned(),
            },
            model: Model {
                file: "a.gguf".to_owned(),
                file_bytes: 1_500_000,
                layers: 2,
                width: 64,
                vocab: 100,
            },
            tuned: false,
            loads: vec![Load {
                seconds: 0.25,
                host_memory: Some(HostMemory {
                    anonymous_bytes: 20_000_000,
                    peak_bytes: 50_000_000,
                }),
                device_bytes: Some(2_000_000),
            }],
            cases: vec![
                Case::new(prefill, vec![2.0, 1.0, 4.0]),
                Case::new(decode, Vec::new()),
            ],
        }
    }

    #[test]
    fn people_get_what_a_figure_depends_on_and_a_table() {
        let expected = "\
            thalweg 1.2.3 on linux x86_64\n\
            device: A card (vulkan, driver 5), precision exact\n\
            model: a.gguf, 1.5 MB, 2 layers of width 64\n\
            loaded in 0.250 s, 2.0 MB on the device, 20.0 MB of the host's own memory\n\
            \n\
            | tok/s       | chunk | block | median |  25 % |  75 % |  mean | deviation | samples |\n\
            |:------------|------:|------:|-------:|------:|------:|------:|----------:|--------:|\n\
            | prefill 512 |   128 |    16 |  256.0 | 192.0 | 384.0 | 298.7 |     195.5 |       3 |\n\
            | decode 64   |       |       |        |       |       |       |           |         |\n";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn sequences_at_once_are_counted_together_and_one_by_one() {
        let parallel = Setting {
            task: Task::Parallel,
            tokens: 16,
            sequences: 8,
            chunk_size: 1,
            block_size: None,
        };
        let mut report = report();
        report.cases = vec![
            Case::new(parallel, vec![2.0]),
            Case::new(
                Setting {
                    task: Task::Decode,
                    sequences: 1,
                    ..parallel
                },
                vec![1.0],
            ),
            Case::new(
                Setting {
                    task: Task::Loop,
                    ..parallel
                },
                vec![1.0],
            ),
        ];
        let text = report.to_string();
        let expected = "\
            | tok/s              | chunk | block | median |  25 % |  75 % |  mean | deviation | samples | a sequence |\n\
            |:-------------------|------:|------:|-------:|------:|------:|------:|----------:|--------:|-----------:|\n\
            | decode 16 x 8      |       |       |   64.0 |  64.0 |  64.0 |  64.0 |       0.0 |       1 |        8.0 |\n\
            | decode 16          |       |       |   16.0 |  16.0 |  16.0 |  16.0 |       0.0 |       1 |            |\n\
            | decode loop 16 x 8 |       |       |  128.0 | 128.0 | 128.0 | 128.0 |       0.0 |       1 |       16.0 |\n";
        assert!(text.ends_with(expected), "{text}");
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(json["cases"][0]["task"], "parallel");
        assert_eq!(json["cases"][0]["sequences"], 8);
        assert_eq!(json["cases"][0]["tokens_per_s"]["median"], 64.0);
        assert_eq!(json["cases"][0]["tokens_per_s_a_sequence"]["median"], 8.0);
    }

    #[test]
    fn programs_get_every_sample() {
        let json = serde_json::to_value(report()).unwrap();
        let case = &json["cases"][0];
        assert_eq!(case["task"], "prefill");
        assert_eq!(case["block_size"], 16);
        assert_eq!(case["samples_s"], serde_json::json!([2.0, 1.0, 4.0]));
        assert_eq!(case["tokens_per_s"]["median"], 256.0);
        assert_eq!(
            json["loads"][0]["host_memory"]["anonymous_bytes"],
            20_000_000
        );
        assert_eq!(json["cases"][1]["tokens_per_s"], serde_json::Value::Null);
    }
}
