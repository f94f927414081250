//! Several runs side by side.

use std::fmt;

use serde::Serialize;

use crate::{Case, Device, Error, Report, Setting, Summary, Table, Test, Verdict};

/// Several runs side by side, held against the first of them.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The runs.
    pub runs: Vec<Run>,
    /// What was measured in them.
    pub rows: Vec<Row>,
}

/// One of the runs.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// What it is called here.
    pub label: String,
    /// The program and its version.
    pub program: String,
    /// The operating system and the processor's architecture.
    pub platform: String,
    /// What computed.
    pub device: Device,
    /// The file of the model.
    pub model: String,
}

/// One test in all runs.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub test: Test,
    /// The settings in each run that has it.
    settings: Vec<Option<Setting>>,
    /// What each run came to, if it has the test.
    pub entries: Vec<Option<Entry>>,
}

/// What a test came to in a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Entry {
    /// Tokens a second, of all sequences together.
    pub tokens_per_s: Summary,
    /// The median over that of the first run, if that has the test.
    pub ratio: Option<f64>,
    /// Whether that is more than noise.
    pub verdict: Option<Verdict>,
}

impl Comparison {
    /// Sets the runs, each with what it is to be called, side by side. A test that every run has in one setting only makes
    /// one row, also where these settings differ; else each setting has a row of its own.
    ///
    /// # Errors
    /// [`Error::DifferentModels`] if the models differ in size, [`Error::NothingInCommon`] if no row has two runs.
    pub fn new(runs: &[(String, Report)]) -> Result<Comparison, Error> {
        let Some((first, others)) = runs.split_first() else {
            return Err(Error::NothingInCommon);
        };
        if let Some(other) = others
            .iter()
            .find(|(_, run)| !run.model.has_shape_of(&first.1.model))
        {
            return Err(Error::DifferentModels {
                one: first.0.clone(),
                other: other.0.clone(),
                models: Box::new([first.1.model.clone(), other.1.model.clone()]),
            });
        }
        let reports: Vec<&Report> = runs.iter().map(|(_, report)| report).collect();
        let rows: Vec<Row> = tests(&reports)
            .into_iter()
            .flat_map(|test| rows_of(test, &reports))
            .collect();
        if !rows
            .iter()
            .any(|row| row.entries.iter().flatten().count() > 1)
        {
            return Err(Error::NothingInCommon);
        }
        let runs = runs.iter().map(|(label, report)| Run::new(label, report));
        Ok(Comparison {
            runs: runs.collect(),
            rows,
        })
    }

