//! Choosing the next token.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::filter::{self, Candidate};
use crate::penalties::Penalties;
use crate::{Error, SamplerSettings};

/// Chooses tokens from logits.
///
/// The settings act in the order known from llama.cpp:
///
/// 1. presence and frequency penalties are taken off the logits;
/// 2. top-k keeps the best tokens by number;
/// 3. top-p keeps, of these, the fewest best ones that hold the wanted share of their probability;
/// 4. min-p drops those too improbable beside the best;
/// 5. temperature shapes the distribution from which one of the rest is drawn.
///
/// So the filters see probabilities at temperature 1, and a higher temperature mixes the kept tokens more evenly
/// without letting others in. At temperature 0 the best token after the penalties is taken; of equals, the lowest id.
#[derive(Debug, Clone)]
pub struct Sampler {
    settings: SamplerSettings,
    penalties: Penalties,
    random: ChaCha8Rng,
    /// Kept between calls to save an allocation of the vocabulary's size for each token.
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler at the start of its random numbers, with no token counted.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if a setting is out of range.
    pub fn new(settings: SamplerSettings) -> Result<Self, Error> {
        settings.validate()?;
        let random = ChaCha8Rng::seed_from_u64(settings.seed);
        Ok(Self {
            settings,
            penalties: Penalties::default(),
            random,
            candidates: Vec::new(),
        })
    }

    /// The settings in force.
    pub fn settings(&self) -> &SamplerSettings {
        &self.settings
    }

    /// Goes on with other settings. Counted tokens stay, and so does the place in the random numbers: a new seed
    /// takes effect in a new sampler.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if a setting is out of range; then nothing changes.
    pub fn set_settings(&mut self, settings: SamplerSettings) -> Result<(), Error> {
        settings.validate()?;
        self.settings = settings;
        Ok(())
    }

    /// Chooses a token; `logits` holds one finite number for each token of the vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::NoLogits`] or [`Error::NonFiniteLogit`].
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, Error> {
        self.gather(logits)?;
        let best = filter::best(&self.candidates).ok_or(Error::NoLogits)?;
        if self.settings.temperature == 0.0 {
            return Ok(best.token);
        }
        filter::keep(&mut self.candidates, &self.settings);
        Ok(self.draw(best))
    }

    /// Counts a chosen token for the penalties. Tokens of the prompt are not counted unless they are passed here too.
    pub fn accept(&mut self, token: u32) {
        self.penalties.accept(token, self.settings.penalty_decay);
    }

    /// Forgets the counted tokens. The random numbers go on from where they are.
    pub fn forget(&mut self) {
        self.penalties = Penalties::default();
    }

    /// Fills the candidates: every token, its logit less its penalty.
    fn gather(&mut self, logits: &[f32]) -> Result<(), Error> {
        if let Some(token) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(Error::NonFiniteLogit {
                token,
                value: logits[token],
            });
        }
        self.candidates.clear();
        self.candidates.extend(
            (0..)
                .zip(logits)
                .map(|(token, &score)| Candidate { token, score }),
        );
        for (token, penalty) in self.penalties.of(&self.settings) {
            if let Some(candidate) = self.candidates.get_mut(token as usize) {
                candidate.score -= penalty;
            }
        }
        Ok(())
    }

    /// Draws one of the kept candidates by its probability at the set temperature.
    fn draw(&mut self, best: Candidate) -> u32 {
        let temperature = f64::from(self.settings.temperature);
        let weight = |candidate: &Candidate| filter::weight(*candidate, best, temperature);
        let mut left = uniform(&mut self.random) * self.candidates.iter().map(weight).sum::<f64>();
        for candidate in &self.candidates {
            left -= weight(candidate);
            if left < 0.0 {
                return candidate.token;
            }
        }
        best.token // rounding used up the sum before the last candidate was passed
    }
}

/// A number from 0 to below 1, from the 53 bits that an f64 holds.
fn uniform(random: &mut impl Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
