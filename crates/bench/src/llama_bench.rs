//! What llama-bench measured, beside ours.

use serde::Deserialize;

use crate::report_file::words;
use crate::{Case, Error, Report, Summary, Table, Task};

/// Models whose sizes differ by more than this share are not the same. Of llama-bench's size, metadata are no part.
const SIZE_TOLERANCE: f64 = 0.05;

/// What `llama-bench -o json` or `-o jsonl` printed.
#[derive(Debug, Clone)]
pub struct LlamaBench {
    tests: Vec<LlamaTest>,
}

/// One of its tests.
#[derive(Debug, Clone, Deserialize)]
pub struct LlamaTest {
    n_prompt: usize,
    n_gen: usize,
    #[serde(default)]
    n_depth: usize,
    avg_ts: f64,
    #[serde(default)]
    samples_ts: Vec<f64>,
    model_type: String,
    #[serde(default)]
    model_size: u64,
    #[serde(default)]
    backends: String,
    #[serde(default)]
    n_ubatch: usize,
    #[serde(default)]
    n_batch: usize,
    #[serde(default)]
    n_gpu_layers: i64,
    #[serde(default)]
    model_filename: String,
    #[serde(default)]
    build_commit: String,
}

impl LlamaBench {
    /// Reads what llama-bench printed.
    ///
    /// # Errors
    /// [`Error::LlamaBench`] if it is not that; [`Error::NoLlamaBench`] if no test in it reads a prompt or generates.
    pub fn from_json(text: &str) -> Result<LlamaBench, Error> {
        let tests: Result<Vec<LlamaTest>, _> = match text.trim_start().starts_with('[') {
            true => serde_json::from_str(text),
            false => serde_json::Deserializer::from_str(text)
                .into_iter()
                .collect(),
        };
        let mut tests = tests.map_err(Error::LlamaBench)?;
        tests.retain(|test| (test.n_prompt == 0) != (test.n_gen == 0) && test.tokens_per_s() > 0.0);
        match tests.is_empty() {
            true => Err(Error::NoLlamaBench),
            false => Ok(LlamaBench { tests }),
        }
    }

    /// What is doubtful in setting it beside the report.
    pub fn doubt(&self, report: &Report) -> Option<String> {
        let bytes = report.model.file_bytes;
        let is_other = |test: &&LlamaTest| {
            let share = test.model_size.abs_diff(bytes) as f64 / bytes.max(1) as f64;
            test.model_size > 0 && share > SIZE_TOLERANCE
        };
        let other = self.tests.iter().find(is_other)?;
        Some(format!(
            "llama-bench ran {} of {} bytes, this is {} of {bytes}: not the same model",
            other.model_type, other.model_size, report.model.file
        ))
    }

    /// How it was run: a command a test, with what built it.
    pub fn commands(&self) -> Vec<String> {
        self.tests.iter().map(LlamaTest::command).collect()
    }

    /// The tests that both have, with the ratio of ours to theirs; none if there is no such test.
    pub fn beside(&self, report: &Report) -> Option<String> {
        let mut table = Table::new([
            "test",
            "chunk",
            "block",
            "act",
            "thalweg tok/s",
            "llama.cpp tok/s",
            "llama.cpp",
            "ratio",
        ]);
        let mut rows = 0;
        for case in &report.cases {
            let Some(rate) = case.tokens_per_s() else {
                continue;
            };
            for test in self.tests.iter().filter(|test| test.is_like(case)) {
                table.row(cells(case, rate, test));
                rows += 1;
            }
        }
        (rows > 0).then(|| table.without_empty_columns().to_string())
    }
}

fn cells(case: &Case, rate: Summary, test: &LlamaTest) -> Vec<String> {
    let setting = &case.setting;
    let of_option =
        |number: Option<usize>| number.map_or_else(String::new, |number| number.to_string());
    vec![
        setting.test().to_string(),
        of_option(setting.prompt_chunk()),
        of_option(setting.block_size.map(|size| size as usize)),
        setting.activations.name().to_owned(),
        format!("{:.1}", rate.median),
        format!("{:.1}", test.tokens_per_s()),
        test.name(),
        format!("{:.2}", rate.median / test.tokens_per_s()),
    ]
}