    /// The comparison as one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        let row = |row: &Row| {
            serde_json::json!({
                "test": row.test.to_string(),
                "chunk": row.chunk(),
                "block": row.block(),
                "activations": row.activations(),
                "entries": row.entries,
            })
        };
        serde_json::json!({
            "runs": self.runs,
            "rule": crate::RULE,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// What is doubtful in setting these runs side by side: models of one size, but not one file.
    pub fn doubts(runs: &[(String, Report)]) -> Vec<String> {
        let Some(((first_label, first), others)) = runs.split_first() else {
            return Vec::new();
        };
        let differing = others
            .iter()
            .filter(|(_, other)| !other.model.is_same_as(&first.model));
        let doubt = |(label, other): &(String, Report)| {
            format!(
                "{first_label} ran {} ({} bytes), {label} ran {} ({} bytes): models of one shape, but not the same file",
                first.model.file, first.model.file_bytes, other.model.file, other.model.file_bytes
            )
        };
        differing.map(doubt).collect()
    }
}

impl Run {
    fn new(label: &str, report: &Report) -> Run {
        Run {
            label: label.to_owned(),
            program: report.program.clone(),
            platform: report.platform.clone(),
            device: report.device.clone(),
            model: report.model.file.clone(),
        }
    }
}

/// All tests, in the order in which the runs have them.
fn tests(runs: &[&Report]) -> Vec<Test> {
    let measured = runs.iter().flat_map(|run| measured(run));
    distinct(measured.map(|case| case.setting.test()))
}

fn measured(run: &Report) -> impl Iterator<Item = &Case> {
    run.cases.iter().filter(|case| !case.samples_s.is_empty())
}

fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

fn rows_of(test: Test, runs: &[&Report]) -> Vec<Row> {
    let of_runs: Vec<Vec<&Case>> = runs
        .iter()
        .map(|run| {
            measured(run)
                .filter(|case| case.setting.test() == test)
                .collect()
        })
        .collect();
    if of_runs.iter().all(|cases| cases.len() <= 1) {
        let cases: Vec<_> = of_runs.iter().map(|cases| cases.first().copied()).collect();
        return vec![Row::new(test, &cases)];
    }
    let settings = distinct(of_runs.iter().flatten().map(|case| case.setting));
    let row = |setting: Setting| {
        let cases = of_runs.iter().map(|cases| {
            let mut cases = cases.iter().copied();
            cases.find(|case| case.setting == setting)
        });
        Row::new(test, &cases.collect::<Vec<_>>())
    };
    settings.into_iter().map(row).collect()
}

impl Row {
    fn new(test: Test, cases: &[Option<&Case>]) -> Row {
        let base = cases[0].map(Case::rates);
        let entries = cases.iter().enumerate().map(|(run, case)| {
            let rates = (*case)?.rates();
            Entry::new(base.as_deref().filter(|_| run > 0), &rates)
        });
        Row {
            test,
            entries: entries.collect(),
            settings: cases
                .iter()
                .map(|case| case.map(|case| case.setting))
                .collect(),
        }
    }

    /// The chunk sizes, where they matter: one if all runs have the same.
    pub fn chunk(&self) -> String {
        self.join(|setting| setting.prompt_chunk().map(|size| size.to_string()))
    }

    /// The block sizes, where there are any.
    pub fn block(&self) -> String {
        self.join(|setting| setting.block_size.map(|size| size.to_string()))
    }

    /// The activations.
    pub fn activations(&self) -> String {
        self.join(|setting| Some(setting.activations.name().to_owned()))
    }

    fn join(&self, pick: impl Fn(&Setting) -> Option<String>) -> String {
        let values = self
            .settings
            .iter()
            .flatten()
            .map(|setting| pick(setting).unwrap_or_default());
        let values: Vec<String> = values.collect();
        match distinct(values.iter()).len() {
            0 | 1 => values.into_iter().next().unwrap_or_default(),
            _ => values.join(" / "),
        }
    }
}

impl Entry {
    fn new(base: Option<&[f64]>, rates: &[f64]) -> Option<Entry> {
        let tokens_per_s = Summary::of(rates)?;
        let ratio = base
            .and_then(Summary::of)
            .map(|base| tokens_per_s.median / base.median);
        Some(Entry {
            tokens_per_s,
            ratio,
            verdict: base
                .zip(ratio)
                .map(|(base, ratio)| Verdict::new(base, rates, ratio)),
        })
    }
}

/// Two tables in Markdown, of the runs and of their tests, and the rule by which differences are judged.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs = Table::new([
            "run",
            "program",
            "platform",
            "backend",
            "adapter",
            "driver",
            "features",
            "precision",
            "model",
        ]);
        for run in &self.runs {
            let device = &run.device;
            let features = device.features.join(" ");
            let cells = [
                &run.label,
                &run.program,
                &run.platform,
                &device.backend,
                &device.name,
                &device.driver,
                &features,
                &device.precision,
                &run.model,
            ];
            runs.row(cells.map(String::clone));
        }
        writeln!(f, "{}", runs.without_empty_columns())?;
        let first = self.runs.first().map_or("", |run| run.label.as_str());
        let headings: Vec<String> = self
            .runs
            .iter()
            .enumerate()
            .flat_map(|(run, Run { label, .. })| {
                let ratio = (run > 0).then(|| format!("{label} / {first}"));
                std::iter::once(label.clone()).chain(ratio)
            })
            .collect();
        let fixed = ["tok/s (median ± deviation)", "chunk", "block", "act"];
        let mut table = Table::new(fixed.into_iter().chain(headings.iter().map(String::as_str)));
        let all_floats = self.rows.iter().all(|row| row.activations() == "f32");
        for row in &self.rows {
            let activations = if all_floats {
                String::new()
            } else {
                row.activations()
            };
            let fixed = [row.test.to_string(), row.chunk(), row.block(), activations];
            let entries = row
                .entries
                .iter()
                .enumerate()
                .flat_map(|(run, entry)| entry_cells(run, entry.as_ref()));
            table.row(fixed.into_iter().chain(entries));
        }
        writeln!(f, "{}", table.without_empty_columns())?;
        writeln!(
            f,
            "The ratio is that of the medians. {}.",
            capitalised(crate::RULE)
        )
    }
}

