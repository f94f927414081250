//! What is told to the sampler, and what it answers: the same for the kernels and for their twin.

use bytemuck::{Pod, Zeroable};

/// The most tokens that [`SampleRow::with_top_logprobs`] may ask for.
pub const MAX_TOP_LOGPROBS: usize = 20;
/// The largest vocabulary that can be sampled from.
pub const MAX_SAMPLED_VOCAB: usize = 1 << 20;
/// In the place of a token where there is none; the report says why.
pub const NO_TOKEN: u32 = u32::MAX;

/// How the token of one row of logits is chosen, in the form in which the kernels read it.
///
/// What is set acts in this order:
///
/// 1. biases and bans ([`SampleBias`]), then presence and frequency penalties, change the logits;
/// 2. top-k keeps the best tokens by number; of equals, those with the lowest ids;
/// 3. top-p keeps, of these, the fewest best ones that hold the wanted share of their probability;
/// 4. min-p drops those too improbable beside the best;
/// 5. temperature shapes the distribution from which one of the rest is drawn.
///
/// So the filters see probabilities at temperature 1. At the edge this differs from a sampler in `f64`: what is less than
/// 1e-13 times as probable as the best token is never drawn (it still counts for top-k); probabilities are right to about
/// 1e-6 of their value; logits below 1.2e-38 in magnitude and zeros of either sign are equal.
///
/// Numbers are expected to be finite. Others choose an unspecified token, but do no harm.
///
/// ```
/// use thalweg_shaders::{SampleCount, SampleRow, twins};
///
/// let row = SampleRow::drawn(0, 0.8, 42).with_top_p(0.9).with_penalties(0.5, 0.2, 0.996);
/// let logits = [0.5, -9.0, 1.0];
/// let mut counts = vec![SampleCount::default(); 1 + logits.len()];
/// let token = twins::sample(&row, &logits, &[], &mut counts).token()?;
/// assert!([0, 2].contains(&token));
/// assert_eq!(counts[1 + token as usize].count, 1.0);
/// # Ok::<(), thalweg_shaders::NoToken>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SampleRow {
    slot: u32,
    flags: u32,
    /// Seed of the random numbers, low word first.
    seed: [u32; 2],
    /// log2(e) / temperature: what a distance in nats is multiplied by.
    sharpness: f32,
    /// Keep so many; 0 keeps all.
    top_k: u32,
    /// Share in units of 2^-32; 0 keeps all.
    top_p: u32,
    /// The furthest that a kept logit lies below the best: min-p as a distance.
    reach: f32,
    presence: f32,
    frequency: f32,
    decay: f32,
    top_logprobs: u32,
    first_bias: u32,
    bias_count: u32,
    guessed: u32,
    padding: u32,
}

/// The best token is taken.
const GREEDY: u32 = 1;
/// The log-probability of the chosen token is wanted.
const LOGPROB: u32 = 2;
/// A whole in units of 2^-32.
const WHOLE: f64 = 4_294_967_296.0;

impl SampleRow {
    /// Takes the best token; of equals, the lowest id. `slot` is where the sequence's counts lie, see [`SampleCount`].
    pub fn greedy(slot: u32) -> SampleRow {
        SampleRow {
            slot,
            flags: GREEDY,
            reach: f32::MAX,
            decay: 1.0,
            ..SampleRow::zeroed()
        }
    }

    /// Draws at this temperature, with the random numbers of `seed`. At a temperature that is not above 0 the best token
    /// is taken.
    ///
    /// The random number of a token is a function of the seed and of how many tokens its sequence was given before.
    pub fn drawn(slot: u32, temperature: f32, seed: u64) -> SampleRow {
        if temperature.is_nan() || temperature <= 0.0 {
            return SampleRow::greedy(slot);
        }
        let sharpness = std::f64::consts::LOG2_E / f64::from(temperature);
        SampleRow {
            flags: 0,
            seed: [seed as u32, (seed >> 32) as u32],
            sharpness: sharpness.min(f64::from(f32::MAX)) as f32,
            ..SampleRow::greedy(slot)
        }
    }

