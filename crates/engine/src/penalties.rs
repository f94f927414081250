//! Which tokens were generated how often, fading with time.

use std::collections::HashMap;

use crate::SamplerSettings;

/// The counts behind the presence and frequency penalties.
///
/// After each generated token every count is multiplied by the decay, then the token's own grows by one. A decay of 1
/// gives the penalties known from other runtimes, one below 1 those usual with RWKV.
#[derive(Debug, Clone, Default)]
pub(crate) struct Penalties {
    counts: HashMap<u32, f32>,
}

impl Penalties {
    pub(crate) fn accept(&mut self, token: u32, decay: f32) {
        self.counts.values_mut().for_each(|count| *count *= decay);
        self.counts.retain(|_, count| *count > 0.0);
        *self.counts.entry(token).or_default() += 1.0;
    }

    /// What to take off the logits: pairs of token and penalty.
    pub(crate) fn of(&self, settings: &SamplerSettings) -> impl Iterator<Item = (u32, f32)> {
        let (presence, frequency) = (settings.presence_penalty, settings.frequency_penalty);
        self.counts
            .iter()
            .map(move |(token, count)| (*token, presence + count * frequency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn penalties(tokens: &[u32], decay: f32) -> Vec<(u32, f32)> {
        let settings = SamplerSettings {
            presence_penalty: 10.0,
            frequency_penalty: 1.0,
            penalty_decay: decay,
            ..SamplerSettings::default()
        };
        let mut penalties = Penalties::default();
        tokens
            .iter()
            .for_each(|token| penalties.accept(*token, decay));
        let mut list: Vec<_> = penalties.of(&settings).collect();
        list.sort_by_key(|(token, _)| *token);
        list
    }

    #[test]
    fn without_decay_tokens_are_counted() {
        assert_eq!(penalties(&[7, 3, 7], 1.0), [(3, 11.0), (7, 12.0)]);
    }

    #[test]
    fn older_tokens_weigh_less() {
        assert_eq!(penalties(&[7, 3, 7], 0.5), [(3, 10.5), (7, 11.25)]);
    }

    #[test]
    fn full_decay_remembers_the_last_token_alone() {
        assert_eq!(penalties(&[7, 3], 0.0), [(3, 11.0)]);
    }
}
