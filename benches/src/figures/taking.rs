//! What handing tokens out one by one costs over collecting them, and what top-p costs over greedy, at the rate at which they come.

use anyhow::Result;
use thalweg_bench::Figure;
use thalweg_engine::{Engine, EngineThread, Request};
use thalweg_rwkv::GpuBatch;

use super::{Subject, figure, median, timed};
use crate::streaming::{
    call_back, collect, greedy, iterate, iterate_across, sampled, stream_across,
};

pub(super) const SECTION: &str = "Taking 50 tokens as they come";

const TOKENS: usize = 50;
/// Texts are short: more of them than of other samples.
const TEXTS: usize = 4;

/// A way to take them, what it is compared with, and what may be lost by it.
struct Way {
    name: &'static str,
    take: fn(&mut Engines, Request),
    request: fn(usize) -> Request,
    beside: usize,
    most_percent: Option<f64>,
}

/// An engine that is stepped here, and one on a thread of its own.
struct Engines {
    here: Engine<GpuBatch>,
    there: EngineThread,
}

const WAYS: [Way; 7] = [
    way(
        "collected",
        |engines, request| collect(&mut engines.here, request),
        0,
        None,
    ),
    way(
        "one by one",
        |engines, request| iterate(&mut engines.here, request),
        0,
        Some(1.0),
    ),
    way(
        "by a callback",
        |engines, request| call_back(&mut engines.here, request),
        0,
        Some(1.0),
    ),
    way(
        "on another thread, one by one",
        |engines, request| iterate_across(&engines.there, request),
        0,
        None,
    ),
    way(
        "on another thread, awaited",
        |engines, request| stream_across(&engines.there, request),
        3,
        Some(2.0),
    ),
    way(
        "on another thread, awaited, beside collected here",
        |engines, request| stream_across(&engines.there, request),
        0,
        Some(2.0),
    ),
    Way {
        request: sampled,
        ..way(
            "top-p 0.9, collected",
            |engines, request| collect(&mut engines.here, request),
            0,
            Some(2.0),
        )
    },
];

const fn way(
    name: &'static str,
    take: fn(&mut Engines, Request),
    beside: usize,
    most_percent: Option<f64>,
) -> Way {
    Way {
        name,
        take,
        request: greedy,
        beside,
        most_percent,
    }
}

pub(super) fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let mut engines = Engines {
        here: subject.engine(subject.batch(1)?)?,
        there: subject.engine(subject.batch(1)?)?.spawn()?,
    };
    let mut seconds: Vec<Vec<f64>> = WAYS.iter().map(|_| Vec::new()).collect();
    for sample in 0..=TEXTS * subject.samples {
        // In turns, so that what drifts drifts for all.
        for (way, seconds) in WAYS.iter().zip(&mut seconds) {
            let request = (way.request)(TOKENS);
            let ((), took) = timed(|| {
                (way.take)(&mut engines, request);
                Ok(())
            })?;
            if sample > 0 {
                seconds.push(took.as_secs_f64()); // the first makes plans and compiles
            }
        }
    }
    let medians: Vec<f64> = seconds.into_iter().map(median).collect();
    let mut figures = Vec::new();
    for (way, seconds) in WAYS.iter().zip(&medians) {
        let rate = TOKENS as f64 / seconds;
        figures.push(figure(SECTION, way.name, rate, "tok/s"));
        if let Some(most) = way.most_percent {
            let lost = 100.0 * (seconds / medians[way.beside] - 1.0);
            let name = format!("{}: what it costs over {}", way.name, WAYS[way.beside].name);
            figures.push(figure(SECTION, name, lost, "%").at_most(most));
        }
    }
    Ok(figures)
}