/// The rate, and for all runs but the first its ratio.
fn entry_cells(run: usize, entry: Option<&Entry>) -> Vec<String> {
    let rate = entry.map(|Entry { tokens_per_s, .. }| {
        format!("{:.1} ± {:.1}", tokens_per_s.median, tokens_per_s.deviation)
    });
    let ratio =
        entry.and_then(|entry| Some(format!("{:.3} {}", entry.ratio?, entry.verdict?.name())));
    match run {
        0 => vec![rate.unwrap_or_default()],
        _ => vec![rate.unwrap_or_default(), ratio.unwrap_or_default()],
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{case, decode, prefill, report};

    fn run(label: &str, cases: Vec<Case>) -> (String, Report) {
        let report = Report { cases, ..report() };
        (label.to_owned(), report)
    }

    const SLOW: [f64; 4] = [2.0, 2.01, 1.99, 2.0];
    const FAST: [f64; 4] = [1.0, 1.01, 0.99, 1.0];

    #[test]
    fn runs_stand_side_by_side_with_ratios_and_verdicts() {
        let runs = [
            run(
                "a",
                vec![case(prefill(512, 128), &SLOW), case(decode(64), &SLOW)],
            ),
            run(
                "b",
                vec![case(prefill(512, 128), &FAST), case(decode(64), &SLOW)],
            ),
        ];
        let comparison = Comparison::new(&runs).unwrap();
        let text = comparison.to_string();
        assert!(text.contains("| pp512                      |   128 |    16 | 256.0 ± 1.0 | 512.0 ± 4.2 | 2.000 faster |\n"), "{text}");
        assert!(text.contains("| tg64                       |       |       |  32.0 ± 0.1 |  32.0 ± 0.1 |  1.000 noise |\n"), "{text}");
        assert!(text.contains("Mann-Whitney"));
        let json = comparison.to_json();
        assert_eq!(json["rows"][0]["entries"][1]["verdict"], "faster");
        assert_eq!(json["rows"][0]["entries"][1]["ratio"], 2.0);
    }

    #[test]
    fn settings_that_differ_share_a_row_if_there_is_but_one_a_run() {
        let runs = [
            run("a", vec![case(prefill(512, 128), &SLOW)]),
            run("b", vec![case(prefill(512, 64), &FAST)]),
        ];
        let comparison = Comparison::new(&runs).unwrap();
        assert_eq!(comparison.rows.len(), 1);
        assert_eq!(comparison.rows[0].chunk(), "128 / 64");
    }

    #[test]
    fn sweeps_have_a_row_a_setting() {
        let sweep = |samples: &[f64]| {
            vec![
                case(prefill(512, 64), samples),
                case(prefill(512, 128), samples),
            ]
        };
        let runs = [
            run("a", sweep(&SLOW)),
            run("b", sweep(&FAST)),
            run("c", vec![case(prefill(512, 128), &FAST)]),
        ];
        let comparison = Comparison::new(&runs).unwrap();
        let found: Vec<_> = comparison
            .rows
            .iter()
            .map(|row| row.entries.iter().flatten().count())
            .collect();
        assert_eq!(found, [2, 3]);
    }

    #[test]
    fn other_models_and_other_tests_are_refused() {
        let a = run("a", vec![case(decode(64), &SLOW)]);
        let mut other = run("b", vec![case(decode(64), &SLOW)]);
        other.1.model.width = 128;
        let fault = Comparison::new(&[a.clone(), other]).unwrap_err();
        assert!(
            fault
                .to_string()
                .contains("2 layers of width 64 and 2 of 128"),
            "{fault}"
        );
        let fault =
            Comparison::new(&[a.clone(), run("b", vec![case(decode(65), &SLOW)])]).unwrap_err();
        assert!(matches!(fault, Error::NothingInCommon));
        let fault =
            Comparison::new(&[a.clone(), run("b", vec![case(decode(64), &[])])]).unwrap_err();
        assert!(matches!(fault, Error::NothingInCommon));
    }

    #[test]
    fn another_file_of_the_same_shape_is_a_doubt() {
        let a = run("a", vec![case(decode(64), &SLOW)]);
        let mut b = a.clone();
        assert!(Comparison::doubts(&[a.clone(), b.clone()]).is_empty());
        b.1.model.file_bytes += 1;
        assert_eq!(Comparison::doubts(&[a, b]).len(), 1);
    }
}
