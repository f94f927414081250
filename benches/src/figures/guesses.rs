//! Guesses by look-up, where a text is repeated with edits.
//!
//! A [`Copying`] batch says the text, so how many guesses are right is so by construction, and cost alone is measured.

use anyhow::{Result, ensure};
use thalweg_bench::Figure;
use thalweg_engine::{Ending, Engine, Request, SamplerSettings, Speculation};

use super::{Subject, figure, median, ms};
use crate::copying::{Copying, Verifying, edited};

pub(super) const SECTION: &str = "Repeating a text of 600 words, guesses by look-up";

const WORDS: usize = 600;
/// Words from one edit to the next.
const EDITS: [Option<usize>; 4] = [None, Some(60), Some(30), Some(15)];

pub(super) fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let words: Vec<&str> = subject.text.split_whitespace().take(WORDS).collect();
    ensure!(
        words.len() == WORDS,
        "the text has fewer than {WORDS} words"
    );
    let encode = |text: &str| subject.tokenizer.encode(text.as_bytes());
    let prompt = encode(&format!("{}\n\n", words.join(" ")))?;
    let mut figures = vec![first_request(subject, &prompt)?];
    for every in EDITS {
        let reply = encode(&edited(&words, every))?;
        figures.extend(copies(subject, every, &prompt, &reply)?);
    }
    Ok(figures)
}

/// How much longer the first request that wants guesses waits for its first token.
fn first_request(subject: &Subject, prompt: &[u32]) -> Result<Figure> {
    let batch = Copying::new(subject.batch(1)?, prompt, prompt);
    let mut engine = subject.engine(batch)?;
    let mut first = |speculation| -> Result<f64> {
        let ending = say(&mut engine, &prompt[..1], 1, speculation)?;
        Ok(ms(ending.timings.first_token))
    };
    first(Speculation::Off)?;
    let without = first(Speculation::Off)?;
    let value = first(Speculation::Ngram)? - without;
    Ok(figure(
        SECTION,
        "the engine's first request with guesses: trying them",
        value,
        "ms",
    ))
}

fn copies(
    subject: &Subject,
    every: Option<usize>,
    prompt: &[u32],
    reply: &[u32],
) -> Result<Vec<Figure>> {
    let batch = Copying::new(subject.batch(1)?, prompt, reply);
    let mut engine = subject.engine(batch)?;
    let (mut off, mut ngram, mut guesses) = (Vec::new(), Vec::new(), None);
    for sample in 0..=subject.samples {
        for (speculation, rates) in [
            (Speculation::Off, &mut off),
            (Speculation::Ngram, &mut ngram),
        ] {
            let ending = say(&mut engine, prompt, reply.len(), speculation)?;
            ensure!(
                ending.tokens == reply,
                "with {speculation:?} another text came"
            );
            if speculation == Speculation::Ngram {
                guesses = Some(ending.timings.guesses);
            }
            if sample > 0 {
                rates.push(ending.timings.decode_rate()); // the first makes plans and compiles
            }
        }
    }
    let (off, ngram) = (median(off), median(ngram));
    let guesses = guesses.unwrap_or_default();
    let edits = match every {
        None => "no edits".to_owned(),
        Some(every) => format!("an edit every {every} words"),
    };
    let of =
        |name: &str, value: f64, unit| figure(SECTION, format!("{edits}: {name}"), value, unit);
    Ok(vec![
        of("without guesses", off, "tok/s"),
        of("with guesses", ngram, "tok/s"),
        of("how many times as fast", ngram / off, "times").at_least(3.0),
        of(
            "guessed tokens that were right",
            100.0 * guesses.acceptance().unwrap_or(0.0),
            "%",
        ),
        of(
            "tokens a step with guesses",
            guesses.tokens_a_step().unwrap_or(1.0),
            "",
        ),
    ])
}

fn say<B: Verifying>(
    engine: &mut Engine<Copying<B>>,
    prompt: &[u32],
    tokens: usize,
    speculation: Speculation,
) -> Result<Ending> {
    let mut request = Request::new(prompt.to_vec());
    request.until.tokens = tokens;
    request.sampler = SamplerSettings::greedy();
    request.speculation = speculation;
    let handle = engine.submit(request)?;
    while engine.step() {}
    Ok(handle.collect_text()?.1)
}
