//! A session against a golden: logits, loss, state, greedy continuation.

use crate::difference::{all_within, within};
use crate::golden::{Golden, Prompt, StateNorms};
use crate::{Outcome, message};
use thalweg_rwkv::{Session, State, Wanted};

/// Logits may be this far from the reference.
pub(crate) const LOGITS_LIMIT: f64 = 5e-5;
/// And so may the mean loss, which is a difference of logits.
const LOSS_LIMIT: f64 = 5e-5;
/// State norms, relative to themselves.
const NORM_LIMIT: f64 = 1e-5;
/// Where the best two logits are closer than this, another token proves nothing.
const DECISIVE_MARGIN: f64 = 1e-3;

/// Puts a session through every prompt of a golden, one outcome each. `subject` names the session in the outcomes.
pub fn check_session(subject: &str, golden: &Golden, session: &mut dyn Session) -> Vec<Outcome> {
    let outcome = |(name, prompt): (&String, &Prompt)| {
        Outcome::new(
            format!("{subject}, prompt '{name}'"),
            check_prompt(prompt, session),
        )
    };
    golden.prompts.iter().map(outcome).collect()
}

fn check_prompt(prompt: &Prompt, session: &mut dyn Session) -> Result<String, String> {
    session.reset();
    let logits = session
        .forward(&prompt.tokens, Wanted::All)
        .map_err(message)?;
    let vocab = session.hyperparameters().vocab;
    let last = &logits[logits.len() - vocab..];
    let measured = [
        all_within("logits", last, &prompt.logits, LOGITS_LIMIT)?,
        within(
            "loss",
            (mean_loss(&logits, vocab, &prompt.tokens) - prompt.mean_nll).abs(),
            LOSS_LIMIT,
        )?,
        check_norms(&session.state().map_err(message)?, &prompt.state_norms)?,
        check_greedy(prompt, last, session)?,
    ];
    Ok(measured.join(", "))
}

/// Mean of -ln p(token t | tokens before t) over t from 1 on. Shape of the logits: `[tokens, vocab]`.
fn mean_loss(logits: &[f32], vocab: usize, tokens: &[u32]) -> f64 {
    let loss = |(logits, &next): (&[f32], &u32)| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits
            .iter()
            .map(|&logit| f64::from(logit - largest).exp())
            .sum();
        sum.ln() - f64::from(logits[next as usize] - largest)
    };
    let losses = logits.chunks_exact(vocab).zip(&tokens[1..]).map(loss);
    losses.sum::<f64>() / (tokens.len() - 1) as f64
}

fn check_norms(state: &State, expected: &StateNorms) -> Result<String, String> {
    let parts = [
        (&state.att_shift, &expected.att_shift),
        (&state.ffn_shift, &expected.ffn_shift),
        (&state.wkv, &expected.wkv),
    ];
    let mut furthest = 0.0f64;
    for (part, norms) in parts {
        for (layer, &expected) in part.chunks_exact(part.len() / norms.len()).zip(norms) {
            let norm = layer
                .iter()
                .map(|&v| f64::from(v) * f64::from(v))
                .sum::<f64>()
                .sqrt();
            furthest = furthest.max((norm - expected).abs() / expected);
        }
    }
    within("state norms (relative)", furthest, NORM_LIMIT)
}

/// Continues after the prompt, whose last logits are given, taking the best token each time.
fn check_greedy(
    prompt: &Prompt,
    last: &[f32],
    session: &mut dyn Session,
) -> Result<String, String> {
    let mut logits = last.to_vec();
    for (index, &expected) in prompt.greedy.iter().enumerate() {
        let (token, margin) = best(&logits);
        if token != expected && margin.min(prompt.greedy_min_margin) < DECISIVE_MARGIN {
            return Ok(format!(
                "greedy {index} of {} (then too close to call)",
                prompt.greedy.len()
            ));
        }
        if token != expected {
            return Err(format!(
                "greedy token {index} is {token}, expected {expected} (margin {margin:.1e})"
            ));
        }
        logits = session.forward(&[token], Wanted::Last).map_err(message)?;
    }
    Ok(format!("greedy {0} of {0}", prompt.greedy.len()))
}

/// The token with the largest logit, and how far behind the second is.
fn best(logits: &[f32]) -> (u32, f64) {
    let (mut best, mut first, mut second) = (0, f32::NEG_INFINITY, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > first {
            (best, first, second) = (token, logit, first);
        } else {
            second = second.max(logit);
        }
    }
    (best as u32, f64::from(first) - f64::from(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_token_and_margin() {
        assert_eq!(best(&[1.0, 4.0, 2.5]), (1, 1.5));
        assert_eq!(best(&[4.0, 1.0, 4.0]), (0, 0.0));
    }

    #[test]
    fn loss_of_even_odds() {
        let loss = mean_loss(&[0.5, 0.5, -7.0, -7.0], 2, &[0, 1, 1]);
        assert!((loss - std::f64::consts::LN_2).abs() < 1e-12);
    }
}
