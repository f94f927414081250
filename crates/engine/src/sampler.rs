//! Choosing the next token on the host.

use thalweg_rwkv::{HostSampler, NoToken};

use crate::{Error, SamplerSettings};

/// Chooses tokens from logits, on the host: the same tokens as an engine on a device, from the same logits.
///
/// The settings act in the order known from llama.cpp:
///
/// 1. biases and bans, then presence and frequency penalties change the logits;
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
    chooser: HostSampler,
}

impl Sampler {
    /// A sampler at the start of its random numbers, with no token counted.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if a setting is out of range.
    pub fn new(settings: SamplerSettings) -> Result<Self, Error> {
        settings.validate()?;
        let chooser = HostSampler::new(settings.sampling(None));
        Ok(Self { settings, chooser })
    }

    /// The settings in force.
    pub fn settings(&self) -> &SamplerSettings {
        &self.settings
    }

    /// Goes on with other settings. Counted tokens stay, and so does the place in the random numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if a setting is out of range; then nothing changes.
    pub fn set_settings(&mut self, settings: SamplerSettings) -> Result<(), Error> {
        settings.validate()?;
        self.chooser.set_sampling(settings.sampling(None));
        self.settings = settings;
        Ok(())
    }

    /// Chooses a token, and counts it for the penalties; `logits` holds one finite number for each token of the vocabulary,
    /// which is as long every time.
    ///
    /// # Errors
    ///
    /// [`Error::NoLogits`], [`Error::NonFiniteLogit`] or [`Error::NothingAllowed`].
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, Error> {
        if logits.is_empty() {
            return Err(Error::NoLogits);
        }
        match self.chooser.choose(logits) {
            Ok(chosen) => Ok(chosen.token),
            Err(NoToken::NotFinite { token }) => Err(Error::NonFiniteLogit {
                token: token as usize,
                value: logits[token as usize],
            }),
            Err(NoToken::NothingAllowed) => Err(Error::NothingAllowed),
        }
    }

    /// Forgets the counted tokens. The random numbers go on from where they are.
    pub fn forget(&mut self) {
        self.chooser.forget();
    }
}
