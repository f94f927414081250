//! A token chosen from logits, and how probable it was.

use crate::{Error, Sampler};

/// A token and its log-probability under the model alone: before penalties, filters and temperature. In nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenProbability {
    /// The token's id.
    pub id: u32,
    /// Its log-probability.
    pub logprob: f32,
}

/// What sampling gives for one sequence. Where a device samples, this is all that comes back from it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    pub(crate) token: u32,
    pub(crate) logprob: Option<f32>,
    pub(crate) top: Vec<TokenProbability>,
}

/// Chooses a token; `top` asks for its log-probability and those of so many of the most probable ones.
pub(crate) fn choose(
    sampler: &mut Sampler,
    logits: &[f32],
    top: Option<usize>,
) -> Result<Choice, Error> {
    let token = sampler.sample(logits)?;
    let Some(top) = top else {
        return Ok(Choice {
            token,
            logprob: None,
            top: Vec::new(),
        });
    };
    let log_sum = log_sum_exp(logits);
    let probability = |id: u32| TokenProbability {
        id,
        logprob: (f64::from(logits[id as usize]) - log_sum) as f32,
    };
    Ok(Choice {
        token,
        logprob: Some(probability(token).logprob),
        top: best(logits, top).into_iter().map(probability).collect(),
    })
}

/// The logarithm of the sum of `e^logit`, kept in range by the largest logit.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let largest = f64::from(largest);
    let sum: f64 = logits
        .iter()
        .map(|logit| (f64::from(*logit) - largest).exp())
        .sum();
    largest + sum.ln()
}

/// The ids of the `count` largest logits, largest first; of equals, the lowest id first.
fn best(logits: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(logits.len());
    let order = |a: &u32, b: &u32| {
        let [x, y] = [*a, *b].map(|id| logits[id as usize]);
        y.total_cmp(&x).then(a.cmp(b))
    };
    let mut ids: Vec<u32> = (0..).take(logits.len()).collect();
    if count < ids.len() {
        ids.select_nth_unstable_by(count, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SamplerSettings;

    #[test]
    fn probabilities_are_the_models_own() {
        let logits = [0.0, 3_f32.ln() + 500.0, 500.0, 500.0];
        let settings = SamplerSettings {
            presence_penalty: 50.0,
            ..SamplerSettings::greedy()
        };
        let mut sampler = Sampler::new(settings).unwrap();
        sampler.accept(1);
        let choice = choose(&mut sampler, &logits, Some(3)).unwrap();
        assert_eq!(choice.token, 2);
        assert!((choice.logprob.unwrap() - 0.2_f32.ln()).abs() < 1e-4);
        let ids: Vec<u32> = choice.top.iter().map(|top| top.id).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert!((choice.top[0].logprob - 0.6_f32.ln()).abs() < 1e-4);
    }

    #[test]
    fn nothing_is_computed_that_was_not_asked_for() {
        let mut sampler = Sampler::new(SamplerSettings::greedy()).unwrap();
        let choice = choose(&mut sampler, &[1.0, 2.0], None).unwrap();
        assert_eq!((choice.logprob, choice.top.len()), (None, 0));
        let all = choose(&mut sampler, &[1.0, 2.0], Some(9)).unwrap();
        assert_eq!(all.top.len(), 2);
    }
}
