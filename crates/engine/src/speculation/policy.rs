//! How many tokens to guess: as many as make the most tokens a second, and none where that is what single steps do.
//!
//! If the first token of a guess of K is right with probability f, and each further one with probability a given that those
//! before it were, a step brings 1 + f (1 + a + ... + a^(K-1)) tokens (for f = a that is Leviathan, Kalman, Matias: Fast
//! inference from transformers via speculative decoding, 2023). What it costs is measured. So the k-th token of a guess is
//! worth f a^(k-1), and the most valuable tokens of all sequences are taken until more would not pay.
//!
//! Expectations err, so losses are bounded by an account of what guesses really brought, in units of a step without them.
//! It is filled by gains and by 1 % of all steps; when it is empty, nothing is guessed. So however wrong expectations are,
//! guessing costs at most 1 % of the time, half a step, and what the last guess was short of. Not counted is what happens
//! once: rehearsals, what the first steps of a size take longer than expected, as a device has to be prepared for them, and a
//! draft model's reading of the end of a prompt.

use super::costs::Costs;

/// The share of the steps that may be lost.
const ALLOWANCE: f64 = 0.01;
/// The account at the beginning.
const FIRST_BALANCE: f64 = 0.5;
/// The most that gains are remembered for.
const MOST_BALANCE: f64 = 32.0;
/// The most that is saved for trials.
const MOST_TRIALS: f64 = 2.0;
/// What guesses must be expected to gain, as measurements are no better than that.
const MARGIN: f64 = 1.02;
/// Steps with guesses after which one without is measured again.
const MOST_UNCOMPARED: usize = 100;
/// What is forgiven of the cost of steps with guesses whenever another step was made.
const FORGIVENESS: f64 = 0.0005;
/// A draft model's step, before any was measured, as a share of the model's.
const DRAFT_SHARE: f64 = 0.2;
/// A token that is less likely to be reached is not guessed.
const LEAST_VALUE: f64 = 1e-3;

/// A sequence for which there is a guess.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Prospect {
    pub(crate) odds: Odds,
    /// Tokens that may be guessed.
    pub(crate) most: usize,
    /// Whether a draft model is to find them yet.
    pub(crate) is_drafted: bool,
}

/// How probable it is that a guess is right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Odds {
    /// That its first token is.
    pub(crate) first: f64,
    /// That a further one is if those before it were.
    pub(crate) further: f64,
}

/// What a draft model did before a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drafted {
    /// Sequences of the step.
    pub(crate) among: usize,
    /// Those of them that it guessed for.
    pub(crate) sequences: usize,
    /// The most tokens that it guessed of one.
    pub(crate) tokens: usize,
}

/// A step with guesses that was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verified {
    pub(crate) sequences: usize,
    /// Tokens read, guesses among them.
    pub(crate) rows: usize,
    /// Tokens chosen that follow from one another.
    pub(crate) tokens: usize,
    /// Seconds of the step.
    pub(crate) seconds: f64,
    /// Seconds that the draft model took before it.
    pub(crate) drafting: f64,
}

/// Decides on guesses, and learns from what came of them. It knows neither tokens nor models.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Steps without guesses, by sequences.
    plain: Costs,
    /// Steps with guesses, by rows.
    verify: Costs,
    /// Steps of the draft model, by sequences.
    draft: Costs,
    /// What guesses have gained and may still lose.
    balance: f64,
    /// What may still be lost by trying what is not expected to pay.
    trials: f64,
    /// Steps since guesses last gained anything.
    since_gain: usize,
    /// Steps with guesses since one without was measured.
    uncompared: usize,
}

/// The guesses of a step.
#[derive(Debug)]
struct Plan {
    counts: Vec<usize>,
    tokens: f64,
    seconds: f64,
}

impl Policy {
    pub(crate) fn new() -> Self {
        Self {
            plain: Costs::default(),
            verify: Costs::default(),
            draft: Costs::default(),
            balance: FIRST_BALANCE,
            trials: FIRST_BALANCE,
            since_gain: usize::MAX,
            uncompared: 0,
        }
    }

    /// How many tokens to guess for each of the sequences of a step that has room for so many guessed ones.
    pub(crate) fn plan(&mut self, prospects: &[Option<Prospect>], room: usize) -> Vec<usize> {
        let sequences = prospects.len();
        let none = vec![0; sequences];
        let Some(plain) = self.plain.known(sequences) else {
            return none;
        };
        if self.balance <= 0.0 || self.uncompared >= MOST_UNCOMPARED {
            return none;
        }
        let Some(plan) = self.best(prospects, room, plain) else {
            return none;
        };
        let without = plan.tokens / sequences as f64 * plain;
        let loss = (plan.seconds - without) / plain;
        let is_unknown = prospects.iter().flatten().any(|p| p.is_drafted);
        if plan.seconds * MARGIN <= without {
            return plan.counts;
        }
        // How often a look-up is right shows without a step; a draft model must be asked.
        if is_unknown && loss <= self.trials {
            self.trials -= loss.max(0.0);
            return plan.counts;
        }
        none
    }

