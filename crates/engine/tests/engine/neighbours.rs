//! Whoever shares an engine, each gets what it would get alone.

use std::sync::Arc;

use proptest::prelude::*;
use thalweg_engine::{Engine, EngineOptions, Finish, Handle, PrefixCache, Request, Speculation};

use crate::engine::{drain, engine, expected, request};
use crate::fake::{FakeSession, STOP, tokenizer};
use crate::fake_batch::{FakeBatch, Fault, Log};

/// A request at some step of a run, and what its owner does with it.
#[derive(Debug, Clone)]
struct Arrival {
    at_step: usize,
    prompt: Vec<u32>,
    tokens: usize,
    stops: bool,
    speculation: Speculation,
    cancelled_after: Option<usize>,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let arrival = (
        0_usize..40,
        (any::<bool>(), prop::collection::vec(0..3_u32, 1..60)),
        0_usize..30,
        any::<bool>(),
        prop::sample::select(vec![
            Speculation::Auto,
            Speculation::Off,
            Speculation::Ngram,
        ]),
        prop::option::weighted(0.2, 0_usize..20),
    );
    // Some share a beginning long enough to be marked within.
    let arrival = arrival.prop_map(
        |(at_step, (is_long, tail), tokens, stops, speculation, cancelled_after)| {
            let beginning = &[7; 1100][..if is_long { 1100 } else { 0 }];
            Arrival {
                at_step,
                prompt: [beginning, &tail].concat(),
                tokens,
                stops,
                speculation,
                cancelled_after,
            }
        },
    );
    prop::collection::vec(arrival, 1..20)
}

fn faults() -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let fault = prop_oneof![
        3 => (0_usize..8).prop_map(Fault::Sequence),
        1 => Just(Fault::Device),
        1 => (0_usize..8).prop_map(Fault::Logits),
    ];
    prop::collection::vec((0_usize..100, fault), 0..4)
}

fn request_of(seed: usize, arrival: &Arrival) -> Request {
    let mut request = request(&arrival.prompt, arrival.tokens, seed as u64);
    request.speculation = arrival.speculation;
    if arrival.stops {
        request.until.stop_ids = vec![STOP];
        request.until.stop_strings = vec!["ab".to_owned()];
    }
    request
}

/// Runs all arrivals, each cancelled when it wants to be, to their ends.
fn run_arrivals(engine: &mut Engine<FakeBatch>, arrivals: &[Arrival]) -> Vec<Handle> {
    let mut handles: Vec<Option<Handle>> = arrivals.iter().map(|_| None).collect();
    let mut step = 0;
    while step < 60 || engine.is_busy() {
        for (index, arrival) in arrivals.iter().enumerate() {
            if arrival.at_step == step {
                handles[index] = Some(engine.submit(request_of(index, arrival)).unwrap());
            }
            let is_cancelled = arrival
                .cancelled_after
                .is_some_and(|after| step == arrival.at_step + after);
            if let Some(handle) = handles[index].as_ref().filter(|_| is_cancelled) {
                handle.cancel();
            }
        }
        engine.step();
        step += 1;
        assert!(step < 100_000, "the engine does not come to an end");
    }
    handles.into_iter().map(Option::unwrap).collect()
}

/// No slot goes without a token for longer than its turn takes, and no step is larger than it may be.
fn check_fairness(log: &Log, slots: usize, budget: usize) {
    for step in &log.steps {
        assert!(step.iter().map(|(_, tokens)| tokens).sum::<usize>() <= budget);
        assert!(step.len() <= slots.min(budget));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whoever shares the engine, whenever they come and go, whatever is cached, and whatever fails beside it: a request gets what it would
    /// get alone, or the beginning of it if it was cancelled, or an error if it was to blame or the device failed.
    #[test]
    fn neighbours_do_not_matter(
        arrivals in arrivals(),
        faults in faults(),
        slots in 1_usize..6,
        budget in 1_usize..20,
        cache in prop::option::of(0_u64..2000),
        spare in 0_usize..8,
        longest_loop in 1_usize..12,
        longest_guess in 0_usize..6,
        draft in prop::option::of((0_u32..6, faults())),
    ) {
        let mut batch = FakeBatch::new(slots + spare, budget);
        (batch.longest_loop, batch.longest_guess) = (longest_loop, longest_guess);
        let log = Arc::clone(&batch.log);
        let fails = !faults.is_empty();
        log.lock().unwrap().faults = faults.into_iter().collect();
        let options = EngineOptions {
            sequences: Some(slots),
            ..EngineOptions::default()
        };
        let mut engine = engine(batch, options);
        if let Some(bytes) = cache {
            engine = engine.with_cache(PrefixCache::new(bytes));
        }
        if let Some((slips, faults)) = draft {
            let session = || FakeSession { slips, ..FakeSession::new() };
            let batch = FakeBatch::of(2 * slots, budget, session);
            batch.log.lock().unwrap().faults = faults.into_iter().collect();
            engine = engine.with_draft_model(batch, &tokenizer()).unwrap();
        }
        let mut handles = run_arrivals(&mut engine, &arrivals);
        for (index, handle) in handles.iter_mut().enumerate() {
            let expected = expected(&request_of(index, &arrivals[index]));
            match drain(handle) {
                Ok(answer) if answer.finish == Finish::Interrupted => {
                    prop_assert!(arrivals[index].cancelled_after.is_some());
                    prop_assert!(expected.tokens.starts_with(&answer.tokens));
                    prop_assert!(expected.text.starts_with(&answer.text));
                }
                Ok(answer) => prop_assert_eq!(answer, expected),
                Err(error) => prop_assert!(fails, "{}", error),
            }
        }
        check_fairness(&log.lock().unwrap(), slots, budget);
    }
}
