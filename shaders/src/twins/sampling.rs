//! Choosing a token of a row of logits, in whole numbers wherever an order of summing could show.
//!
//! Logits become keys, whose order as integers is theirs as numbers. Probabilities become weights, whole numbers of
//! which the best token has 2^43 and whose sums fit 64 bits: they are the same in any order, so the kernels choose the
//! same tokens as this does, to the bit.

use crate::sampling::{Penalties, SampleLogprob};
use crate::{NO_TOKEN, NoToken, SampleBias, SampleCount, SampleReport, SampleRow};

/// The key of a token that is banned; every other key is larger.
const BANNED: u32 = 0;
/// The weight of the best token, as a power of two: 2^20 tokens of it add up to 2^63.
const BEST_WEIGHT_BITS: u32 = 43;
/// Bits behind the point of a distance.
const DISTANCE_BITS: u32 = 26;
/// What penalties and counts are kept within. It also stands between product and sum, which a driver may else round once.
const LARGEST: f32 = 1e30;

/// Chooses a token by `row` and counts it. Shapes: logits `[vocab]`, counts `[1 + vocab]` (see [`SampleCount`]).
///
/// The random number is [`philox`] of the seed and the slot's step, so what is drawn depends on nothing else.
///
/// # Panics
/// If the lengths disagree, or the row's biases lie outside of `biases`.
pub fn sample(
    row: &SampleRow,
    logits: &[f32],
    biases: &[SampleBias],
    counts: &mut [SampleCount],
) -> SampleReport {
    let scored = match Scored::new(row, logits, biases, counts) {
        Ok(scored) => scored,
        Err(failure) => return SampleReport::of_failure(failure),
    };
    let token = match row.is_greedy() {
        true => scored.best,
        false => draw(&scored.weights(row), row.seed(), counts[0].step),
    };
    let report = scored.report(row, token);
    count(counts, token, row.penalties().decay);
    report
}

/// The weights from which [`sample`] draws, `[vocab]`: 0 for what the filters drop. A greedy row has one.
///
/// # Errors
/// [`NoToken`] if there is none to choose.
///
/// # Panics
/// As [`sample`].
pub fn sample_weights(
    row: &SampleRow,
    logits: &[f32],
    biases: &[SampleBias],
    counts: &[SampleCount],
) -> Result<Vec<u64>, NoToken> {
    let scored = Scored::new(row, logits, biases, counts)?;
    if row.is_greedy() {
        let mut weights = vec![0; logits.len()];
        weights[scored.best as usize] = 1 << BEST_WEIGHT_BITS;
        return Ok(weights);
    }
    let mut weights = vec![0; logits.len()];
    for (token, weight) in scored.weights(row) {
        weights[token as usize] = weight;
    }
    Ok(weights)
}

/// Philox4x32 with 10 rounds: 128 random bits as a function of key and counter.
///
/// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
pub fn philox(mut key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
    let high = |product: u64| (product >> 32) as u32;
    let mut state = counter;
    for _ in 0..10 {
        let first = product(0xd251_1f53, state[0]);
        let second = product(0xcd9e_8d57, state[2]);
        state = [
            high(second) ^ state[1] ^ key[0],
            second as u32,
            high(first) ^ state[3] ^ key[1],
            first as u32,
        ];
        key = [
            key[0].wrapping_add(0x9e37_79b9),
            key[1].wrapping_add(0xbb67_ae85),
        ];
    }
    state
}

/// The keys of a row's logits after biases and penalties.
struct Scored {
    keys: Vec<u32>,
    /// The token with the largest key; of equals, the lowest.
    best: u32,
}

impl Scored {
    fn new(
        row: &SampleRow,
        logits: &[f32],
        biases: &[SampleBias],
        counts: &[SampleCount],
    ) -> Result<Scored, NoToken> {
        assert_eq!(counts.len(), 1 + logits.len());
        if let Some(token) = logits.iter().position(|logit| !logit.is_finite()) {
            let token = token as u32;
            return Err(NoToken::NotFinite { token });
        }
        let (now, counts) = (counts[0].step, &counts[1..]);
        let biases = row.biases(biases);
        let keys: Vec<u32> = (0..)
            .zip(logits.iter().zip(counts))
            .map(|(token, (logit, count))| {
                let biased = logit + bias_of(token, biases)?;
                let penalty = penalty(row.penalties(), *count, now);
                Some(key_of(within_floats(within_floats(biased) - penalty)))
            })
            .map(|key| key.unwrap_or(BANNED))
            .collect();
        let best = (0..).zip(&keys).max_by_key(|(token, key)| (**key, !*token));
        match best {
            Some((best, key)) if *key != BANNED => Ok(Scored { best, keys }),
            _ => Err(NoToken::NothingAllowed),
        }
    }