    /// The same for the sequence in another slot.
    pub fn in_slot(self, slot: u32) -> SampleRow {
        SampleRow { slot, ..self }
    }

    /// Keeps the `count` best tokens; 0 keeps all.
    pub fn with_top_k(self, count: usize) -> SampleRow {
        SampleRow {
            top_k: u32::try_from(count).unwrap_or(0),
            ..self
        }
    }

    /// Keeps the fewest best tokens that hold this share of the probability. 0 keeps one, 1 all of them.
    pub fn with_top_p(self, share: f32) -> SampleRow {
        let top_p = match share < 1.0 {
            true => (f64::from(share) * WHOLE).max(1.0) as u32,
            false => 0,
        };
        SampleRow { top_p, ..self }
    }

    /// Keeps tokens at least this share as probable as the best one; 0 keeps all.
    pub fn with_min_p(self, share: f32) -> SampleRow {
        let reach = -f64::from(share.clamp(0.0, 1.0)).ln();
        SampleRow {
            reach: reach.min(f64::from(f32::MAX)) as f32,
            ..self
        }
    }

    /// Takes `presence` off the logit of every token of the slot, and `frequency` for each time that it occurred. With
    /// each token that the slot is given, counts are multiplied by `decay`, from 0 to 1.
    ///
    /// The presence penalty stays while the count fades, however small it has become; only a decay of 0 forgets all but
    /// the last token.
    pub fn with_penalties(self, presence: f32, frequency: f32, decay: f32) -> SampleRow {
        SampleRow {
            presence,
            frequency,
            decay,
            ..self
        }
    }

    /// Biases and bans: `count` entries from entry `first` of the list on, ascending by token.
    pub fn with_biases(self, first: u32, count: u32) -> SampleRow {
        SampleRow {
            first_bias: first,
            bias_count: count,
            ..self
        }
    }

    /// Has the row be one of several of its slot: behind one of a token that was chosen, and so many that are guesses. Only
    /// the passes for guesses ([`GuessPass`](crate::kernels::GuessPass)) look at this.
    pub fn with_guessed(self, guessed: u32) -> SampleRow {
        SampleRow { guessed, ..self }
    }

    /// Reports the log-probability of the chosen token, and the `top` most probable tokens with theirs, 20 at most.
    ///
    /// They are of the logits with biases, bans and penalties, at temperature 1, before any filter.
    pub fn with_top_logprobs(self, top: usize) -> SampleRow {
        SampleRow {
            flags: self.flags | LOGPROB,
            top_logprobs: top.min(MAX_TOP_LOGPROBS) as u32,
            ..self
        }
    }
}

/// What a row asks for.
impl SampleRow {
    /// Whether the best token is taken, so that nothing is drawn.
    pub fn is_greedy(&self) -> bool {
        self.flags & GREEDY != 0
    }

    /// Whether log-probabilities are to be reported.
    pub fn wants_logprob(&self) -> bool {
        self.flags & LOGPROB != 0
    }

    pub(crate) fn top_logprobs(&self) -> usize {
        self.top_logprobs as usize
    }

    pub(crate) fn seed(&self) -> [u32; 2] {
        self.seed
    }

    pub(crate) fn sharpness(&self) -> f32 {
        self.sharpness
    }

    /// Tokens kept at most.
    pub(crate) fn most_tokens(&self) -> usize {
        match self.top_k {
            0 => usize::MAX,
            count => count as usize,
        }
    }

    /// The share to keep, in units of 2^-32.
    pub(crate) fn top_p(&self) -> Option<u32> {
        (self.top_p > 0).then_some(self.top_p)
    }

    pub(crate) fn reach(&self) -> f32 {
        self.reach
    }

    pub(crate) fn penalties(&self) -> Penalties {
        Penalties {
            presence: self.presence,
            frequency: self.frequency,
            decay: self.decay,
        }
    }

    pub(crate) fn biases<'b>(&self, list: &'b [SampleBias]) -> &'b [SampleBias] {
        &list[self.first_bias as usize..][..self.bias_count as usize]
    }
}

