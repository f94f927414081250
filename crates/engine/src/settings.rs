//! The sampler's settings and their ranges.

use std::collections::HashSet;

use thalweg_rwkv::{SampleBias, SampleRow, Sampling};

use crate::Error;

/// How a token is chosen from logits. The settings act in the order known from llama.cpp:
///
/// 1. biases and bans, then presence and frequency penalties change the logits;
/// 2. top-k keeps the best tokens by number;
/// 3. top-p keeps, of these, the fewest best ones that hold the wanted share of their probability;
/// 4. min-p drops those too improbable beside the best;
/// 5. temperature shapes the distribution from which one of the rest is drawn.
///
/// So the filters see probabilities at temperature 1, and a higher temperature mixes the kept tokens more evenly
/// without letting others in. At temperature 0 the best token after the penalties is taken; of equals, the lowest id.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerSettings {
    /// Flattens (above 1) or sharpens (below 1) the distribution; 0 always takes the best token. From 0 to 100.
    pub temperature: f32,
    /// Keep this many of the best tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest best tokens that hold this share of the probability; 1 keeps all. From 0 to 1.
    pub top_p: f32,
    /// Keep tokens at least this share as probable as the best one; 0 keeps all. From 0 to 1.
    pub min_p: f32,
    /// Taken off the logit of every token generated before. From -100 to 100.
    pub presence_penalty: f32,
    /// Taken off the logit of a token for each time it was generated before. From -100 to 100.
    pub frequency_penalty: f32,
    /// What a token's count is multiplied by after every token, so that old ones are forgiven. From 0 to 1.
    pub penalty_decay: f32,
    /// Added to the logits of tokens, before penalties. From -100 to 100; of several of a token the last one holds.
    pub biases: Vec<(u32, f32)>,
    /// Tokens that are never chosen. They must leave one.
    pub bans: Vec<u32>,
    /// Of the random numbers. The number that decides on a token follows from the seed and from how many tokens were chosen
    /// before it: so the same seed, settings and logits give the same tokens, on one device the same text, whoever
    /// shares it. Between devices logits differ by rounding, and where that tips a choice the texts part.
    pub seed: u64,
}

impl Default for SamplerSettings {
    /// Values that suit RWKV-7 models: a narrow top-p at temperature 1, and mild penalties that fade.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 0.5,
            min_p: 0.0,
            presence_penalty: 0.5,
            frequency_penalty: 0.2,
            penalty_decay: 0.996,
            biases: Vec::new(),
            bans: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplerSettings {
    /// Always the most probable token: temperature 0, no penalties.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            ..Self::default()
        }
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for the first one outside.
    pub fn validate(&self) -> Result<(), Error> {
        let share = "a number from 0 to 1";
        let penalty = "a number from -100 to 100";
        check(
            "temp",
            self.temperature,
            0.0..=100.0,
            "a number from 0 to 100",
        )?;
        check("top-p", self.top_p, 0.0..=1.0, share)?;
        check("min-p", self.min_p, 0.0..=1.0, share)?;
        check(
            "presence-penalty",
            self.presence_penalty,
            -100.0..=100.0,
            penalty,
        )?;
        check(
            "frequency-penalty",
            self.frequency_penalty,
            -100.0..=100.0,
            penalty,
        )?;
        check("penalty-decay", self.penalty_decay, 0.0..=1.0, share)?;
        let bias = "a number from -100 to 100";
        self.biases
            .iter()
            .try_for_each(|(_, value)| check("logit-bias", *value, -100.0..=100.0, bias))
    }

    /// Checks that the tokens they name are those of a vocabulary, and that some are left.
    pub(crate) fn check_tokens(&self, vocab: usize) -> Result<(), Error> {
        let named = self.biases.iter().map(|(token, _)| token);
        if let Some(token) = named.chain(&self.bans).find(|t| **t as usize >= vocab) {
            return Err(Error::Setting {
                name: "a token with a bias or a ban",
                found: token.to_string(),
                expected: "one of the model's tokens",
            });
        }
        let banned: HashSet<&u32> = self.bans.iter().collect();
        match banned.len() < vocab {
            true => Ok(()),
            false => Err(Error::NothingAllowed),
        }
    }

    /// Whether logits alone decide: neither random numbers nor earlier choices do.
    pub(crate) fn is_plain(&self) -> bool {
        self.temperature == 0.0 && self.presence_penalty == 0.0 && self.frequency_penalty == 0.0
    }

    /// The same for a batch; `logprobs` asks for the log-probability of each token and for so many alternatives.
    pub fn sampling(&self, logprobs: Option<usize>) -> Sampling {
        let row = SampleRow::drawn(0, self.temperature, self.seed)
            .with_top_k(self.top_k)
            .with_top_p(self.top_p)
            .with_min_p(self.min_p)
            .with_penalties(
                self.presence_penalty,
                self.frequency_penalty,
                self.penalty_decay,
            );
        let row = match logprobs {
            Some(top) => row.with_top_logprobs(top),
            None => row,
        };
        let bans = self.bans.iter().map(|token| (*token, SampleBias::BAN));
        Sampling::new(row, self.biases.iter().copied().chain(bans))
    }
}

/// NaN lies in no range, so it is refused like any other value outside.
fn check(
    name: &'static str,
    value: f32,
    range: std::ops::RangeInclusive<f32>,
    expected: &'static str,
) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        found: value.to_string(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range() {
        SamplerSettings::default().validate().unwrap();
        SamplerSettings::greedy().validate().unwrap();
    }

    #[test]
    fn values_outside_are_named() {
        type Change = fn(&mut SamplerSettings, f32);
        let settings: [(&str, Change, &[f32]); 7] = [
            (
                "temp",
                |s, v| s.temperature = v,
                &[-0.1, 100.5, f32::NAN, f32::INFINITY],
            ),
            ("top-p", |s, v| s.top_p = v, &[-0.1, 1.1, f32::NAN]),
            ("min-p", |s, v| s.min_p = v, &[-0.1, 1.1, f32::NAN]),
            (
                "presence-penalty",
                |s, v| s.presence_penalty = v,
                &[-101.0, 101.0, f32::NAN],
            ),
            (
                "frequency-penalty",
                |s, v| s.frequency_penalty = v,
                &[-101.0, 101.0, f32::NEG_INFINITY],
            ),
            (
                "penalty-decay",
                |s, v| s.penalty_decay = v,
                &[-0.1, 1.1, f32::NAN],
            ),
            (
                "logit-bias",
                |s, v| s.biases = vec![(1, 0.0), (2, v)],
                &[-101.0, f32::NEG_INFINITY, f32::NAN],
            ),
        ];
        for (name, change, values) in settings {
            for value in values {
                let mut settings = SamplerSettings::default();
                change(&mut settings, *value);
                let message = settings.validate().unwrap_err().to_string();
                assert!(
                    message.starts_with(&format!("{name} is {value};")),
                    "{message}"
                );
            }
        }
    }
}
