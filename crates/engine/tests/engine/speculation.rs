//! Guesses: nothing shows of them but the speed.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use thalweg_engine::{
    Engine, EngineOptions, Error, Finish, PrefixCache, Request, SamplerSettings, Speculation,
};
use thalweg_rwkv::{Session, Wanted};

use crate::engine::{drain, engine, expected, request, run};
use crate::fake::{FakeSession, STOP, VOCAB, tokenizer};
use crate::fake_batch::{Answer, FakeBatch, Fault, Log, alone};

const A: u32 = 1;

/// So that guesses pay: a step takes the same however many tokens it has.
const STEP: Duration = Duration::from_millis(1);

fn options(sequences: usize) -> EngineOptions {
    EngineOptions {
        sequences: Some(sequences),
        ..EngineOptions::default()
    }
}

/// A batch that gains from guesses, with a spare slot for each sequence.
fn verifying(sequences: usize, session: impl Fn() -> FakeSession) -> FakeBatch {
    let mut batch = FakeBatch::of(2 * sequences, 64, session);
    (batch.longest_guess, batch.step_time) = (7, STEP);
    batch
}

/// An engine for so many sequences, with a draft model that slips once in so many times.
fn drafting(sequences: usize, slips: u32) -> (Engine<FakeBatch>, Arc<Mutex<Log>>) {
    let session = move || FakeSession {
        slips,
        ..FakeSession::new()
    };
    let mut draft = FakeBatch::of(2 * sequences, 64, session);
    draft.longest_guess = 7;
    let log = Arc::clone(&draft.log);
    let batch = verifying(sequences, FakeSession::new);
    draft.clock = batch.clock.clone();
    let engine = engine(batch, options(sequences));
    (engine.with_draft_model(draft, &tokenizer()).unwrap(), log)
}

fn with(speculation: Speculation, request: Request) -> Request {
    Request {
        speculation,
        ..request
    }
}

/// A request that takes any guess.
fn guessed(prompt: &[u32], tokens: usize, seed: u64) -> Request {
    with(Speculation::Auto, request(prompt, tokens, seed))
}

/// A session that says this again and again.
fn repeating(text: &[u32]) -> FakeSession {
    FakeSession {
        script: text.iter().copied().cycle().take(2000).collect(),
        ..FakeSession::new()
    }
}

fn expected_of(request: &Request, mut session: FakeSession) -> Answer {
    alone(request, &mut session)
}

#[test]
fn what_repeats_takes_few_steps() {
    let text = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    let batch = verifying(1, || repeating(&text));
    let log = Arc::clone(&batch.log);
    let mut engine = engine(batch, options(1));
    let request = guessed(&[A], 600, 1);
    let mut handle = engine.submit(request.clone()).unwrap();
    run(&mut engine);
    assert_eq!(
        drain(&mut handle).unwrap(),
        expected_of(&request, repeating(&text))
    );
    let steps = log.lock().unwrap().steps.len();
    assert!(steps < 300, "{steps}");
    let guesses = handle.ending().unwrap().timings.guesses;
    assert!(guesses.accepted > 300, "{guesses:?}");
    assert!(guesses.acceptance().unwrap() > 0.95, "{guesses:?}");
    assert!(guesses.tokens_a_step().unwrap() > 2.0, "{guesses:?}");
}

/// The first steps with guesses of each length take as long as 100 others, as on a device that compiles kernels.
#[test]
fn what_happens_once_does_not_keep_from_guessing() {
    let text = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    let mut batch = verifying(1, || repeating(&text));
    (batch.longest_guess, batch.cold_step_time) = (31, Some(100 * STEP));
    let mut engine = engine(batch, options(1));
    let mut rates = Vec::new();
    for speculation in [Speculation::Ngram, Speculation::Off] {
        let request = with(speculation, request(&[A], 600, 1));
        let mut handle = engine.submit(request.clone()).unwrap();
        run(&mut engine);
        assert_eq!(
            drain(&mut handle).unwrap(),
            expected_of(&request, repeating(&text))
        );
        let timings = handle.ending().unwrap().timings;
        rates.push(timings.guess_speed_up());
    }
    let speed_up = rates[0].unwrap();
    assert!(speed_up > 5.0, "{speed_up}");
    assert_eq!(rates[1], None);
}

