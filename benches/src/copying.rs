//! A model that copies, made of one that does not.
//!
//! No model at hand repeats a text with edits. So a batch is made to: whatever its model would choose, the token that it says is
//! the next of a given text. All else is real and takes what it takes: looking guesses up, deciding on them, reading them,
//! replaying what was right into the states. **How many guesses are right is so by construction; what is measured is cost
//! alone.**

use thalweg_rwkv::{
    Batch, Chosen, CpuBatch, Draft, Error, GpuBatch, Hyperparameters, Next, Part, Sampling, State,
    Wanted,
};

/// A batch that can take guesses for right.
pub trait Verifying: Batch {
    /// Verifies guesses, of each of which so many tokens are right. What is chosen does not count.
    ///
    /// # Errors
    /// Those of [`verify`](Batch::verify).
    fn verify_right(&mut self, drafts: &[Draft<'_>], right: &[usize]) -> Result<(), Error>;
}

impl Verifying for GpuBatch {
    fn verify_right(&mut self, drafts: &[Draft<'_>], right: &[usize]) -> Result<(), Error> {
        self.verify_as_if(drafts, right).map(drop)
    }
}

/// On the CPU what is right hardly matters to the cost: all is read anyway, and replaying it is no work to speak of.
impl Verifying for CpuBatch {
    fn verify_right(&mut self, drafts: &[Draft<'_>], _right: &[usize]) -> Result<(), Error> {
        self.verify(drafts).map(drop)
    }
}

/// A batch whose sequences all say the same text after the same prompt.
#[derive(Debug)]
pub struct Copying<B> {
    inner: B,
    /// The prompt, then what is said after it.
    text: Vec<u32>,
    /// Tokens that each slot has read.
    read: Vec<usize>,
}

impl<B: Verifying> Copying<B> {
    /// Has the batch, whose slots are all at the start of a sequence, say `reply` after `prompt`.
    pub fn new(inner: B, prompt: &[u32], reply: &[u32]) -> Self {
        Self {
            read: vec![0; inner.slots()],
            text: [prompt, reply].concat(),
            inner,
        }
    }

    /// Has the sequences from now on say another reply after another prompt.
    pub fn say(&mut self, prompt: &[u32], reply: &[u32]) {
        self.text = [prompt, reply].concat();
    }

    /// What follows where the slot stands.
    fn next(&self, slot: usize) -> u32 {
        self.text.get(self.read[slot]).copied().unwrap_or(0)
    }

    /// The token after which the slot's sequence goes on, once it has read so many more.
    fn advance(&mut self, slot: usize, tokens: usize) -> Option<Chosen> {
        self.read[slot] += tokens;
        Some(Chosen {
            token: self.next(slot),
            logprob: None,
            top: Vec::new(),
        })
    }
}

impl<B: Verifying> Batch for Copying<B> {
    fn hyperparameters(&self) -> &Hyperparameters {
        self.inner.hyperparameters()
    }

    fn slots(&self) -> usize {
        self.inner.slots()
    }

    fn largest_step(&self) -> usize {
        self.inner.largest_step()
    }

    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        for part in parts {
            self.read[part.slot] += part.tokens.len();
        }
        self.inner.forward(parts)
    }

    fn set_sampling(&mut self, slot: usize, sampling: Sampling) -> Result<(), Error> {
        self.inner.set_sampling(slot, sampling)
    }

    fn sample(&mut self, parts: &[Part<'_>]) -> Result<Vec<Option<Chosen>>, Error> {
        self.inner.sample(parts)?;
        let mut chosen = Vec::with_capacity(parts.len());
        for part in parts {
            let next = self.advance(part.slot, part.tokens.len());
            if part.wanted != Wanted::Nothing {
                chosen.push(next);
            }
        }
        Ok(chosen)
    }

    fn choose(&mut self, slot: usize, logits: &[f32]) -> Result<Option<Chosen>, Error> {
        self.inner.choose(slot, logits)?;
        Ok(self.advance(slot, 0))
    }

    fn logits(&mut self, slot: usize) -> Result<Vec<f32>, Error> {
        self.inner.logits(slot)
    }

    fn longest_loop(&self) -> usize {
        self.inner.longest_loop()
    }

    fn decode(&mut self, next: &[Next], steps: usize) -> Result<Vec<Option<Chosen>>, Error> {
        let chosen = self.inner.decode(next, steps)?;
        let slots = next.iter().map(|next| next.slot).cycle();
        let slots = slots.take(chosen.len());
        Ok(slots.map(|slot| self.advance(slot, 1)).collect())
    }

    fn longest_guess(&self) -> usize {
        self.inner.longest_guess()
    }

    fn verify(&mut self, drafts: &[Draft<'_>]) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        let right = drafts.iter().map(|draft| {
            let after = self.text.get(self.read[draft.slot] + 1..);
            let pairs = draft.guess.iter().zip(after.unwrap_or_default());
            pairs.take_while(|(guessed, said)| guessed == said).count()
        });
        let right: Vec<usize> = right.collect();
        self.inner.verify_right(drafts, &right)?;
        let rows = drafts.iter().zip(right);
        let row = |(draft, right): (&Draft<'_>, usize)| {
            let tokens = 0..=right;
            tokens.map(|_| self.advance(draft.slot, 1)).collect()
        };
        Ok(rows.map(row).collect())
    }

    fn state(&mut self, slot: usize) -> Result<State, Error> {
        self.inner.state(slot)
    }

    /// Puts the slot at the start of the text, whatever the state is of.
    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error> {
        self.read[slot] = 0;
        self.inner.set_state(slot, state)
    }

    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error> {
        self.read[to] = self.read[from];
        self.inner.copy_state(from, to)
    }

    fn reset(&mut self, slot: usize) -> Result<(), Error> {
        self.read[slot] = 0;
        self.inner.reset(slot)
    }
}

/// A text of so many words with every so-manieth of them another word of the text, taken from further on.
pub fn edited(words: &[&str], every: Option<usize>) -> String {
    let count = words.len();
    let word = |(at, word): (usize, &&str)| match every {
        Some(every) if at % every == every / 2 => words[(at * 7 + count / 2) % count].to_owned(),
        _ => (*word).to_owned(),
    };
    let edited: Vec<String> = words.iter().enumerate().map(word).collect();
    edited.join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use thalweg_engine::{Engine, EngineOptions, Request, SamplerSettings, Speculation};
    use thalweg_gguf::GgufFile;
    use thalweg_rwkv::CpuModel;
    use thalweg_tokenizer::Tokenizer;

    use super::*;

    /// With guesses and without, what is said is the text.
    #[test]
    fn it_copies() -> Result<(), Box<dyn std::error::Error>> {
        let file = GgufFile::open(&crate::demo_model())?;
        let tokenizer = Arc::new(Tokenizer::from_gguf(file.metadata())?);
        let model = Arc::new(CpuModel::load(file)?);
        let prompt: Vec<u32> = (100..140).collect();
        let mut reply = prompt.clone();
        reply[20] = 7;
        let batch = Copying::new(CpuBatch::new(model, 2), &prompt, &reply);
        let mut engine = Engine::new(batch, tokenizer, EngineOptions::default())?;
        for speculation in [Speculation::Off, Speculation::Ngram] {
            let mut request = Request::new(prompt.clone());
            request.until.tokens = reply.len();
            (request.sampler, request.speculation) = (SamplerSettings::greedy(), speculation);
            let handle = engine.submit(request)?;
            while engine.step() {}
            let ending = handle.collect_text()?.1;
            assert_eq!(ending.tokens, reply);
            let is_guessed = ending.timings.guesses.accepted > 0;
            assert_eq!(is_guessed, speculation == Speculation::Ngram);
        }
        Ok(())
    }

    #[test]
    fn edits_are_words_for_words() {
        let words: Vec<String> = (0..90).map(|word| format!("w{word}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(edited(&words, None), words.join(" "));
        let text = edited(&words, Some(30));
        let differing = text.split(' ').zip(&words).filter(|(a, b)| a != *b);
        assert_eq!(differing.count(), 3);
    }
}