/// What a row takes off for tokens that occurred before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Penalties {
    pub(crate) presence: f32,
    pub(crate) frequency: f32,
    pub(crate) decay: f32,
}

/// What is added to the logit of one token. What is not finite bans the token.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SampleBias {
    token: u32,
    bias: f32,
}

impl SampleBias {
    /// The list for one row: in order, one entry a token. Of several biases of a token the last one holds. Tokens beyond
    /// the vocabulary have no effect.
    pub fn list(biases: impl IntoIterator<Item = (u32, f32)>) -> Vec<SampleBias> {
        let by_token: std::collections::BTreeMap<u32, f32> = biases.into_iter().collect();
        by_token
            .into_iter()
            .map(|(token, bias)| SampleBias { token, bias })
            .collect()
    }

    /// A bias that bans its token.
    pub const BAN: f32 = f32::NEG_INFINITY;

    /// The token that it is of.
    pub fn token(&self) -> u32 {
        self.token
    }

    /// Whether it bans its token.
    pub fn is_ban(&self) -> bool {
        !self.bias.is_finite()
    }

    pub(crate) fn bias(&self) -> f32 {
        self.bias
    }
}

/// How often a token occurred, fading. A slot has `1 + vocab` of these: the first's `step` is how many tokens the slot was
/// given, its count is unused; then one for each token of the vocabulary. All zero is a sequence's beginning.
///
/// The count is as it was when it last changed; decay is applied as it is read, so that a token changes one entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SampleCount {
    /// How often the token had occurred, right after it last did.
    pub count: f32,
    /// How many tokens the slot had been given then.
    pub step: u32,
}

/// What came of a row.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SampleReport {
    status: u32,
    /// The chosen token, or the one that was not finite.
    token: u32,
    logprob: f32,
    top_count: u32,
    top: [SampleLogprob; MAX_TOP_LOGPROBS],
}

/// A token with its log-probability.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SampleLogprob {
    /// The token.
    pub token: u32,
    /// Its log-probability in nats.
    pub logprob: f32,
}

/// Why no token was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// A logit is infinite or not a number.
    #[error(
        "the logit of token {token} is not a finite number: the model's numbers ran away before the head; check its file"
    )]
    NotFinite {
        /// The lowest token whose logit is not.
        token: u32,
    },
    /// No token is left to choose from.
    #[error("every token of the vocabulary is banned; ban fewer")]
    NothingAllowed,
}

const CHOSEN: u32 = 0;
const NOT_FINITE: u32 = 1;
const NOTHING_ALLOWED: u32 = 2;

impl SampleReport {
    pub(crate) fn of_token(token: u32, logprob: f32, top: &[SampleLogprob]) -> SampleReport {
        let mut report = SampleReport {
            status: CHOSEN,
            token,
            logprob,
            top_count: top.len() as u32,
            ..SampleReport::zeroed()
        };
        report.top[..top.len()].copy_from_slice(top);
        report
    }

    pub(crate) fn of_failure(failure: NoToken) -> SampleReport {
        let (status, token) = match failure {
            NoToken::NotFinite { token } => (NOT_FINITE, token),
            NoToken::NothingAllowed => (NOTHING_ALLOWED, NO_TOKEN),
        };
        SampleReport {
            status,
            token,
            ..SampleReport::zeroed()
        }
    }

    /// The chosen token.
    ///
    /// # Errors
    /// [`NoToken`] if none was chosen; then nothing was counted.
    pub fn token(&self) -> Result<u32, NoToken> {
        match self.status {
            CHOSEN => Ok(self.token),
            NOT_FINITE => Err(NoToken::NotFinite { token: self.token }),
            _ => Err(NoToken::NothingAllowed),
        }
    }

    /// The chosen token's log-probability in nats; 0 if it was not asked for.
    pub fn logprob(&self) -> f32 {
        self.logprob
    }

    /// The most probable tokens that were asked for, the best first; fewer if fewer are allowed.
    pub fn top(&self) -> &[SampleLogprob] {
        &self.top[..MAX_TOP_LOGPROBS.min(self.top_count as usize)]
    }
}
