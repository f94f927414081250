//! Several sequences on the CPU.

use std::sync::Arc;

use super::CpuModel;
use crate::batch::{check_drafts, check_logits, check_parts, check_slot, runaway_or};
use crate::{
    Batch, Chosen, Draft, Error, HostSampler, Hyperparameters, Next, Part, Place, Sampling, State,
    Wanted,
};

/// The most tokens of a guess that are read together with the token before them. Rows of matrices are decoded once for all of
/// them: on the demo model, n tokens take as long as 0.7 + 0.28 n single ones. Much longer guesses gain little more.
const LONGEST_GUESS: usize = 15;

/// Several sequences on the CPU, one read after the other: no sequence changes a bit of another.
#[derive(Clone, Debug)]
pub struct CpuBatch {
    model: Arc<CpuModel>,
    slots: Vec<CpuSlot>,
}

/// A sequence on the CPU.
#[derive(Clone, Debug)]
struct CpuSlot {
    state: State,
    sampling: Sampling,
    sampler: HostSampler,
    /// From which a token was chosen in the last step; none if it was not.
    logits: Vec<f32>,
    /// Where its numbers ran away, if they did.
    lost: Option<Place>,
}

impl CpuSlot {
    fn continue_from(&mut self, state: State) {
        self.state = state;
        self.lost = None;
        self.sampler = HostSampler::new(self.sampling.clone());
    }
}

impl CpuBatch {
    /// The most tokens of a step: as many as bound the memory of intermediate results.
    pub const LARGEST_STEP: usize = 1024;

    /// So many slots, all at the start of a sequence.
    pub fn new(model: Arc<CpuModel>, slots: usize) -> CpuBatch {
        let slot = CpuSlot {
            state: State::zeros(model.hyperparameters()),
            sampling: Sampling::greedy(),
            sampler: HostSampler::new(Sampling::greedy()),
            logits: Vec::new(),
            lost: None,
        };
        let slots = vec![slot; slots];
        CpuBatch { model, slots }
    }

    /// The model that reads them.
    pub fn model(&self) -> &Arc<CpuModel> {
        &self.model
    }

