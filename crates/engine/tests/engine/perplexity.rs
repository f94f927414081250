//! Perplexity against a plain computation.

use crate::fake::{FakeSession, VOCAB};
use thalweg_engine::{ChunkSize, Error, Perplexity, WINDOW, perplexity};
use thalweg_rwkv::{Session, Wanted};

const BEGIN: u32 = 3;

fn text(tokens: usize) -> Vec<u32> {
    (0..tokens as u32)
        .map(|i| i.wrapping_mul(2_654_435_761) % VOCAB as u32)
        .collect()
}

fn measure(tokens: &[u32], begin: Option<u32>, chunk_size: usize) -> Perplexity {
    let chunk_size = ChunkSize::new(chunk_size).unwrap();
    perplexity(
        &mut FakeSession::new(),
        tokens,
        begin,
        chunk_size,
        &mut |_| {},
    )
    .unwrap()
}

/// Mean surprise over the targets 257 to 511 of every whole window, token by token.
fn reference(tokens: &[u32], begin: Option<u32>) -> (f64, usize) {
    let (mut sum, mut scored) = (0.0, 0);
    for window in tokens.chunks_exact(WINDOW) {
        let mut session = FakeSession::new();
        for place in 1..WINDOW {
            let previous = begin.filter(|_| place == 1).unwrap_or(window[place - 1]);
            let logits = session.forward(&[previous], Wanted::Last).unwrap();
            if place >= 257 {
                let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
                sum += total.ln() - f64::from(logits[window[place] as usize]);
                scored += 1;
            }
        }
    }
    (sum / scored as f64, scored)
}

#[test]
fn agrees_with_the_definition() {
    let tokens = text(3 * WINDOW + 100);
    for begin in [None, Some(BEGIN)] {
        let (nats, scored) = reference(&tokens, begin);
        let figures = measure(&tokens, begin, 64);
        assert!(
            (figures.nats_per_token - nats).abs() < 1e-9,
            "{} and {nats}",
            figures.nats_per_token
        );
        assert!((figures.perplexity - nats.exp()).abs() < 1e-6);
        assert_eq!((figures.windows, figures.scored), (3, scored));
        assert_eq!(scored, 3 * 255);
        assert!(figures.standard_error > 0.0);
    }
    assert_ne!(
        measure(&tokens, None, 64).perplexity,
        measure(&tokens, Some(BEGIN), 64).perplexity
    );
}

#[test]
fn does_not_depend_on_the_chunk_size() {
    let tokens = text(2 * WINDOW);
    let whole = measure(&tokens, Some(BEGIN), 512);
    for chunk_size in [1, 7, 64, 255, 256, 257, 511, 4096] {
        assert_eq!(
            measure(&tokens, Some(BEGIN), chunk_size),
            whole,
            "chunk size {chunk_size}"
        );
    }
}

#[test]
fn progress_comes_after_every_window() {
    let mut windows = Vec::new();
    let tokens = text(3 * WINDOW);
    let figures = perplexity(
        &mut FakeSession::new(),
        &tokens,
        None,
        ChunkSize::default(),
        &mut |figures| {
            windows.push(figures.windows);
        },
    );
    assert_eq!(windows, [1, 2, 3]);
    assert_eq!(figures.unwrap().windows, 3);
}

#[test]
fn a_text_shorter_than_a_window_is_refused() {
    let error = perplexity(
        &mut FakeSession::new(),
        &text(511),
        None,
        ChunkSize::default(),
        &mut |_| {},
    )
    .unwrap_err();
    assert!(
        matches!(
            error,
            Error::TextTooShort {
                tokens: 511,
                window: 512
            }
        ),
        "{error}"
    );
}

#[test]
fn a_token_without_a_logit_is_refused() {
    let mut tokens = text(512);
    tokens[511] = VOCAB as u32;
    let error = perplexity(
        &mut FakeSession::new(),
        &tokens,
        None,
        ChunkSize::default(),
        &mut |_| {},
    )
    .unwrap_err();
    assert!(
        matches!(error, Error::UnknownToken { vocab: VOCAB, .. }),
        "{error}"
    );
}
