//! Look-ups and the policy together: real prose, and copies of it with changes, on a device whose costs are known.

use std::collections::HashMap;

use super::policy::{Policy, Verified};
use super::{Guessing, Offer, Speculation};
use crate::{Request, SamplerSettings};

/// Steps that a loop has where nothing is guessed.
const LOOP: usize = 16;
/// Asking the device, in steps.
const ROUND_TRIP: f64 = 0.05;
const LONGEST_GUESS: usize = 15;

/// Words of held-out prose, as numbers.
fn prose() -> Vec<u32> {
    let path = "/../../assets/thalweg-demo-29m-validation.txt";
    let path = env!("CARGO_MANIFEST_DIR").to_owned() + path;
    let text = std::fs::read_to_string(path).unwrap();
    let mut numbers = HashMap::new();
    let number = |word| {
        let next = numbers.len() as u32;
        *numbers.entry(word).or_insert(next)
    };
    let words = text.split_inclusive(|c: char| !c.is_alphanumeric());
    words.map(number).collect()
}

/// The same with every so-manieth word another one.
fn with_changes(text: &[u32], every: usize) -> Vec<u32> {
    let mut text = text.to_vec();
    for at in (every / 2..text.len()).step_by(every) {
        text[at] = 1_000_000 + at as u32;
    }
    text
}

/// What a step with guesses takes.
fn verify_seconds(rows: usize) -> f64 {
    ROUND_TRIP
        + match rows {
            0..=2 => 1.1,
            3..=4 => 1.15,
            5..=8 => 1.3,
            _ => 1.7,
        }
}

/// A reply on its way, of which the model has said all tokens up to `said`.
struct Simulation {
    guessing: Guessing,
    policy: Policy,
    text: Vec<u32>,
    said: usize,
    seconds: f64,
}

impl Simulation {
    fn step(&mut self) {
        let left = self.text.len() - self.said;
        let most = LONGEST_GUESS.min(left - 1);
        let said = &self.text[..self.said];
        let offer = self.guessing.offer(said, most, false);
        let prospect = offer.as_ref().map(|offer| offer.prospect);
        let count = self.policy.plan(&[prospect], LONGEST_GUESS)[0];
        let guess = offer.and_then(|Offer { tokens, .. }| tokens);
        match guess.filter(|_| count > 0) {
            Some(guess) => self.verify(&guess[..count]),
            None => self.decode(LOOP.min(left)),
        }
    }

    fn decode(&mut self, wanted: usize) {
        let steps = wanted.min(self.policy.longest_loop());
        let seconds = ROUND_TRIP + steps as f64;
        self.policy.learn_plain(1, steps, seconds, steps < wanted);
        self.said += steps;
        self.seconds += seconds;
    }

    fn verify(&mut self, guess: &[u32]) {
        let came = &self.text[self.said..];
        let right = guess.iter().zip(came).take_while(|(a, b)| a == b).count();
        let step = Verified {
            sequences: 1,
            rows: 1 + guess.len(),
            tokens: 1 + right,
            seconds: verify_seconds(1 + guess.len()),
            drafting: 0.0,
        };
        self.policy.learn_verify(step);
        self.said += step.tokens;
        self.seconds += step.seconds;
    }
}

/// How many times as fast as in loops alone a reply comes.
fn speed_up(prompt: &[u32], reply: &[u32]) -> f64 {
    let request = Request {
        speculation: Speculation::Ngram,
        sampler: SamplerSettings::greedy(),
        ..Request::new("a")
    };
    let mut simulation = Simulation {
        guessing: Guessing::new(&request).unwrap(),
        policy: Policy::new(),
        text: [prompt, reply].concat(),
        said: prompt.len() + 1,
        seconds: 0.0,
    };
    while simulation.said < simulation.text.len() {
        simulation.step();
    }
    let without = (reply.len() - 1) as f64 * (1.0 + ROUND_TRIP / LOOP as f64);
    without / simulation.seconds
}

#[test]
fn copies_come_fast_as_far_as_they_are_copies() {
    let text = &prose()[..800];
    for (every, least) in [(800, 5.5), (60, 4.5), (30, 3.7), (15, 2.5)] {
        let found = speed_up(text, &with_changes(text, every));
        assert!(found > least, "a change every {every} words: {found}");
    }
}

#[test]
fn prose_that_does_not_repeat_loses_nothing() {
    let text = prose();
    for (prompt, reply) in [(100, 400), (800, 2000), (20_000, 4000)] {
        let found = speed_up(&text[..prompt], &text[prompt..][..reply]);
        assert!(found > 0.99, "{prompt}, {reply}: {found}");
    }
}
