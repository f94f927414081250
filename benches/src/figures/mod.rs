//! Figures of the engine on a device: what guesses, known prompts, ways of taking tokens and loops come to.

mod guesses;
mod known_prompts;
mod loops;
mod taking;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use thalweg_bench::Figure;
use thalweg_engine::{Engine, EngineOptions};
use thalweg_rwkv::{Batch, GpuBatch, GpuModel};
use thalweg_tokenizer::Tokenizer;

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

/// A figure without a target.
fn figure(section: &str, name: impl Into<String>, value: f64, unit: &str) -> Figure {
    Figure {
        section: section.to_owned(),
        name: name.into(),
        value,
        unit: unit.to_owned(),
        target: None,
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
}
