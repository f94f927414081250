//! Several sequences, each in a slot of its own, read in common steps.

use crate::{Chosen, Error, Hyperparameters, Logits, Place, Sampling, State, Wanted};

/// A part of a step: tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The slot that has the sequence's state.
    pub slot: usize,
    /// What the sequence reads next; not empty.
    pub tokens: &'a [u32],
    /// Whose logits the step returns.
    pub wanted: Wanted,
}

/// A sequence that goes on with one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// The slot that has the sequence's state.
    pub slot: usize,
    /// What it reads next.
    pub token: u32,
}

/// A sequence that goes on with one token, and a guess at those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// The slot that has the sequence's state.
    pub slot: usize,
    /// What it reads next.
    pub token: u32,
    /// What may be chosen after that, token by token; may be empty.
    pub guess: &'a [u32],
}

/// Several sequences read by one model, each in a slot of its own. What a sequence computes depends neither on its slot nor
/// on the others in the step, but for rounding where a backend says so.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/synth-tiny-q4_k_m.gguf");
/// use std::sync::Arc;
/// use thalweg_gguf::GgufFile;
/// use thalweg_rwkv::{Batch, CpuBatch, CpuModel, Part, Wanted};
///
/// let model = Arc::new(CpuModel::load(GgufFile::open(path.as_ref())?)?);
/// let mut batch = CpuBatch::new(model, 4);
/// // A prompt and a single token, in one step.
/// let prompt = Part { slot: 2, tokens: &[5, 8, 13], wanted: Wanted::Last };
/// let token = Part { slot: 0, tokens: &[7], wanted: Wanted::Last };
/// let logits = batch.forward(&[prompt, token])?;
/// assert_eq!(logits.len(), 2 * batch.hyperparameters().vocab);
/// // Another sequence goes on from where the first one is.
/// batch.copy_state(2, 3)?;
/// # Ok(())
/// # }
/// ```
pub trait Batch {
    /// Sizes of the model behind.
    fn hyperparameters(&self) -> &Hyperparameters;

    /// Slots, numbered from 0.
    fn slots(&self) -> usize;

    /// The most tokens, of all parts together, that a step takes.
    fn largest_step(&self) -> usize;

    /// Reads each part's tokens into its slot. Returns the wanted logits in the order of the parts, `[rows, vocab]`.
    ///
    /// # Errors
    /// Before anything is computed: [`Error::Slot`], [`Error::SlotTwice`], [`Error::EmptyPart`], [`Error::StepTooLarge`],
    /// [`Error::Token`]. [`Error::Runaway`] when the numbers of some sequences run away: the states of their slots are of no
    /// use until [`reset`](Batch::reset), the others have read their tokens, and the error holds their logits. Errors of the
    /// backend, after which no slot is of use.
    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error>;

    /// Has the slot's tokens be chosen in this way from now on, with none counted before. At first slots are greedy.
    ///
    /// # Errors
    /// [`Error::Slot`]; [`Error::Setting`] if every token is banned; errors of the backend.
    fn set_sampling(&mut self, slot: usize, sampling: Sampling) -> Result<(), Error>;