/// Where nothing repeats, guesses may be asked for and cost nothing to speak of.
#[test]
fn what_does_not_repeat_takes_as_many_steps_as_without_guesses() {
    let mut batch = verifying(1, FakeSession::new);
    (batch.longest_guess, batch.cold_step_time) = (31, Some(100 * STEP));
    let mut engine = engine(batch, options(1));
    let mut handle = engine.submit(guessed(&[A], 1000, 1)).unwrap();
    run(&mut engine);
    drain(&mut handle).unwrap();
    let guesses = handle.ending().unwrap().timings.guesses;
    assert!(
        guesses.elapsed <= guesses.without + 12 * STEP,
        "{guesses:?}"
    );
}

/// Guesses that cannot be rehearsed are not made any more.
#[test]
fn guesses_that_fail_at_the_rehearsal_are_left_off() {
    let batch = verifying(1, || repeating(&[1, 2, 3]));
    batch.log.lock().unwrap().faults.insert(0, Fault::Device);
    let mut engine = engine(batch, options(1));
    let request = guessed(&[A], 100, 1);
    let [mut failed, mut handle] = [(), ()].map(|()| engine.submit(request.clone()).unwrap());
    run(&mut engine);
    assert!(matches!(drain(&mut failed), Err(Error::Step(_))));
    let whole = expected_of(&request, repeating(&[1, 2, 3]));
    assert_eq!(drain(&mut handle).unwrap(), whole);
    assert_eq!(handle.ending().unwrap().timings.guesses.steps, 0);
}

/// However long a prompt is, no more of it is read by the draft model than its end.
#[test]
fn of_a_very_long_prompt_the_draft_model_reads_the_end() {
    let (mut engine, log) = drafting(1, 0);
    let prompt: Vec<u32> = (0..5000).map(|i| i % 12).collect();
    let request = with(Speculation::Draft, request(&prompt, 50, 3));
    let mut handle = engine.submit(request.clone()).unwrap();
    run(&mut engine);
    assert_eq!(drain(&mut handle).unwrap(), expected(&request));
    let log = log.lock().unwrap();
    let chunks = log.steps.iter().filter(|step| step[0].1 == 64).count();
    assert_eq!(chunks, 512 / 64);
}

#[test]
fn nothing_is_guessed_unless_asked_for() {
    let batch = verifying(1, || repeating(&[1, 2]));
    let log = Arc::clone(&batch.log);
    let mut engine = engine(batch, options(1));
    let mut handle = engine.submit(request(&[A], 100, 1)).unwrap();
    run(&mut engine);
    drain(&mut handle).unwrap();
    assert_eq!(log.lock().unwrap().steps.len(), 100);
    assert_eq!(handle.ending().unwrap().timings.guesses.steps, 0);
}

/// A draft model that is the model itself is right whenever it draws the same random numbers and has counted the same tokens.
#[test]
fn a_draft_model_draws_the_same_random_numbers() {
    for slips in [0, 5] {
        let (mut engine, _) = drafting(2, slips);
        let requests = [1, 2].map(|seed| with(Speculation::Draft, request(&[A, 2, 3], 400, seed)));
        let mut handles = requests
            .clone()
            .map(|request| engine.submit(request).unwrap());
        run(&mut engine);
        for (handle, request) in handles.iter_mut().zip(&requests) {
            assert_eq!(drain(handle).unwrap(), expected(request));
            let guesses = handle.ending().unwrap().timings.guesses;
            assert!(guesses.accepted > 100, "{slips}, {guesses:?}");
            let least = if slips == 0 { 0.99 } else { 0.15 };
            assert!(
                guesses.acceptance().unwrap() > least,
                "{slips}, {guesses:?}"
            );
        }
    }
}

