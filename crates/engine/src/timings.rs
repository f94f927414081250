//! How long a generation took.

use std::time::Duration;

/// Times of one generation. Loading the model and printing the text are not in them.
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
    /// Tokens chosen after the first, each of which took one forward pass.
    pub decode_tokens: usize,
    /// Time for these.
    pub decode: Duration,
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
}
