//! How well a model predicts a text.

use std::ops::Range;

use thalweg_rwkv::{Session, Wanted};

use crate::{ChunkSize, Error};

/// Tokens of a window as others measure it, llama.cpp's `-c 512`, so that figures can be compared.
pub const WINDOW: usize = 512;

/// The perplexity of a text and how it came about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// e to the mean negative log likelihood.
    pub perplexity: f64,
    /// Standard error of the perplexity, from the spread of the single tokens.
    pub standard_error: f64,
    /// Mean negative log likelihood, in nats a token.
    pub nats_per_token: f64,
    /// Windows measured.
    pub windows: usize,
    /// Tokens whose probability was scored.
    pub scored: usize,
}

/// Measures the perplexity of `tokens` in windows of [`WINDOW`] tokens.
///
/// Each window starts from a fresh state, with `begin_of_text` (if any) written over its first token. The first half
/// only warms the state up: the tokens at places 257 to 511 are scored. A tail that does not fill a window is dropped.
/// `on_progress` is told the figures so far after each window.
///
/// # Errors
///
/// [`Error::TextTooShort`] if not even one window is filled, or what the session reports.
pub fn perplexity(
    session: &mut dyn Session,
    tokens: &[u32],
    begin_of_text: Option<u32>,
    chunk_size: ChunkSize,
    on_progress: &mut dyn FnMut(&Perplexity),
) -> Result<Perplexity, Error> {
    let mut sum = Sum::default();
    let mut result = None;
    for text in tokens.chunks_exact(WINDOW) {
        let mut text = text.to_vec();
        if let (Some(first), Some(begin)) = (text.first_mut(), begin_of_text) {
            *first = begin;
        }
        score_window(session, &text, chunk_size, &mut sum)?;
        let figures = sum.figures();
        on_progress(&figures);
        result = Some(figures);
    }
    result.ok_or(Error::TextTooShort {
        tokens: tokens.len(),
        window: WINDOW,
    })
}

/// Reads one window in chunks and scores the targets of its second half.
fn score_window(
    session: &mut dyn Session,
    window: &[u32],
    chunk_size: ChunkSize,
    sum: &mut Sum,
) -> Result<(), Error> {
    const SCORED_FROM: usize = WINDOW / 2;
    let vocab = session.hyperparameters().vocab;
    session.reset();
    for chunk in chunks(window.len() - 1, chunk_size) {
        let wanted = if chunk.end <= SCORED_FROM {
            Wanted::Nothing
        } else {
            Wanted::All
        };
        let logits = session.forward(&window[chunk.clone()], wanted)?;
        let scored = logits
            .chunks_exact(vocab)
            .zip(chunk)
            .skip_while(|(_, place)| *place < SCORED_FROM);
        for (logits, place) in scored {
            sum.add(surprise(logits, window[place + 1])?);
        }
    }
    sum.windows += 1;
    Ok(())
}

fn chunks(tokens: usize, chunk_size: ChunkSize) -> impl Iterator<Item = Range<usize>> {
    (0..tokens)
        .step_by(chunk_size.tokens())
        .map(move |start| start..tokens.min(start + chunk_size.tokens()))
}

/// Negative log likelihood of `target` in nats: logsumexp(logits) - logits[target], in f64.
fn surprise(logits: &[f32], target: u32) -> Result<f64, Error> {
    let target_logit = logits.get(target as usize).ok_or(Error::UnknownToken {
        token: target,
        vocab: logits.len(),
    })?;
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - highest).exp())
        .sum();
    Ok(f64::from(highest) + sum.ln() - f64::from(*target_logit))
}

/// Sums over the scored tokens.
#[derive(Default)]
struct Sum {
    windows: usize,
    scored: usize,
    nats: f64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, nats: f64) {
        self.scored += 1;
        self.nats += nats;
        self.squares += nats * nats;
    }

    fn figures(&self) -> Perplexity {
        let scored = self.scored as f64;
        let mean = self.nats / scored;
        let variance = (self.squares / scored - mean * mean).max(0.0);
        let perplexity = mean.exp();
        Perplexity {
            perplexity,
            standard_error: perplexity * (variance / (scored - 1.0).max(1.0)).sqrt(),
            nats_per_token: mean,
            windows: self.windows,
            scored: self.scored,
        }
    }
}
