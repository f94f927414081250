//! Figures of the engine on a device: what guesses, known prompts, ways of taking tokens and loops come to.

mod guesses;
mod known_prompts;
mod loops;
mod taking;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use thalweg_engine::{Engine, EngineOptions};
use thalweg_rwkv::{Batch, GpuBatch, GpuModel};
use thalweg_tokenizer::Tokenizer;

/// One number, and what it is to be.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was done.
    pub section: &'static str,
    /// What of it was measured.
    pub name: String,
    /// The median of the samples.
    pub value: f64,
    /// Of the value.
    pub unit: &'static str,
    /// What was to be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// A bound.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// What the figures are measured on.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The model on its device.
    pub model: Arc<GpuModel>,
    /// The model's.
    pub tokenizer: Arc<Tokenizer>,
    /// The hash of its file.
    pub hash: u64,
    /// Samples of each figure.
    pub samples: usize,
    /// A long text.
    pub text: String,
}

impl Subject {
    fn batch(&self, slots: usize) -> Result<GpuBatch> {
        Ok(GpuBatch::new(Arc::clone(&self.model), slots)?)
    }

    /// An engine for one sequence at a time.
    fn engine<B: Batch>(&self, batch: B) -> Result<Engine<B>> {
        let options = EngineOptions {
            sequences: Some(1),
            ..EngineOptions::default()
        };
        Ok(Engine::new(batch, Arc::clone(&self.tokenizer), options)?)
    }
}

/// What figures are about, and what measures them.
type Section = (&'static str, fn(&Subject) -> Result<Vec<Figure>>);

/// All sections, in order.
pub const SECTIONS: [Section; 4] = [
    (guesses::SECTION, guesses::measure),
    (known_prompts::SECTION, known_prompts::measure),
    (taking::SECTION, taking::measure),
    (loops::SECTION, loops::measure),
];

/// The figures as tables in Markdown, one a section.
pub fn table(figures: &[Figure]) -> String {
    let mut text = String::new();
    for of_section in figures.chunk_by(|a, b| a.section == b.section) {
        text += &format!(
            "**{}**\n\n| | measured | target |\n|:---|---:|---:|\n",
            of_section[0].section
        );
        for figure in of_section {
            let Figure {
                name,
                value,
                unit,
                target,
                ..
            } = figure;
            let target = match target {
                None => String::new(),
                Some(target) => {
                    let (sign, bound) = match target {
                        Target::AtLeast(bound) => ('≥', bound),
                        Target::AtMost(bound) => ('≤', bound),
                    };
                    let missed = if target.is_met(*value) {
                        ""
                    } else {
                        ", missed"
                    };
                    format!("{sign} {bound} {unit}{missed}")
                }
            };
            text += &format!("| {name} | {value:.3} {unit} | {target} |\n");
        }
        text.push('\n');
    }
    text
}

/// A figure without a target.
fn figure(
    section: &'static str,
    name: impl Into<String>,
    value: f64,
    unit: &'static str,
) -> Figure {
    Figure {
        section,
        name: name.into(),
        value,
        unit,
        target: None,
    }
}

impl Figure {
    fn at_least(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtLeast(bound));
        self
    }

    fn at_most(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtMost(bound));
        self
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

fn timed<T>(action: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let result = action()?;
    Ok((result, start.elapsed()))
}

fn ms(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn tables_tell_what_was_missed() {
        let figures = [
            figure("One", "a", 1.0, "ms").at_most(2.0),
            figure("One", "b", 1.0, "times").at_least(2.0),
            figure("Two", "c", 1.0, "ms"),
        ];
        let text = table(&figures);
        for line in [
            "**One**\n",
            "| a | 1.000 ms | ≤ 2 ms |",
            "| b | 1.000 times | ≥ 2 times, missed |",
            "**Two**\n",
            "| c | 1.000 ms |  |",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