#[test]
fn long_prompts_are_read_by_the_draft_model_in_chunks() {
    let draft_step = STEP / 20;
    let mut draft = FakeBatch::new(2, 64);
    (draft.longest_guess, draft.step_time) = (7, draft_step);
    let log = Arc::clone(&draft.log);
    let batch = verifying(1, FakeSession::new);
    draft.clock = batch.clock.clone();
    let mut engine = engine(batch, options(1))
        .with_draft_model(draft, &tokenizer())
        .unwrap();
    let prompt: Vec<u32> = (0..500).map(|i| i % 12).collect();
    let request = with(Speculation::Draft, request(&prompt, 200, 3));
    let mut handle = engine.submit(request.clone()).unwrap();
    run(&mut engine);
    assert_eq!(drain(&mut handle).unwrap(), expected(&request));
    let guesses = handle.ending().unwrap().timings.guesses;
    assert!(guesses.acceptance().unwrap() > 0.99, "{guesses:?}");
    let log = log.lock().unwrap();
    let chunks = log.steps.iter().filter(|step| step[0].1 == 64).count();
    assert_eq!(chunks, 500 / 64);
    // All of the draft model's steps count as time of guesses, those for the prompt among them.
    let least = STEP * guesses.steps as u32 + draft_step * log.steps.len() as u32;
    assert!(guesses.elapsed >= least, "{guesses:?}, {least:?}");
}

#[test]
fn a_draft_model_that_runs_away_or_fails_drafts_no_more() {
    for fault in [Fault::Sequence(0), Fault::Logits(0), Fault::Device] {
        let (mut engine, log) = drafting(1, 0);
        log.lock().unwrap().faults.insert(20, fault);
        let request = with(Speculation::Draft, request(&[A, 2, 3], 200, 4));
        let mut handle = engine.submit(request.clone()).unwrap();
        run(&mut engine);
        assert_eq!(drain(&mut handle).unwrap(), expected(&request));
        assert!(handle.ending().unwrap().timings.guesses.steps > 0);
        let steps = log.lock().unwrap().steps.len();
        assert!(steps <= 21 + 7, "{fault:?}: {steps}"); // the rest of a loop
        // The next sequence is another matter, unless the device is gone.
        let mut next = engine.submit(request.clone()).unwrap();
        run(&mut engine);
        assert_eq!(drain(&mut next).unwrap(), expected(&request));
        let is_drafted = next.ending().unwrap().timings.guesses.steps > 0;
        assert_eq!(is_drafted, fault != Fault::Device);
    }
}

#[test]
fn draft_models_that_do_not_fit_are_refused() {
    let refusal = |draft: FakeBatch| {
        let engine = engine(FakeBatch::new(3, 8), EngineOptions::default());
        let refused = engine.with_draft_model(draft, &tokenizer());
        refused.err().map(|error| error.to_string())
    };
    assert_eq!(refusal(FakeBatch::new(6, 8)), None);
    let message = refusal(FakeBatch::new(5, 8)).unwrap();
    assert!(
        message.contains("slots is 5; expected two for each"),
        "{message}"
    );
    let padded = FakeBatch::of(6, 8, || FakeSession::with_vocab(VOCAB + 3));
    let message = refusal(padded).unwrap();
    assert!(message.contains("has 16 logits, expected 13"), "{message}");
}

#[test]
fn a_draft_model_of_another_vocabulary_is_refused_by_its_first_token() {
    let mut other = crate::fake::CHARACTERS;
    other[6] = "x";
    let other = crate::fake::tokenizer_of(&other);
    let engine = engine(FakeBatch::new(1, 8), EngineOptions::default());
    let refused = engine.with_draft_model(FakeBatch::new(2, 8), &other);
    let error = refused.err().unwrap();
    assert!(matches!(error, Error::DraftVocabulary { token: 7, .. }));
    let message = error.to_string();
    assert!(
        message.contains("token 7 is \" \" (World, 13 tokens)"),
        "{message}"
    );
    assert!(
        message.contains("\"x\" (World, 13 tokens) in the draft"),
        "{message}"
    );
    let shorter = crate::fake::tokenizer_of(&crate::fake::CHARACTERS[..5]);
    let engine = self::engine(FakeBatch::new(1, 8), EngineOptions::default());
    let refused = engine.with_draft_model(FakeBatch::new(2, 8), &shorter);
    let message = refused.err().unwrap().to_string();
    assert!(
        message.contains("nothing (World, 6 tokens) in the draft"),
        "{message}"
    );
}

