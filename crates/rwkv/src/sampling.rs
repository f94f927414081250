//! How a sequence's tokens are chosen, and choosing them on the host.

use thalweg_shaders::twins;
use thalweg_shaders::{NoToken, SampleBias, SampleCount, SampleLogprob, SampleReport, SampleRow};

use crate::{Error, Hyperparameters};

/// How a sequence's tokens are chosen.
///
/// ```
/// use thalweg_rwkv::{SampleBias, SampleRow, Sampling};
///
/// let row = SampleRow::drawn(0, 0.8, 42).with_top_p(0.9);
/// let without_seven = Sampling::new(row, [(7, SampleBias::BAN), (9, 1.5)]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    pub(crate) row: SampleRow,
    /// Biases and bans, ascending by token.
    pub(crate) biases: Vec<SampleBias>,
}

impl Sampling {
    /// The best token is always taken.
    pub fn greedy() -> Sampling {
        Sampling::new(SampleRow::greedy(0), [])
    }

    /// As `row` says, whatever slot it names, with these added to the logits of tokens; [`SampleBias::BAN`] bans one. Of
    /// several biases of a token the last one holds; tokens that the model does not have mean nothing.
    pub fn new(row: SampleRow, biases: impl IntoIterator<Item = (u32, f32)>) -> Sampling {
        let biases = SampleBias::list(biases);
        Sampling { row, biases }
    }

    /// Refuses to ban everything.
    pub(crate) fn check(&self, hp: &Hyperparameters) -> Result<(), Error> {
        let is_banned = |bias: &&SampleBias| bias.is_ban() && (bias.token() as usize) < hp.vocab;
        let banned = self.biases.iter().filter(is_banned).count();
        match banned < hp.vocab {
            true => Ok(()),
            false => Err(Error::Setting {
                name: "number of banned tokens",
                found: banned,
                expected: format!("fewer than the model's {}", hp.vocab),
            }),
        }
    }
}

/// A token that was chosen for a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The token.
    pub token: u32,
    /// Its log-probability in nats, with biases, bans and penalties, at temperature 1, before any filter; nothing if it was
    /// not asked for.
    pub logprob: Option<f32>,
    /// The most probable tokens that were asked for, the best first.
    pub top: Vec<SampleLogprob>,
}

impl Chosen {
    /// What came of a row that asks for log-probabilities or not.
    pub(crate) fn reported(report: &SampleReport, logprob: bool) -> Result<Chosen, NoToken> {
        Ok(Chosen {
            token: report.token()?,
            logprob: logprob.then_some(report.logprob()),
            top: report.top().to_vec(),
        })
    }
}

/// Chooses the tokens of one sequence on the host: the same tokens as a device, from the same logits.
///
/// ```
/// use thalweg_rwkv::{HostSampler, SampleRow, Sampling};
///
/// let penalty = SampleRow::greedy(0).with_penalties(1.0, 0.0, 1.0);
/// let mut sampler = HostSampler::new(Sampling::new(penalty, []));
/// let logits = [0.5, 0.0];
/// assert_eq!(sampler.choose(&logits)?.token, 0);
/// assert_eq!(sampler.choose(&logits)?.token, 1);
/// # Ok::<(), thalweg_rwkv::NoToken>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostSampler {
    sampling: Sampling,
    /// As many as there are logits, and one; none before the first.
    counts: Vec<SampleCount>,
}

impl HostSampler {
    /// At the start of a sequence.
    pub fn new(sampling: Sampling) -> HostSampler {
        let counts = Vec::new();
        HostSampler { sampling, counts }
    }

    /// Goes on in another way. What was counted stays, and so does the place in the random numbers.
    pub fn set_sampling(&mut self, sampling: Sampling) {
        self.sampling = sampling;
    }

    /// Chooses a token and counts it. All calls have equally many logits.
    ///
    /// # Errors
    /// [`NoToken`] if a logit is not finite or no token is left; then nothing is counted.
    pub fn choose(&mut self, logits: &[f32]) -> Result<Chosen, NoToken> {
        self.counts.resize(1 + logits.len(), SampleCount::default());
        let Sampling { row, biases } = &self.sampling;
        let row = row.with_biases(0, biases.len() as u32);
        let report = twins::sample(&row, logits, biases, &mut self.counts);
        Chosen::reported(&report, row.wants_logprob())
    }
}