    /// The fastest of the steps that guess anything.
    fn best(&self, prospects: &[Option<Prospect>], room: usize, plain: f64) -> Option<Plan> {
        let mut plan = Plan {
            counts: vec![0; prospects.len()],
            tokens: prospects.len() as f64,
            seconds: 0.0,
        };
        let (mut drafting, mut drafted) = (0, 0);
        let mut best: Option<(usize, f64, f64)> = None;
        let values = values(prospects);
        let reach = self.verify.reach(prospects.len()) - prospects.len();
        let room = room.min(reach);
        for (taken, (value, index)) in values.iter().take(room).enumerate() {
            let count = &mut plan.counts[*index];
            *count += 1;
            if prospects[*index].is_some_and(|prospect| prospect.is_drafted) {
                drafting += usize::from(*count == 1);
                drafted = drafted.max(*count);
            }
            plan.tokens += value;
            let rows = prospects.len() + taken + 1;
            plan.seconds = self.verify.expected(rows, prospects.len(), plain)
                + self.expected_drafting(drafting, drafted, plain);
            let is_best = |(_, tokens, seconds)| plan.tokens * seconds > tokens * plan.seconds;
            if best.is_none_or(is_best) {
                best = Some((taken + 1, plan.tokens, plan.seconds));
            }
        }
        let (taken, tokens, seconds) = best?;
        let mut counts = vec![0; prospects.len()];
        for (_, index) in &values[..taken] {
            counts[*index] += 1;
        }
        Some(Plan {
            counts,
            tokens,
            seconds,
        })
    }

    /// Seconds that the draft model takes for so many tokens of each of so many sequences: it also reads what was accepted.
    fn expected_drafting(&self, sequences: usize, tokens: usize, plain: f64) -> f64 {
        match sequences {
            0 => 0.0,
            _ => self.draft_step(sequences, plain) * (tokens + 1) as f64,
        }
    }

    fn draft_step(&self, sequences: usize, plain: f64) -> f64 {
        self.draft.expected(sequences, 1, DRAFT_SHARE * plain)
    }

    /// How long a loop without guesses may be: after a gain no longer than the time since then, for it is likely that there will
    /// be something to guess again soon.
    pub(crate) fn longest_loop(&self) -> usize {
        self.since_gain.max(1)
    }

    /// Learns what so many steps without guesses took. Of loops shorter than they would be without guesses it is known that
    /// their steps take longer, so they only tell what a step takes at the most.
    pub(crate) fn learn_plain(
        &mut self,
        sequences: usize,
        steps: usize,
        seconds: f64,
        is_short: bool,
    ) {
        self.earn(steps as f64);
        self.since_gain = self.since_gain.saturating_add(steps);
        let (known, step) = (self.plain.known(sequences), seconds / steps as f64);
        if !is_short {
            self.uncompared = 0;
            self.verify.forgive(FORGIVENESS);
        }
        if !is_short || known.is_some_and(|known| step < known) {
            self.plain
                .learn(sequences, step, known.unwrap_or(f64::INFINITY));
        }
    }

    /// Learns what a step with so many rows takes on a device that is prepared for it.
    pub(crate) fn learn_rehearsal(&mut self, rows: usize, seconds: f64) {
        self.verify.set(rows, seconds);
    }

    /// Learns what the draft model took, if that was measured. Returns the seconds that count, which are those expected if
    /// nothing was.
    pub(crate) fn learn_draft(&mut self, drafted: Drafted, seconds: Option<f64>) -> f64 {
        let Some(plain) = self.plain.known(drafted.among) else {
            return 0.0;
        };
        let steps = (drafted.tokens + 1) as f64;
        let expected = self.draft_step(drafted.sequences, plain);
        let learn = |seconds| {
            self.draft
                .learn(drafted.sequences, seconds / steps, expected)
        };
        steps * seconds.map_or(expected, learn)
    }

    /// Learns what a step with guesses took and brought. Returns the seconds that steps without them would have taken.
    pub(crate) fn learn_verify(&mut self, step: Verified) -> Option<f64> {
        let plain = self.plain.known(step.sequences)?;
        let expected = self.verify.expected(step.rows, step.sequences, plain);
        let seconds = self.verify.learn(step.rows, step.seconds, expected);
        let without = step.tokens as f64 / step.sequences as f64;
        let gain = without - (seconds + step.drafting) / plain;
        self.earn(without);
        self.balance = (self.balance + gain).min(MOST_BALANCE);
        self.uncompared += 1;
        self.since_gain = match gain > 0.0 {
            true => 0,
            false => self.since_gain.saturating_add(1),
        };
        Some(without * plain)
    }

    /// What may be lost for so many steps.
    fn earn(&mut self, steps: f64) {
        let earned = ALLOWANCE * steps;
        self.balance = (self.balance + earned).min(MOST_BALANCE);
        self.trials = (self.trials + earned).min(MOST_TRIALS);
    }
}

/// What each token that may be guessed is worth, and whose it is: the most valuable first, the tokens of each sequence in
/// their order.
fn values(prospects: &[Option<Prospect>]) -> Vec<(f64, usize)> {
    let mut values = Vec::new();
    for (index, prospect) in prospects.iter().enumerate() {
        let Some(prospect) = prospect else { continue };
        let [first, further] =
            [prospect.odds.first, prospect.odds.further].map(|p| p.clamp(0.0, 1.0));
        let products = std::iter::successors(Some(first), |value| Some(value * further));
        let worth = products.take_while(|value| *value >= LEAST_VALUE);
        values.extend(worth.take(prospect.most).map(|value| (value, index)));
    }
    values.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    values
}

#[cfg(test)]
mod tests;
