//! The time to the first token after a long prompt that was read before, by where its state is.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use thalweg_bench::Figure;
use thalweg_engine::{
    Engine, Origin, PrefixCache, Request, SamplerSettings, StateEncoding, StateFormat,
};
use thalweg_rwkv::{Batch, GpuBatch};

use super::{Subject, figure, median, ms, timed};
use crate::tokens;

pub(super) const SECTION: &str = "The first token after 4,000 tokens read before";

const PROMPT: usize = 4000;
/// Hits are short: more of them than of other samples.
const HITS: usize = 10;
const MEMORY: u64 = 1 << 30;

pub(super) fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    // Beyond the slots for the sequence and its way back, some for the prompt, those that go on behind it, and their replies.
    let on_device = subject.batch(8)?;
    let in_memory = subject.batch(2)?;
    let mut figures = Vec::new();
    for (place, batch) in [("on the device", on_device), ("in memory", in_memory)] {
        let mut engine = subject.engine(batch)?.with_cache(PrefixCache::new(MEMORY));
        figures.extend(of_place(subject, &mut engine, place)?);
    }
    figures.extend(in_a_folder(subject)?);
    Ok(figures)
}

fn of_place(subject: &Subject, engine: &mut Engine<GpuBatch>, place: &str) -> Result<Vec<Figure>> {
    let known = tokens(PROMPT, subject.model.hyperparameters().vocab);
    let never_seen = ms(first_token(engine, &known, 0)?);
    let mut hits = Vec::new();
    let mut longer = Vec::new();
    for sample in 0..HITS * subject.samples {
        hits.push(ms(first_token(engine, &known, PROMPT)?));
        let question = [&known[..], &[1 + sample as u32 % 250; 16]].concat();
        longer.push(ms(first_token(engine, &question, PROMPT)?));
    }
    let of = |name: &str, value| figure(SECTION, format!("{name} {place}"), value, "ms");
    Ok(vec![
        figure(
            SECTION,
            format!("the prompt never seen, then kept {place}"),
            never_seen,
            "ms",
        ),
        of("all of it known, its state", median(hits)).at_most(5.0),
        of("16 tokens after it, its state", median(longer)).at_most(5.0),
    ])
}

/// The time from handing in a prompt, of which so many tokens are known, to its first token.
fn first_token<B: Batch>(engine: &mut Engine<B>, prompt: &[u32], known: usize) -> Result<Duration> {
    let mut request = Request::new(prompt.to_vec());
    request.until.tokens = 2; // what ends with its first token has nobody who waits for another
    request.sampler = SamplerSettings::greedy();
    let ((handle, first), took) = timed(|| {
        let mut handle = engine.submit(request)?;
        let first = engine.tokens(&mut handle).next();
        Ok((handle, first))
    })?;
    first.context("no token came")??;
    while engine.step() {}
    let ending = handle.collect_text()?.1;
    ensure!(
        ending.resumed >= known,
        "{} of {known} tokens were known",
        ending.resumed
    );
    Ok(took)
}

/// As another process finds it: with an engine that has made no step yet.
fn in_a_folder(subject: &Subject) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let hp = subject.model.hyperparameters();
    let known = tokens(PROMPT, hp.vocab);
    let origin = Origin {
        model: subject.hash,
        adapter: 0,
    };
    let format = || StateFormat::new(origin, hp.clone(), StateEncoding::F32);
    let engine = || -> Result<Engine<GpuBatch>> {
        let cache = PrefixCache::new(MEMORY).with_folder(folder.path(), format(), MEMORY)?;
        Ok(subject.engine(subject.batch(2)?)?.with_cache(cache))
    };
    first_token(&mut engine()?, &known, 0)?;
    let (mut hits, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..subject.samples {
        let path = std::fs::read_dir(folder.path())?.next();
        let path = path.context("no state was written")??.path();
        let (_, took) = timed(|| Ok(format().load(&path)?))?;
        reads.push(ms(took));
        hits.push(ms(first_token(&mut engine()?, &known, PROMPT)?));
    }
    Ok(vec![
        figure(
            SECTION,
            "all of it known, its state in a file, a new engine",
            median(hits),
            "ms",
        ),
        figure(
            SECTION,
            "of that reading and checking the file",
            median(reads),
            "ms",
        ),
    ])
}