    /// Reads each part's tokens into its slot, and chooses a token after each part that wants any logits, in the order of
    /// the parts. Only what was chosen comes back from a device.
    ///
    /// There is nothing for a sequence whose numbers ran away. The state of its slot is of no use until
    /// [`reset`](Batch::reset), the others are as if it had not been there.
    ///
    /// What is drawn depends on the sequence's logits, its [`Sampling`], and how many tokens were chosen for it since that was
    /// set: the same seed gives the same tokens wherever the logits are the same.
    ///
    /// # Errors
    /// Those of [`forward`](Batch::forward), but for [`Error::Runaway`].
    fn sample(&mut self, parts: &[Part<'_>]) -> Result<Vec<Option<Chosen>>, Error>;

    /// Chooses a token after a slot's sequence from logits that are known already, as [`sample`](Batch::sample) does.
    ///
    /// # Errors
    /// [`Error::Slot`]; [`Error::StateShape`] if these are not the logits of a token; errors of the backend.
    fn choose(&mut self, slot: usize, logits: &[f32]) -> Result<Option<Chosen>, Error>;

    /// The logits, `[vocab]`, from which the slot's token was chosen just now: nothing but choices lies between.
    ///
    /// # Errors
    /// [`Error::NothingChosen`] if no token was chosen for the slot in the last call that reads or chooses; errors of the
    /// backend.
    fn logits(&mut self, slot: usize) -> Result<Vec<f32>, Error>;

    /// The most steps of a [`decode`](Batch::decode) that gain anything by being together.
    fn longest_loop(&self) -> usize {
        1
    }

    /// So many steps of [`sample`](Batch::sample) in which every sequence reads a token and goes on with the one chosen.
    /// Returns what was chosen, `[steps, sequences]`; nothing from the step on in which a sequence's numbers ran away. A
    /// device does all steps without waiting for the host.
    ///
    /// # Errors
    /// Those of [`sample`](Batch::sample); [`Error::Setting`] if there are more steps than a device has room for.
    fn decode(&mut self, next: &[Next], steps: usize) -> Result<Vec<Option<Chosen>>, Error> {
        let mut rows = Vec::with_capacity(steps);
        let mut next: Vec<Option<Next>> = next.iter().copied().map(Some).collect();
        for _ in 0..steps {
            let reading = next.iter().flatten().map(Next::part);
            let mut chosen = self.sample(&reading.collect::<Vec<_>>())?.into_iter();
            for next in &mut next {
                let chosen = next.and_then(|_| chosen.next().flatten());
                *next = next.zip(chosen.as_ref()).map(|(next, chosen)| Next {
                    token: chosen.token,
                    ..next
                });
                rows.push(chosen);
            }
        }
        Ok(rows)
    }

    /// The most guessed tokens of a sequence from which a [`verify`](Batch::verify) gains anything; none where it reads
    /// them one by one.
    fn longest_guess(&self) -> usize {
        0
    }

    /// Goes on with each sequence as [`sample`](Batch::sample) does, token by token, for as long as the tokens chosen are the
    /// guessed ones. Returns what was chosen for each sequence: the guess as far as it was right, and one token more; nothing
    /// in the place of the token at which its numbers ran away. The slot has read all of them but the last.
    ///
    /// A guess changes nothing but the time: whatever it is, the tokens are those that single steps would choose, drawn with
    /// the same random numbers. So a wrong guess cannot change what the text is like.
    ///
    /// # Errors
    /// Those of [`sample`](Batch::sample), a sequence's tokens being one and its guess.
    fn verify(&mut self, drafts: &[Draft<'_>]) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        drafts.iter().map(|draft| one_by_one(self, draft)).collect()
    }

    /// Where the numbers of a slot's sequence ran away, to be asked before anything else happens to the slot. A device is
    /// asked for the state, in which not everything shows; see [`State::first_not_finite`].
    ///
    /// # Errors
    /// [`Error::Slot`]; errors of the backend.
    fn runaway_place(&mut self, slot: usize) -> Result<Place, Error> {
        let state = self.state(slot)?;
        let place = state.first_not_finite(self.hyperparameters());
        Ok(place.unwrap_or(Place::End))
    }

    /// A copy of a slot's state.
    ///
    /// # Errors
    /// [`Error::Slot`]; errors of the backend.
    fn state(&mut self, slot: usize) -> Result<State, Error>;

    /// Has a slot continue from `state` instead, with no token counted.
    ///
    /// # Errors
    /// [`Error::Slot`]; [`Error::StateShape`] if the state belongs to another model; errors of the backend.
    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error>;

    /// Makes the state of `to` a copy of that of `from`, counted tokens included, without a way through the host where the
    /// backend can.
    ///
    /// # Errors
    /// [`Error::Slot`]; errors of the backend.
    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error>;

    /// Back to the start of a sequence, with no token counted.
    ///
    /// # Errors
    /// [`Error::Slot`]; errors of the backend.
    fn reset(&mut self, slot: usize) -> Result<(), Error>;
}

/// Verifies a draft by steps of one token.
fn one_by_one<B: Batch + ?Sized>(
    batch: &mut B,
    draft: &Draft<'_>,
) -> Result<Vec<Option<Chosen>>, Error> {
    draft.follow(|token| {
        let slot = draft.slot;
        let chosen = batch.sample(&[Next { slot, token }.part()])?;
        Ok(chosen.into_iter().next().flatten())
    })
}

impl<'a> Draft<'a> {
    /// All that the sequence reads if the guess is right.
    pub(crate) fn tokens(&self) -> Vec<u32> {
        [&[self.token], self.guess].concat()
    }

    /// Goes on until a token is not the guessed one, or the guess ends. `choose` reads a token and chooses the next.
    pub(crate) fn follow(
        &self,
        mut choose: impl FnMut(u32) -> Result<Option<Chosen>, Error>,
    ) -> Result<Vec<Option<Chosen>>, Error> {
        let mut row = Vec::new();
        let mut token = self.token;
        for guessed in self.guess.iter().copied().map(Some).chain([None]) {
            let chosen = choose(token)?;
            let found = chosen.as_ref().map(|chosen| chosen.token);
            row.push(chosen);
            match found {
                Some(found) if Some(found) == guessed => token = found,
                _ => break,
            }
        }
        Ok(row)
    }

    /// The same with a guess of so many tokens at most.
    pub(crate) fn within(&self, most: usize) -> Draft<'a> {
        let guess = &self.guess[..most.min(self.guess.len())];
        Draft { guess, ..*self }
    }

    /// What is left to be verified if this was chosen for the beginning of the draft; none if it is not right to the end.
    pub(crate) fn behind(&self, chosen: &[Option<Chosen>]) -> Option<Draft<'a>> {
        let token = chosen.last()?.as_ref()?.token;
        let is_right = self.guess.get(chosen.len() - 1) == Some(&token);
        is_right.then(|| Draft {
            token,
            guess: &self.guess[chosen.len()..],
            ..*self
        })
    }
}

impl Next {
    /// What it is to read, and that a token is to be chosen after it.
    pub(crate) fn part(&self) -> Part<'_> {
        Part {
            slot: self.slot,
            tokens: std::slice::from_ref(&self.token),
            wanted: Wanted::Last,
        }
    }
}

