//! Rows of logits with settings.

use thalweg_shaders::{NoToken, SampleBias, SampleCount, SampleReport, SampleRow, twins};

use crate::harness::Noise;

/// A row's logits, how it is sampled, and what its slot counted.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) logits: Vec<f32>,
    pub(crate) settings: Settings,
    pub(crate) counts: Vec<SampleCount>,
}

/// Settings as a user gives them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) temperature: f32,
    pub(crate) seed: u64,
    pub(crate) top_k: usize,
    pub(crate) top_p: f32,
    pub(crate) min_p: f32,
    pub(crate) presence: f32,
    pub(crate) frequency: f32,
    pub(crate) decay: f32,
    pub(crate) top_logprobs: Option<usize>,
    pub(crate) biases: Vec<(u32, f32)>,
}

impl Default for Settings {
    /// Draws from all of the distribution.
    fn default() -> Settings {
        Settings {
            temperature: 1.0,
            seed: 0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            presence: 0.0,
            frequency: 0.0,
            decay: 1.0,
            top_logprobs: None,
            biases: Vec::new(),
        }
    }
}

impl Settings {
    /// The row for a slot, whose biases begin at this entry of the list.
    pub(crate) fn row(&self, slot: usize, first_bias: usize) -> SampleRow {
        let row = SampleRow::drawn(slot as u32, self.temperature, self.seed)
            .with_top_k(self.top_k)
            .with_top_p(self.top_p)
            .with_min_p(self.min_p)
            .with_penalties(self.presence, self.frequency, self.decay)
            .with_biases(first_bias as u32, self.bias_list().len() as u32);
        match self.top_logprobs {
            Some(count) => row.with_top_logprobs(count),
            None => row,
        }
    }

    pub(crate) fn bias_list(&self) -> Vec<SampleBias> {
        SampleBias::list(self.biases.iter().copied())
    }
}

impl std::fmt::Debug for Case {
    /// The logits are too many to be shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {} tokens", self.settings, self.logits.len())
    }
}

impl Case {
    /// Of a sequence at its beginning.
    pub(crate) fn new(logits: Vec<f32>, settings: Settings) -> Case {
        Case {
            counts: vec![SampleCount::default(); 1 + logits.len()],
            logits,
            settings,
        }
    }

    /// Anything that models and users may come with.
    pub(crate) fn random(seed: u64, vocab: usize) -> Case {
        let mut noise = Noise::new(seed + 1000);
        let logits = random_logits(&mut noise, vocab);
        let mut one_of = |choices: &[f32]| choices[noise.bits() as usize % choices.len()];
        let mut settings = Settings {
            temperature: one_of(&[0.0, 0.3, 0.7, 1.0, 1.0, 1.3, 4.0, 100.0]),
            seed,
            top_k: one_of(&[0.0, 0.0, 1.0, 3.0, 40.0, 500.0, 30_000.0]) as usize,
            top_p: one_of(&[0.0, 0.1, 0.5, 0.9, 0.97, 0.999, 1.0, 1.0]),
            min_p: one_of(&[0.0, 0.0, 0.05, 0.3]),
            presence: one_of(&[0.0, 0.3, 1.5, -0.5]),
            frequency: one_of(&[0.0, 0.2, 1.0]),
            decay: one_of(&[1.0, 0.996, 0.9, 0.0]),
            ..Settings::default()
        };
        settings.top_logprobs = match noise.bits() % 3 {
            0 => Some(noise.bits() as usize % 21),
            _ => None,
        };
        // One token at least is not banned: biases are on odd ones only.
        settings.biases = (0..noise.bits() % 60)
            .filter_map(|index| {
                let token = (noise.bits() % vocab as u64) as u32 | 1;
                let bias = if index % 3 == 0 {
                    SampleBias::BAN
                } else {
                    6.0 * noise.number()
                };
                (index % 2 == 0).then_some((token, bias))
            })
            .collect();
        let mut case = Case::new(logits, settings);
        case.counts = random_counts(&mut noise, vocab);
        case
    }

    pub(crate) fn row(&self) -> SampleRow {
        self.settings.row(0, 0)
    }

    /// The next token, by the twin.
    pub(crate) fn sample(&mut self) -> SampleReport {
        let biases = self.settings.bias_list();
        twins::sample(&self.row(), &self.logits, &biases, &mut self.counts)
    }

    pub(crate) fn twin_weights(&self) -> Result<Vec<u64>, NoToken> {
        let biases = self.settings.bias_list();
        twins::sample_weights(&self.row(), &self.logits, &biases, &self.counts)
    }
}

/// A bell, wide or narrow, with a few tokens far above; some rows in coarse steps, so that many tokens are equal.
fn random_logits(noise: &mut Noise, vocab: usize) -> Vec<f32> {
    let width = [0.5, 1.0, 2.0, 4.0][noise.bits() as usize % 4];
    let height = [0.0, 4.0, 8.0, 14.0][noise.bits() as usize % 4];
    let step = [0.0, 0.0, 0.5][noise.bits() as usize % 3];
    (0..vocab)
        .map(|_| {
            let bell: f32 = noise.numbers(6).iter().sum();
            let is_above = noise.bits().is_multiple_of(2000);
            let logit = width * bell / 1.4 + if is_above { height } else { 0.0 };
            match step {
                0.0 => logit,
                step => (logit / step).round() * step,
            }
        })
        .collect()
}

/// After 500 tokens: some of the vocabulary occurred.
fn random_counts(noise: &mut Noise, vocab: usize) -> Vec<SampleCount> {
    const NOW: u32 = 500;
    let mut counts = vec![SampleCount::default(); 1 + vocab];
    counts[0].step = NOW;
    for count in &mut counts[1..] {
        if noise.bits().is_multiple_of(300) {
            *count = SampleCount {
                count: 1.0 + 2.0 * (1.0 + noise.number()),
                step: NOW - (noise.bits() % 400) as u32,
            };
        }
    }
    counts
}