    /// How far a logit lies below the best one.
    fn distance(&self, key: u32) -> f32 {
        (logit_of(self.keys[self.best as usize]) - logit_of(key)).min(f32::MAX)
    }

    /// The weight of a key where distances are multiplied by `sharpness`.
    fn weight(&self, key: u32, sharpness: f32) -> u64 {
        weight(fixed_point(self.distance(key), sharpness))
    }

    /// The tokens that are not banned, in the order of their ids.
    fn allowed(&self) -> impl Iterator<Item = Ranked> + '_ {
        let tokens = (0..).zip(&self.keys);
        let allowed = tokens.filter(|(_, key)| **key != BANNED);
        allowed.map(|(token, key)| Ranked::new(*key, token))
    }

    /// The best `count` of the tokens that are not banned.
    fn best_of(&self, count: usize) -> Vec<Ranked> {
        let mut tokens: Vec<Ranked> = self.allowed().collect();
        if count < tokens.len() {
            tokens.select_nth_unstable(count);
            tokens.truncate(count);
        }
        tokens
    }

    /// What the filters keep, in the order of their ids, weighed at the row's temperature.
    fn weights(&self, row: &SampleRow) -> Vec<(u32, u64)> {
        let mut kept = self.kept(row);
        kept.retain(|token| self.distance(token.key()) <= row.reach());
        let weigh = |token: Ranked| {
            let weight = self.weight(token.key(), row.sharpness());
            (token.token(), weight)
        };
        let mut weights: Vec<_> = kept.into_iter().map(weigh).collect();
        weights.sort_unstable_by_key(|(token, _)| *token);
        weights
    }

    /// What top-k and top-p keep.
    fn kept(&self, row: &SampleRow) -> Vec<Ranked> {
        let mut tokens = self.best_of(row.most_tokens());
        if let Some(share) = row.top_p() {
            self.keep_share(&mut tokens, share);
        }
        tokens
    }

    /// Keeps the fewest best tokens that hold the share of the weight, in units of 2^-32. They are put in order a block at a
    /// time, each larger than all before: a whole vocabulary is not sorted for the few tokens at its top.
    fn keep_share(&self, tokens: &mut Vec<Ranked>, share: u32) {
        const FIRST_BLOCK: usize = 128;
        let weight = |token: &Ranked| self.weight(token.key(), LOG2_E);
        let all: u64 = tokens.iter().map(weight).sum();
        let wanted = (u128::from(all) * u128::from(share)).div_ceil(1 << 32) as u64;
        let (mut ordered, mut sum) = (0, 0);
        while ordered < tokens.len() {
            let rest = &mut tokens[ordered..];
            let block = FIRST_BLOCK.max(3 * ordered).min(rest.len());
            rest.select_nth_unstable(block - 1);
            rest[..block].sort_unstable();
            for (index, token) in rest[..block].iter().enumerate() {
                sum += weight(token);
                if sum >= wanted {
                    tokens.truncate(ordered + index + 1);
                    return;
                }
            }
            ordered += block;
        }
    }

    fn report(&self, row: &SampleRow, token: u32) -> SampleReport {
        if !row.wants_logprob() {
            return SampleReport::of_token(token, 0.0, &[]);
        }
        let weight = |token: Ranked| self.weight(token.key(), LOG2_E);
        let all: u64 = self.allowed().map(weight).sum();
        let log_of_all = (all as f64 / (1_u64 << BEST_WEIGHT_BITS) as f64).ln();
        let logprob = |key| (-f64::from(self.distance(key)) - log_of_all) as f32;
        let mut top = match row.top_logprobs() {
            0 => Vec::new(),
            count => self.best_of(count),
        };
        top.sort_unstable();
        let top: Vec<_> = top
            .into_iter()
            .map(|top| SampleLogprob {
                token: top.token(),
                logprob: logprob(top.key()),
            })
            .collect();
        SampleReport::of_token(token, logprob(self.keys[token as usize]), &top)
    }
}

/// A token with its key, in one number that orders them: the best first; of equals, the lowest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked(u64);

impl Ranked {
    fn new(key: u32, token: u32) -> Ranked {
        Ranked(u64::from(!key) << 32 | u64::from(token))
    }

    fn key(self) -> u32 {
        !((self.0 >> 32) as u32)
    }

    fn token(self) -> u32 {
        self.0 as u32
    }
}

const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// The bias of a token; none if it is banned.
fn bias_of(token: u32, biases: &[SampleBias]) -> Option<f32> {
    match biases.binary_search_by_key(&token, SampleBias::token) {
        Ok(at) => Some(biases[at].bias()).filter(|bias| bias.is_finite()),
        Err(_) => Some(0.0),
    }
}

