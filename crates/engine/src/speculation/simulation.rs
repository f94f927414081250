//! Look-ups and the policy together: real prose, and copies of it with changes, on devices whose costs are known.

use std::collections::HashMap;

use super::policy::{Policy, Verified};
use super::{Guessing, Offer, Speculation};
use crate::{Request, SamplerSettings};

/// Steps that a loop has where nothing is guessed, after some that grow.
const LOOP: usize = 24;
/// Asking the device, in steps.
const ROUND_TRIP: f64 = 0.05;
/// Bringing states up to date where a step without guesses follows one with some, in steps.
const SETTLING: f64 = 0.15;
const LONGEST_GUESS: usize = 31;

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

/// The same with every so-manieth word another one, or two others in the place of one every other time.
fn with_changes(text: &[u32], every: usize, grow: bool) -> Vec<u32> {
    let mut changed = Vec::with_capacity(text.len());
    for (at, word) in text.iter().enumerate() {
        let other = 1_000_000 + 2 * at as u32;
        match at % every == every / 2 {
            false => changed.push(*word),
            true if grow && at / every % 2 == 1 => changed.extend([other, other + 1]),
            true => changed.push(other),
        }
    }
    changed
}

/// What steps with guesses take on a device, by the most rows of each plan, in steps.
type Plans = &'static [(usize, f64)];

/// One whose costs hardly rise.
const EVEN: Plans = &[(2, 1.1), (4, 1.15), (8, 1.3), (16, 1.7), (32, 2.6)];
/// As measured on an H200 with a model of 2.9B: two rows are hardly worth it, many are.
const STEEP_AT_FIRST: Plans = &[(2, 1.8), (4, 2.2), (8, 2.2), (16, 2.45), (32, 2.95)];
/// As on a CPU.
const STEEP: Plans = &[(2, 1.25), (4, 1.8), (8, 2.9), (16, 5.2), (32, 10.0)];

/// A reply on its way, of which the model has said all tokens up to `said`.
struct Simulation {
    guessing: Guessing,
    policy: Policy,
    text: Vec<u32>,
    said: usize,
    plans: Plans,
    /// Steps of the next loop.
    pace: usize,
    is_settled: bool,
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
            None => {
                self.decode(self.pace.min(left));
                self.pace = (2 * self.pace).min(LOOP);
            }
        }
    }

    fn decode(&mut self, wanted: usize) {
        let steps = wanted.min(self.policy.longest_loop());
        let settling = if self.is_settled { 0.0 } else { SETTLING };
        let seconds = ROUND_TRIP + settling + steps as f64;
        self.is_settled = true;
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
            seconds: self.verify_seconds(1 + guess.len()),
            drafting: 0.0,
        };
        self.policy.learn_verify(step);
        self.is_settled = false;
        self.said += step.tokens;
        self.seconds += step.seconds;
    }

    fn rehearse(&mut self) {
        for rows in [2, 4, 8, 16, 32] {
            let seconds = self.verify_seconds(rows);
            self.policy.learn_rehearsal(rows, seconds);
        }
    }

    fn verify_seconds(&self, rows: usize) -> f64 {
        let plan = self.plans.iter().find(|(most, _)| rows <= *most);
        ROUND_TRIP + plan.unwrap().1
    }
}

/// How many times as fast as in loops alone a reply comes.
fn speed_up(plans: Plans, prompt: &[u32], reply: &[u32]) -> f64 {
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
        plans,
        pace: 1,
        is_settled: true,
        seconds: 0.0,
    };
    simulation.rehearse();
    while simulation.said < simulation.text.len() {
        simulation.step();
    }
    let without = (reply.len() - 1) as f64 * (1.0 + ROUND_TRIP / LOOP as f64);
    without / simulation.seconds
}

#[test]
fn copies_come_fast_as_far_as_they_are_copies() {
    let text = &prose()[..800];
    // With every change a word for a word, and with two words for every other one.
    let least = [
        (EVEN, [[10.0, 10.0], [7.5, 6.2], [7.5, 5.7], [6.5, 4.2]]),
        (
            STEEP_AT_FIRST,
            [[9.0, 9.0], [8.0, 6.3], [7.5, 5.2], [5.1, 3.2]],
        ),
        (STEEP, [[2.7, 2.7], [2.3, 2.2], [2.3, 1.9], [1.9, 1.6]]),
    ];
    for (plans, least) in least {
        for (every, least) in [800, 60, 30, 15].into_iter().zip(least) {
            for (grow, least) in [false, true].into_iter().zip(least) {
                let reply = with_changes(text, every, grow);
                let found = speed_up(plans, text, &reply);
                let what = format!("{plans:?}, a change every {every} words, {grow}: {found}");
                assert!(found > least, "{what}");
            }
        }
    }
}

#[test]
fn prose_that_does_not_repeat_loses_nothing() {
    let text = prose();
    for plans in [EVEN, STEEP_AT_FIRST, STEEP] {
        for (prompt, reply) in [(100, 400), (800, 2000), (20_000, 4000)] {
            let found = speed_up(plans, &text[..prompt], &text[prompt..][..reply]);
            assert!(found > 0.99, "{plans:?}, {prompt}, {reply}: {found}");
        }
    }
}
