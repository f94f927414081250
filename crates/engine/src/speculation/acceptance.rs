//! How often guesses are right, by where they come from.

/// What a trial is still worth when another one has followed it: some 20 trials count.
const DECAY: f64 = 0.95;
/// How many trials the expectation before all trials is worth.
const TRUST: f64 = 2.0;
/// Nothing is certain.
const MOST: f64 = 0.98;

/// Where a guess comes from. Longer agreement makes a look-up another source, as it is right more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Found by the last two or three tokens.
    Words,
    /// Found by the last four to seven.
    Phrase,
    /// Found by the last eight or more.
    Passage,
    /// From a draft model.
    Draft,
}

impl Source {
    /// Of a guess that was looked up.
    pub(crate) fn of_agreement(tokens: usize) -> Self {
        match tokens {
            0..4 => Self::Words,
            4..8 => Self::Phrase,
            _ => Self::Passage,
        }
    }

    /// The share of right tokens before any was tried.
    fn expectation(self) -> f64 {
        match self {
            Self::Words => 0.3,
            Self::Phrase => 0.6,
            Self::Passage => 0.8,
            Self::Draft => 0.6,
        }
    }
}

/// The share of right tokens of a sequence's guesses, the latest counting most.
#[derive(Debug, Default)]
pub(crate) struct Acceptance {
    rates: [Rate; 4],
}

/// Trials and how many were right, both decayed.
#[derive(Debug, Default, Clone, Copy)]
struct Rate {
    trials: f64,
    right: f64,
}

impl Acceptance {
    /// The probability that a token guessed by `source` is right if those before it were.
    pub(crate) fn of(&self, source: Source) -> f64 {
        let Rate { trials, right } = self.rates[source as usize];
        let share = (right + TRUST * source.expectation()) / (trials + TRUST);
        share.min(MOST)
    }

    /// Compares a guess with what came. Tokens after the first wrong one say nothing.
    pub(crate) fn learn(&mut self, source: Source, guess: &[u32], came: &[u32]) {
        let rate = &mut self.rates[source as usize];
        for (guessed, came) in guess.iter().zip(came) {
            let is_right = guessed == came;
            rate.trials = rate.trials * DECAY + 1.0;
            rate.right = rate.right * DECAY + f64::from(u8::from(is_right));
            if !is_right {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_give_way_to_experience() {
        let mut acceptance = Acceptance::default();
        assert_eq!(acceptance.of(Source::Draft), 0.6);
        for _ in 0..40 {
            acceptance.learn(Source::Draft, &[1, 2, 3], &[1, 2, 9, 9]);
        }
        assert!((acceptance.of(Source::Draft) - 0.66).abs() < 0.05);
        assert_eq!(acceptance.of(Source::Passage), 0.8);
        for _ in 0..40 {
            acceptance.learn(Source::Draft, &[1, 2, 3], &[4, 2, 3]);
        }
        assert!(acceptance.of(Source::Draft) < 0.15);
        for _ in 0..5 {
            acceptance.learn(Source::Draft, &[1; 8], &[1; 9]);
        }
        assert!(acceptance.of(Source::Draft) > 0.8);
    }

    #[test]
    fn what_has_not_come_yet_is_no_trial() {
        let mut acceptance = Acceptance::default();
        acceptance.learn(Source::Words, &[1, 2, 3], &[]);
        assert_eq!(acceptance.of(Source::Words), 0.3);
    }
}