fn penalty(penalties: Penalties, seen: SampleCount, now: u32) -> f32 {
    let age = now.wrapping_sub(seen.step);
    if seen.count <= 0.0 || (age > 0 && penalties.decay <= 0.0) {
        return 0.0;
    }
    let count = seen.count * power(penalties.decay, age);
    penalties.presence + (count * penalties.frequency).clamp(-LARGEST, LARGEST)
}

/// Counts a token that the slot is given.
fn count(counts: &mut [SampleCount], token: u32, decay: f32) {
    let now = counts[0].step.wrapping_add(1);
    counts[0].step = now;
    let seen = &mut counts[1 + token as usize];
    let faded = (seen.count * power(decay, now.wrapping_sub(seen.step))).min(LARGEST);
    *seen = SampleCount {
        count: faded + 1.0,
        step: now,
    };
}

/// By squaring: multiplications alone, which are the same everywhere.
fn power(mut base: f32, mut exponent: u32) -> f32 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            product *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    product
}

fn within_floats(value: f32) -> f32 {
    value.clamp(-f32::MAX, f32::MAX)
}

/// An integer that orders finite numbers as they are. Subnormal numbers, which devices may flush, and both zeros are one.
fn key_of(logit: f32) -> u32 {
    const SIGN: u32 = 1 << 31;
    let bits = logit.to_bits();
    match bits & !SIGN < f32::MIN_POSITIVE.to_bits() {
        true => SIGN,
        false if bits & SIGN == 0 => bits | SIGN,
        false => !bits,
    }
}

fn logit_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 {
        key & !(1 << 31)
    } else {
        !key
    })
}

/// A distance times the sharpness, in units of 2^-26, at most what 32 bits hold.
fn fixed_point(distance: f32, sharpness: f32) -> u32 {
    let largest = f32::from_bits(64_f32.to_bits() - 1);
    ((distance * sharpness).min(largest) * (1 << DISTANCE_BITS) as f32) as u32
}

/// 2^43 times 2^-distance: by a polynomial that is off by 8.4e-8 of its value at most.
fn weight(distance: u32) -> u64 {
    // (1 - 2^-x) / x on [0, 1], equal ripples of the relative error of 2^-x, in units of 2^-31; the signs alternate.
    const COEFFICIENTS: [u32; 5] = [
        1_488_514_807,
        515_782_929,
        118_750_173,
        19_769_301,
        2_029_165,
    ];
    let x = distance << (32 - DISTANCE_BITS); // the part behind the point, in units of 2^-32
    let times_x = |value: u32| ((u64::from(value) * u64::from(x)) >> 32) as u32;
    let series = COEFFICIENTS
        .into_iter()
        .rev()
        .fold(0, |sum, coefficient| coefficient - times_x(sum));
    let power = (1_u32 << 31) - times_x(series);
    (u64::from(power) << (BEST_WEIGHT_BITS - 31)) >> (distance >> DISTANCE_BITS)
}

/// The token at a random place in the sum of the weights, which are in the order of their ids.
fn draw(weights: &[(u32, u64)], seed: [u32; 2], step: u32) -> u32 {
    let all: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let [low, high, ..] = philox(seed, [step, 0, 0, 0]);
    let random = u128::from(high) << 32 | u128::from(low);
    let mut left = ((u128::from(all) * random) >> 64) as u64;
    for (token, weight) in weights {
        if left < *weight {
            return *token;
        }
        left -= weight;
    }
    NO_TOKEN // cannot be: what is left is less than all of them
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_powers_of_two() {
        for distance in (0..=u32::MAX).step_by(99_991) {
            let x = f64::from(distance) / f64::from(1 << DISTANCE_BITS);
            let expected = (f64::from(BEST_WEIGHT_BITS) - x).exp2();
            let off = (weight(distance) as f64 - expected).abs();
            assert!(off <= 1.0 + 9e-8 * expected, "{x}: {off} of {expected}");
        }
        assert_eq!(weight(0), 1 << 43);
        assert_eq!(weight(1 << DISTANCE_BITS), 1 << 42);
    }

    #[test]
    fn keys_are_ordered_as_their_numbers_and_above_a_ban() {
        let numbers = [f32::MIN, -2.5, -1.0, -1e-30, 0.0, 1e-30, 1.0, 1.5, f32::MAX];
        let keys = numbers.map(key_of);
        assert!(keys.is_sorted_by(|a, b| a < b) && keys[0] > BANNED);
        assert_eq!(keys.map(logit_of), numbers);
        assert_eq!([-0.0, 1e-40, -1e-40].map(key_of), [key_of(0.0); 3]);
    }

    #[test]
    fn a_power_with_no_factor_is_one() {
        assert_eq!(power(0.0, 0), 1.0);
        assert_eq!(power(0.0, 3), 0.0);
        assert_eq!(power(0.5, 10), 1.0 / 1024.0);
        assert!((f64::from(power(0.996, 1000)) - 0.996_f64.powi(1000)).abs() < 1e-6);
    }
}
