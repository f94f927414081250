//! How often guesses are right, by where they come from.

use super::policy::Odds;

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
    /// Going on with a passage right behind a token that was another one.
    BehindChange,
    /// Likewise, with the tokens since then the same again.
    Resumed,
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

    /// What is expected before any guess was tried.
    fn expectation(self) -> Odds {
        let (first, further) = match self {
            Self::Words => (0.3, 0.5),
            Self::Phrase => (0.6, 0.7),
            Self::Passage => (0.8, 0.9),
            Self::BehindChange => (0.5, 0.8),
            Self::Resumed => (0.7, 0.9),
            Self::Draft => (0.6, 0.6),
        };
        Odds { first, further }
    }
}

/// The shares of right tokens of a sequence's guesses, the latest counting most.
#[derive(Debug, Default)]
pub(crate) struct Acceptance {
    sources: [Record; 6],
}

/// A source's record. First tokens are apart from those behind: where a look-up is right at all it is often right for long.
#[derive(Debug, Default, Clone, Copy)]
struct Record {
    first: Rate,
    further: Rate,
}

/// Trials and how many were right, both decayed.
#[derive(Debug, Default, Clone, Copy)]
struct Rate {
    trials: f64,
    right: f64,
}

impl Rate {
    fn share(self, expectation: f64) -> f64 {
        let share = (self.right + TRUST * expectation) / (self.trials + TRUST);
        share.min(MOST)
    }

    fn learn(&mut self, is_right: bool) {
        self.trials = self.trials * DECAY + 1.0;
        self.right = self.right * DECAY + f64::from(u8::from(is_right));
    }
}

impl Acceptance {
    /// How probable it is that what `source` guesses is right.
    pub(crate) fn of(&self, source: Source) -> Odds {
        let Record { first, further } = self.sources[source as usize];
        let expectation = source.expectation();
        Odds {
            first: first.share(expectation.first),
            further: further.share(expectation.further),
        }
    }

    /// Compares a guess with what came. Tokens after the first wrong one say nothing.
    pub(crate) fn learn(&mut self, source: Source, guess: &[u32], came: &[u32]) {
        let Record { first, further } = &mut self.sources[source as usize];
        for (index, (guessed, came)) in guess.iter().zip(came).enumerate() {
            let is_right = guessed == came;
            match index {
                0 => first.learn(is_right),
                _ => further.learn(is_right),
            }
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
        let both = |odds: Odds| (odds.first, odds.further);
        assert_eq!(both(acceptance.of(Source::Draft)), (0.6, 0.6));
        for _ in 0..40 {
            acceptance.learn(Source::Draft, &[1, 2, 3], &[1, 2, 9, 9]);
        }
        let (first, further) = both(acceptance.of(Source::Draft));
        assert!(
            first > 0.9 && (further - 0.5).abs() < 0.05,
            "{first}, {further}"
        );
        assert_eq!(both(acceptance.of(Source::Passage)), (0.8, 0.9));
        for _ in 0..40 {
            acceptance.learn(Source::Draft, &[1, 2, 3], &[4, 2, 3]);
        }
        let (first, now) = both(acceptance.of(Source::Draft));
        assert!(first < 0.2, "{first}");
        assert_eq!(now, further, "tokens behind a wrong one say nothing");
        for _ in 0..5 {
            acceptance.learn(Source::Draft, &[1; 8], &[1; 9]);
        }
        assert!(acceptance.of(Source::Draft).further > 0.8);
    }

    #[test]
    fn what_has_not_come_yet_is_no_trial() {
        let mut acceptance = Acceptance::default();
        acceptance.learn(Source::Words, &[1, 2, 3], &[]);
        assert_eq!(acceptance.of(Source::Words), Source::Words.expectation());
    }
}
