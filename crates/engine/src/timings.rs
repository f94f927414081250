//! How long a generation took.

use std::ops::AddAssign;
use std::time::Duration;

/// Times of one generation, or sums of several. Loading the model and printing the text are not in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Time in the queue of an engine, before there was a slot.
    pub waiting: Duration,
    /// Tokens of the prompt that were read.
    pub prefill_tokens: usize,
    /// Time to read them.
    pub prefill: Duration,
    /// Time from the start of prefill (of waiting, in an engine) until the first token was chosen.
    pub first_token: Duration,
    /// Tokens chosen after the first, each of which took one forward pass if no guess was right.
    pub decode_tokens: usize,
    /// Time for these.
    pub decode: Duration,
    /// What guesses contributed to them.
    pub guesses: Guesses,
}

/// What came of guessing ahead; see [`Speculation`](crate::Speculation).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guesses {
    /// Steps in which a guess was verified.
    pub steps: usize,
    /// Tokens guessed in them.
    pub drafted: usize,
    /// Those of them that were right.
    pub accepted: usize,
    /// Tokens that these steps brought: those that were right, and one more a step.
    pub tokens: usize,
    /// Time of these steps, and of all that a draft model did meanwhile, reading prompts included.
    pub elapsed: Duration,
    /// What single steps would have taken for the same tokens, as far as the engine knows what they take. With other sequences
    /// in the same steps it is what they would have taken together.
    pub without: Duration,
}

impl Guesses {
    /// The share of the guessed tokens that was right, from 0 to 1; nothing if none was guessed.
    pub fn acceptance(&self) -> Option<f64> {
        (self.drafted > 0).then(|| self.accepted as f64 / self.drafted as f64)
    }

    /// Tokens that a step with a guess brought; nothing if there was none.
    pub fn tokens_a_step(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.tokens as f64 / self.steps as f64)
    }

    pub(crate) fn count(&mut self, drafted: usize, accepted: usize, tokens: usize) {
        self.steps += 1;
        self.drafted += drafted;
        self.accepted += accepted;
        self.tokens += tokens;
    }
}

impl AddAssign for Guesses {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
        self.tokens += other.tokens;
        self.elapsed += other.elapsed;
        self.without += other.without;
    }
}

impl AddAssign for Timings {
    fn add_assign(&mut self, other: Self) {
        self.waiting += other.waiting;
        self.prefill_tokens += other.prefill_tokens;
        self.prefill += other.prefill;
        self.first_token += other.first_token;
        self.decode_tokens += other.decode_tokens;
        self.decode += other.decode;
        self.guesses += other.guesses;
    }
}

impl Timings {
    /// Prompt tokens a second.
    pub fn prefill_rate(&self) -> f64 {
        rate(self.prefill_tokens, self.prefill)
    }

    /// Generated tokens a second, not counting the first, which prefill paid for.
    pub fn decode_rate(&self) -> f64 {
        rate(self.decode_tokens, self.decode)
    }

    /// How many times as fast all tokens but the first came as they would have without guesses, a draft model's time counted in
    /// full: below 1 where that has not paid. Nothing if no guess was verified.
    pub fn guess_speed_up(&self) -> Option<f64> {
        let Guesses {
            steps,
            elapsed,
            without,
            ..
        } = self.guesses;
        let plain = self.decode.saturating_sub(elapsed) + without;
        (steps > 0 && !self.decode.is_zero()).then(|| plain.div_duration_f64(self.decode))
    }
}

fn rate(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        tokens as f64 / time.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_tokens_a_second() {
        let timings = Timings {
            prefill_tokens: 30,
            prefill: Duration::from_millis(500),
            decode_tokens: 5,
            decode: Duration::from_secs(2),
            ..Timings::default()
        };
        assert_eq!(timings.prefill_rate(), 60.0);
        assert_eq!(timings.decode_rate(), 2.5);
        assert_eq!(Timings::default().decode_rate(), 0.0);
    }

    #[test]
    fn guesses_are_compared_with_single_steps() {
        let mut guesses = Guesses::default();
        assert_eq!(guesses.acceptance(), None);
        guesses.count(5, 3, 4);
        guesses.count(3, 1, 2);
        (guesses.elapsed, guesses.without) =
            (Duration::from_millis(60), Duration::from_millis(150));
        assert_eq!(guesses.acceptance(), Some(0.5));
        assert_eq!(guesses.tokens_a_step(), Some(3.0));
        let timings = Timings {
            decode_tokens: 16,
            decode: Duration::from_millis(360),
            guesses,
            ..Timings::default()
        };
        // 10 tokens in 300 ms, 6 in 60 ms in the place of 150.
        assert!((timings.guess_speed_up().unwrap() - 1.25).abs() < 1e-9);
        assert_eq!(Timings::default().guess_speed_up(), None);
    }

    #[test]
    fn sums_have_the_rates_of_all() {
        let one = Timings {
            prefill_tokens: 30,
            prefill: Duration::from_secs(1),
            decode_tokens: 5,
            decode: Duration::from_secs(2),
            guesses: Guesses {
                steps: 1,
                drafted: 4,
                accepted: 3,
                tokens: 4,
                elapsed: Duration::from_secs(1),
                without: Duration::from_secs(2),
            },
            ..Timings::default()
        };
        let mut sum = one;
        sum += one;
        assert_eq!(sum.decode_tokens, 10);
        assert_eq!(sum.guesses.drafted, 8);
        assert_eq!(sum.prefill_rate(), one.prefill_rate());
        assert_eq!(sum.decode_rate(), one.decode_rate());
        assert_eq!(sum.guesses.tokens_a_step(), one.guesses.tokens_a_step());
        assert_eq!(sum.guess_speed_up(), one.guess_speed_up());
    }
}