    /// The logits of a part; nothing if its numbers run away, or have done so before.
    fn read(&mut self, part: &Part<'_>) -> Result<Option<Vec<f32>>, Error> {
        let CpuSlot { state, lost, .. } = &mut self.slots[part.slot];
        if lost.is_some() {
            return Ok(None);
        }
        match self.model.forward(part.tokens, state, part.wanted, None) {
            Ok(logits) => Ok(Some(logits)),
            Err(Error::NonFinite { place, .. }) => {
                *lost = Some(place);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Has the part's slot read its tokens, and chooses the next one.
    fn read_and_choose(&mut self, part: &Part<'_>) -> Result<Option<Chosen>, Error> {
        let found = self.read(part)?;
        let slot = &mut self.slots[part.slot];
        slot.logits = found.unwrap_or_default();
        Ok(match slot.logits.is_empty() {
            true => None,
            false => slot.sampler.choose(&slot.logits).ok(),
        })
    }

    /// Verifies a draft by steps of one token.
    fn one_by_one(&mut self, draft: &Draft<'_>) -> Result<Vec<Option<Chosen>>, Error> {
        draft.follow(|token| {
            let slot = draft.slot;
            self.read_and_choose(&Next { slot, token }.part())
        })
    }

    /// Verifies a draft, all of which is read before anything is chosen.
    fn at_once(&mut self, draft: &Draft<'_>) -> Result<Vec<Option<Chosen>>, Error> {
        let slot = &mut self.slots[draft.slot];
        let (logits, log) = match self.model.look_ahead(&draft.tokens(), &mut slot.state) {
            Ok(ahead) => ahead,
            // Perhaps after what is right: then nothing has happened.
            Err(Error::NonFinite { .. }) => return self.one_by_one(draft),
            Err(other) => return Err(other),
        };
        let hp = self.model.hyperparameters();
        let mut rows = logits.chunks_exact(hp.vocab);
        let mut last: &[f32] = &[];
        let chosen = draft.follow(|_| {
            last = rows.next().unwrap_or_default();
            Ok(slot.sampler.choose(last).ok())
        })?;
        slot.logits = last.to_vec();
        log.commit(hp, chosen.len(), &mut slot.state);
        Ok(chosen)
    }

    fn forget_logits(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.logits.clear());
    }
}

impl Batch for CpuBatch {
    fn hyperparameters(&self) -> &Hyperparameters {
        self.model.hyperparameters()
    }

    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn largest_step(&self) -> usize {
        CpuBatch::LARGEST_STEP
    }

    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        check_parts(self, parts)?;
        self.forget_logits();
        let vocab = self.hyperparameters().vocab;
        let (mut logits, mut lost) = (Vec::new(), Vec::new());
        for part in parts {
            match self.read(part)? {
                Some(found) => logits.extend(found),
                None => {
                    lost.push(part.slot);
                    let rows = part.wanted.count(part.tokens.len());
                    logits.resize(logits.len() + rows * vocab, f32::NAN);
                }
            }
        }
        runaway_or(logits, lost)
    }

    fn set_sampling(&mut self, slot: usize, sampling: Sampling) -> Result<(), Error> {
        check_slot(self, slot)?;
        sampling.check(self.hyperparameters())?;
        let slot = &mut self.slots[slot];
        slot.sampler = HostSampler::new(sampling.clone());
        slot.sampling = sampling;
        Ok(())
    }

    fn sample(&mut self, parts: &[Part<'_>]) -> Result<Vec<Option<Chosen>>, Error> {
        check_parts(self, parts)?;
        self.forget_logits();
        let mut chosen = Vec::new();
        for part in parts {
            let part = part.for_choice();
            match part.wanted {
                Wanted::Nothing => drop(self.read(&part)?),
                Wanted::Last | Wanted::All => chosen.push(self.read_and_choose(&part)?),
            }
        }
        Ok(chosen)
    }

    fn choose(&mut self, slot: usize, logits: &[f32]) -> Result<Option<Chosen>, Error> {
        check_slot(self, slot)?;
        check_logits(self, logits)?;
        let slot = &mut self.slots[slot];
        slot.logits = logits.to_vec();
        Ok(slot.sampler.choose(logits).ok())
    }

    fn logits(&mut self, slot: usize) -> Result<Vec<f32>, Error> {
        check_slot(self, slot)?;
        match self.slots[slot].logits.as_slice() {
            [] => Err(Error::NothingChosen { slot }),
            logits => Ok(logits.to_vec()),
        }
    }

    fn longest_guess(&self) -> usize {
        LONGEST_GUESS
    }

    fn verify(&mut self, drafts: &[Draft<'_>]) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        check_drafts(self, drafts)?;
        self.forget_logits();
        let mut verify = |draft: &Draft<'_>| {
            let (mut all, mut left) = (Vec::new(), Some(*draft));
            while let Some(draft) = left {
                let chosen = match draft.guess {
                    [] => self.one_by_one(&draft)?,
                    _ => self.at_once(&draft.within(LONGEST_GUESS))?,
                };
                left = draft.behind(&chosen);
                all.extend(chosen);
            }
            Ok(all)
        };
        drafts.iter().map(&mut verify).collect()
    }

    fn runaway_place(&mut self, slot: usize) -> Result<Place, Error> {
        check_slot(self, slot)?;
        Ok(self.slots[slot].lost.unwrap_or(Place::Output))
    }

    fn state(&mut self, slot: usize) -> Result<State, Error> {
        check_slot(self, slot)?;
        Ok(self.slots[slot].state.clone())
    }

    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error> {
        check_slot(self, slot)?;
        state.check(self.hyperparameters())?;
        self.slots[slot].continue_from(state.clone());
        Ok(())
    }

    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error> {
        check_slot(self, from)?;
        check_slot(self, to)?;
        let CpuSlot {
            state,
            sampler,
            lost,
            ..
        } = self.slots[from].clone();
        let to = &mut self.slots[to];
        (to.state, to.sampler, to.lost) = (state, sampler, lost);
        to.sampler.set_sampling(to.sampling.clone());
        Ok(())
    }

    fn reset(&mut self, slot: usize) -> Result<(), Error> {
        check_slot(self, slot)?;
        let state = State::zeros(self.hyperparameters());
        self.slots[slot].continue_from(state);
        Ok(())
    }
}