impl LlamaTest {
    /// The median of the samples, or the mean in files that have no samples.
    fn tokens_per_s(&self) -> f64 {
        Summary::of(&self.samples_ts).map_or(self.avg_ts, |summary| summary.median)
    }

    fn command(&self) -> String {
        let LlamaTest {
            n_prompt,
            n_gen,
            n_depth,
            n_batch,
            n_ubatch,
            n_gpu_layers,
            ..
        } = self;
        format!(
            "llama-bench -m {} -p {n_prompt} -n {n_gen} -d {n_depth} -b {n_batch} -ub {n_ubatch} -ngl {n_gpu_layers} -r {}    # {}, {}",
            words::word(words::file_name(&self.model_filename)),
            self.samples_ts.len().max(1),
            words::name(&self.build_commit),
            words::name(&self.backends),
        )
    }

    fn is_like(&self, case: &Case) -> bool {
        let tokens = match case.setting.task {
            Task::Prefill => (self.n_prompt, self.n_gen) == (case.setting.tokens, 0),
            Task::Decode => (self.n_prompt, self.n_gen) == (0, case.setting.tokens),
            Task::Parallel | Task::Sampled | Task::Loop => false,
        };
        tokens && self.n_depth == case.setting.depth
    }

    fn name(&self) -> String {
        match self.n_ubatch {
            0 => self.backends.clone(),
            size if self.n_prompt > 0 => format!("{}, ubatch {size}", self.backends),
            _ => self.backends.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::report;

    const PROMPT: &str = r#"{"backends": "CUDA", "model_type": "rwkv7 0.1B", "model_size": 1490000, "n_ubatch": 512,
        "n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 130.0, "stddev_ts": 1.0, "samples_ts": [128.0, 120.0, 142.0]}"#;
    const GENERATION: &str = r#"{"backends": "CUDA", "model_type": "rwkv7 0.1B", "n_prompt": 0, "n_gen": 64, "avg_ts": 64.0}"#;

    #[test]
    fn ratios_are_of_medians_where_there_are_samples() {
        for text in [
            format!("[{PROMPT},\n{GENERATION}]"),
            format!("{PROMPT}\n{GENERATION}\n"),
        ] {
            let bench = LlamaBench::from_json(&text).unwrap();
            let expected = "\
                | test  | chunk | block | act | thalweg tok/s | llama.cpp tok/s |        llama.cpp | ratio |\n\
                |:------|------:|------:|----:|--------------:|----------------:|-----------------:|------:|\n\
                | pp512 |   128 |    16 | f32 |         256.0 |           128.0 | CUDA, ubatch 512 |  2.00 |\n\
                | tg64  |       |       | f32 |         128.0 |            64.0 |             CUDA |  2.00 |\n";
            assert_eq!(bench.beside(&report()).unwrap(), expected);
            assert_eq!(bench.doubt(&report()), None);
        }
    }

    #[test]
    fn other_tests_and_other_models() {
        let deeper =
            LlamaBench::from_json(&PROMPT.replace("\"n_depth\": 0", "\"n_depth\": 9")).unwrap();
        assert_eq!(deeper.beside(&report()), None);
        let larger = LlamaBench::from_json(&PROMPT.replace("1490000", "2490000")).unwrap();
        assert!(
            larger
                .doubt(&report())
                .unwrap()
                .contains("rwkv7 0.1B of 2490000")
        );
    }

    #[test]
    fn what_llama_bench_did_not_write_is_refused() {
        let fault = |text: &str| LlamaBench::from_json(text).unwrap_err();
        assert!(matches!(fault("x"), Error::LlamaBench(_)));
        assert!(matches!(
            fault(&report().to_json().to_string()),
            Error::LlamaBench(_)
        ));
        assert!(matches!(fault("[]"), Error::NoLlamaBench));
        assert!(matches!(fault(""), Error::NoLlamaBench));
        let both = PROMPT.replace("\"n_gen\": 0", "\"n_gen\": 5");
        assert!(matches!(fault(&both), Error::NoLlamaBench));
    }
}