#[test]
fn a_draft_model_must_be_there_if_it_is_asked_for() {
    let engine = engine(FakeBatch::new(1, 8), EngineOptions::default());
    let asked = with(Speculation::Draft, request(&[A], 4, 0));
    let message = engine.submit(asked.clone()).unwrap_err().to_string();
    assert!(message.contains("speculate is draft"), "{message}");
    let engine = engine.with_draft_model(FakeBatch::new(2, 8), &tokenizer());
    engine.unwrap().submit(asked).unwrap();
}

#[test]
fn breaking_off_among_accepted_tokens_brings_no_more() {
    let mut engine = engine(verifying(1, || repeating(&[1, 2, 3, 4])), options(1));
    let mut came = 0;
    let request = guessed(&[A], 300, 1);
    let mut handle = engine
        .submit_with(request, move |_| {
            came += 1;
            assert!(came <= 150, "a token after breaking off");
            match came < 150 {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })
        .unwrap();
    run(&mut engine);
    assert!(matches!(handle.try_next(), std::task::Poll::Ready(None)));
    let ending = handle.ending().unwrap();
    assert_eq!(
        (ending.finish, ending.tokens.len()),
        (Finish::Interrupted, 150)
    );
    assert!(ending.timings.guesses.accepted > 20);
}

#[test]
fn a_sequence_that_runs_away_among_guesses_fails_alone() {
    let batch = verifying(2, || repeating(&[1, 2, 3, 4]));
    let log = Arc::clone(&batch.log);
    log.lock().unwrap().faults.insert(60, Fault::Sequence(1));
    let mut engine = engine(batch, options(2));
    let requests = [1, 2].map(|seed| guessed(&[A], 1500, seed));
    let mut handles = requests
        .clone()
        .map(|request| engine.submit(request).unwrap());
    run(&mut engine);
    let whole = expected_of(&requests[0], repeating(&[1, 2, 3, 4]));
    assert_eq!(drain(&mut handles[0]).unwrap(), whole);
    let came = std::iter::from_fn(|| handles[1].next().unwrap().ok()).count();
    assert!((60..1500).contains(&came), "{came}");
}

/// A text that repeats itself, with changes.
fn scripts() -> impl Strategy<Value = Vec<u32>> {
    let period = prop::collection::vec(0..VOCAB as u32, 1..12);
    let changes = prop::collection::vec((0_usize..120, 0..VOCAB as u32), 0..6);
    (period, changes).prop_map(|(period, changes)| {
        let mut script: Vec<u32> = period.into_iter().cycle().take(120).collect();
        changes
            .into_iter()
            .for_each(|(at, token)| script[at] = token);
        script
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Wherever a text ends, by whatever, and whatever was guessed: the text, the tokens, the state at the end and what is
    /// remembered are those of single steps.
    #[test]
    fn ends_are_those_of_single_steps(
        script in scripts(),
        known in 0_usize..60,
        tokens in 1_usize..80,
        stops in prop::collection::vec("[abcEND .]{1,4}", 0..3),
        stops_at_end in any::<bool>(),
        source in prop::sample::select(vec![Speculation::Auto, Speculation::Ngram, Speculation::Draft]),
        slips in 0_u32..9,
        seed in any::<u64>(),
        spare in 0_usize..4,
        longest_loop in 1_usize..6,
    ) {
        let session = || FakeSession { script: script.clone(), ..FakeSession::new() };
        let mut batch = FakeBatch::of(1 + spare, 16, session);
        (batch.longest_guess, batch.longest_loop) = (5, longest_loop);
        batch.step_time = Duration::from_micros(100);
        let draft = FakeBatch::of(2, 16, || FakeSession { slips, ..session() });
        let mut engine = engine(batch, options(1))
            .with_cache(PrefixCache::new(1 << 20))
            .with_draft_model(draft, &tokenizer())
            .unwrap();
        // What is to be said may have been said in the prompt, where it ends nothing.
        let prompt = [&[A], &script[..known]].concat();
        let mut request = with(source, request(&prompt, tokens, seed));
        request.keeps_snapshot = true;
        request.until.stop_strings = stops;
        if stops_at_end {
            request.until.stop_ids = vec![STOP];
        }
        // The first answers warm the engine up: it knows what steps cost.
        for _ in 0..4 {
            let mut handle = engine.submit(request.clone()).unwrap();
            run(&mut engine);
            prop_assert_eq!(drain(&mut handle).unwrap(), expected_of(&request, session()));
            let ending = handle.ending().unwrap();
            let read = [&prompt[..], &ending.tokens[..ending.read]].concat();
            let mut alone = session();
            let logits = alone.forward(&read, Wanted::Last).unwrap();
            let snapshot = ending.snapshot.as_ref().unwrap();
            prop_assert_eq!(&snapshot.state, &alone.state().unwrap());
            prop_assert_eq!(snapshot.logits.as_ref(), Some(&logits));
        }
        // What was remembered is sound, too.
        let mut next = self::request(&[], 3, seed);
        let handle = engine.submit(request.clone()).unwrap();
        run(&mut engine);
        let said = handle.collect_text().unwrap().1.tokens;
        next.prompt = [&prompt[..], &said[..], &[5]].concat().into();
        let mut handle = engine.submit(next.clone()).unwrap();
        run(&mut engine);
        prop_assert_eq!(drain(&mut handle).unwrap(), expected_of(&next, session()));
    }
}

/// What follows each token of a chain, by the softmax of its logits.
fn chances(after: u32) -> Vec<f64> {
    let mut chain = FakeSession {
        is_chain: true,
        ..FakeSession::new()
    };
    let logits = chain.forward(&[after], Wanted::Last).unwrap();
    let exps: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|exp| exp / sum).collect()
}

/// How often each token followed each in what was drawn with guesses, and how many guesses were right and wrong.
fn counted_transitions(speculation: Speculation) -> ([[f64; VOCAB]; VOCAB], usize, usize) {
    let chain = || FakeSession {
        is_chain: true,
        ..FakeSession::new()
    };
    let draft = FakeBatch::of(8, 64, || FakeSession {
        slips: 4,
        ..chain()
    });
    let mut engine = engine(verifying(4, chain), options(4))
        .with_draft_model(draft, &tokenizer())
        .unwrap();
    let (mut counts, mut right, mut wrong) = ([[0.0; VOCAB]; VOCAB], 0, 0);
    let handles: Vec<_> = (0..24)
        .map(|seed| {
            let sampler = SamplerSettings {
                temperature: 1.0,
                seed,
                ..SamplerSettings::greedy()
            };
            let sampler = SamplerSettings {
                top_p: 1.0,
                ..sampler
            };
            let request = Request {
                sampler,
                ..request(&[A], 250, seed)
            };
            engine.submit(with(speculation, request)).unwrap()
        })
        .collect();
    run(&mut engine);
    for handle in handles {
        let ending = handle.collect_text().unwrap().1;
        let guesses = ending.timings.guesses;
        right += guesses.accepted;
        wrong += guesses.drafted - guesses.accepted;
        for pair in [&[A], &ending.tokens[..]].concat().windows(2) {
            counts[pair[0] as usize][pair[1] as usize] += 1.0;
        }
    }
    (counts, right, wrong)
}

/// Over 6,000 drawn tokens, what follows each token is distributed as its logits say, by Pearson's test: guesses bend nothing.
#[test]
fn sampling_with_guesses_draws_from_the_models_distribution() {
    for speculation in [Speculation::Off, Speculation::Ngram, Speculation::Draft] {
        let (counts, right, wrong) = counted_transitions(speculation);
        match speculation {
            Speculation::Off => assert_eq!((right, wrong), (0, 0)),
            _ => assert!(
                right > 300 && wrong > 300,
                "{speculation:?}: {right}, {wrong}"
            ),
        }
        let (mut statistic, mut freedom) = (0.0, 0.0);
        for (after, counts) in (0..).zip(&counts) {
            let total: f64 = counts.iter().sum();
            let pairs = counts.iter().zip(chances(after));
            let frequent: Vec<_> = pairs.filter(|(_, chance)| chance * total >= 5.0).collect();
            freedom += frequent.len().saturating_sub(1) as f64;
            for (count, chance) in frequent {
                statistic += (count - chance * total).powi(2) / (chance * total);
            }
        }
        // Four standard deviations above the mean of a chi-square of so many degrees of freedom.
        assert!(freedom > 40.0);
        let bound = freedom + 4.0 * (2.0 * freedom).sqrt();
        assert!(statistic < bound, "{speculation:?}: {statistic} of {bound}");
    }
}