impl<'a> Part<'a> {
    /// The same with the logits that a choice needs, if it wants any.
    pub(crate) fn for_choice(&self) -> Part<'a> {
        let wanted = match self.wanted {
            Wanted::Nothing => Wanted::Nothing,
            Wanted::Last | Wanted::All => Wanted::Last,
        };
        Part { wanted, ..*self }
    }
}

/// Refuses logits that are not those of one token.
pub(crate) fn check_logits(batch: &dyn Batch, logits: &[f32]) -> Result<(), Error> {
    let (found, expected) = (logits.len(), batch.hyperparameters().vocab);
    match found == expected {
        true => Ok(()),
        false => Err(Error::StateShape {
            part: "logits",
            found,
            expected,
        }),
    }
}

/// Refuses a slot that there is not.
pub(crate) fn check_slot(batch: &dyn Batch, slot: usize) -> Result<(), Error> {
    let slots = batch.slots();
    match slot < slots {
        true => Ok(()),
        false => Err(Error::Slot { slot, slots }),
    }
}

/// Refuses drafts that cannot be read in a step.
pub(crate) fn check_drafts(batch: &dyn Batch, drafts: &[Draft<'_>]) -> Result<(), Error> {
    let tokens: Vec<Vec<u32>> = drafts.iter().map(Draft::tokens).collect();
    let parts = drafts.iter().zip(&tokens).map(|(draft, tokens)| Part {
        slot: draft.slot,
        tokens,
        wanted: Wanted::All,
    });
    check_parts(batch, &parts.collect::<Vec<_>>())
}

/// Refuses a step that cannot be made.
pub(crate) fn check_parts(batch: &dyn Batch, parts: &[Part<'_>]) -> Result<(), Error> {
    let mut is_taken = vec![false; batch.slots()];
    let mut tokens = 0usize;
    for part in parts {
        check_slot(batch, part.slot)?;
        if std::mem::replace(&mut is_taken[part.slot], true) {
            return Err(Error::SlotTwice { slot: part.slot });
        }
        if part.tokens.is_empty() {
            return Err(Error::EmptyPart { slot: part.slot });
        }
        tokens = tokens.saturating_add(part.tokens.len());
    }
    let largest = batch.largest_step();
    if tokens > largest {
        return Err(Error::StepTooLarge { tokens, largest });
    }
    let hp = batch.hyperparameters();
    parts
        .iter()
        .try_for_each(|part| hp.check_tokens(part.tokens))
}

/// The logits of a step in which the sequences of the slots `lost` ran away, if any did.
pub(crate) fn runaway_or(logits: Vec<f32>, lost: Vec<usize>) -> Result<Vec<f32>, Error> {
    match lost.is_empty() {
        true => Ok(logits),
        false => Err(Error::Runaway {
            slots: lost,
            logits: Logits(logits),
        }),
    }
}
