//! A batch of fake sessions, which can be told to fail, and what a request gives alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_engine::{Finish, Prompt, Request, Until};
use thalweg_rwkv::{
    Batch, Chosen, Draft, HostSampler, Hyperparameters, Logits, Part, Sampling, Session, State,
    Wanted,
};

use crate::fake::{FakeSession, VOCAB, tokenizer};

/// What goes wrong in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The numbers of the part at this index (modulo the number of parts) run away.
    Sequence(usize),
    /// The device fails.
    Device,
    /// The logits of the part at this index are no numbers.
    Logits(usize),
}

impl Fault {
    /// Whether it is the fault of the part at this index.
    fn strikes(&self, index: usize, parts: usize) -> bool {
        match self {
            Fault::Sequence(guilty) | Fault::Logits(guilty) => guilty % parts == index,
            Fault::Device => true,
        }
    }
}

/// What happened to a batch, for the test that looks at it from outside.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Slot and tokens of each part, step by step.
    pub(crate) steps: Vec<Vec<(usize, usize)>>,
    /// By number of the step.
    pub(crate) faults: HashMap<usize, Fault>,
    /// Whether the device is gone: then nothing works any more.
    pub(crate) is_lost: bool,
    /// States that travelled to the host or back.
    pub(crate) transfers: usize,
}

/// A clock that stands still but where a batch says that something took time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<Duration>>);

impl Clock {
    pub(crate) fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

pub(crate) struct FakeBatch {
    sessions: Vec<FakeSession>,
    samplings: Vec<Sampling>,
    samplers: Vec<HostSampler>,
    /// Slots whose states are of no use.
    lost: Vec<bool>,
    /// From which a token was chosen in the last step, by slot.
    logits: Vec<Option<Vec<f32>>>,
    largest_step: usize,
    pub(crate) longest_loop: usize,
    pub(crate) longest_guess: usize,
    /// What a step takes by the clock, however many tokens it has.
    pub(crate) step_time: Duration,
    /// What the first two steps of each size with guesses take: kernels are compiled for a power of two of rows.
    pub(crate) cold_step_time: Option<Duration>,
    /// How often there were guesses of such a size.
    guesses: HashMap<usize, usize>,
    pub(crate) clock: Clock,
    pub(crate) log: Arc<Mutex<Log>>,
}

impl FakeBatch {
    pub(crate) fn new(slots: usize, largest_step: usize) -> Self {
        Self::of(slots, largest_step, FakeSession::new)
    }

    /// So many sessions, all alike, each in a slot.
    pub(crate) fn of(slots: usize, largest_step: usize, session: impl Fn() -> FakeSession) -> Self {
        Self {
            sessions: std::iter::repeat_with(session).take(slots).collect(),
            samplings: vec![Sampling::greedy(); slots],
            samplers: vec![HostSampler::new(Sampling::greedy()); slots],
            lost: vec![false; slots],
            logits: vec![None; slots],
            largest_step,
            longest_loop: 1,
            longest_guess: 0,
            step_time: Duration::ZERO,
            cold_step_time: None,
            guesses: HashMap::new(),
            clock: Clock::default(),
            log: Arc::default(),
        }
    }

    /// Notes a step, and returns what goes wrong in it.
    fn begin_step(&mut self, parts: &[Part<'_>]) -> Result<Option<Fault>, thalweg_rwkv::Error> {
        self.check(parts);
        self.logits.fill(None);
        self.clock.advance(self.step_time);
        let mut log = self.log.lock().unwrap();
        let step = log.steps.len();
        let describe = |part: &Part<'_>| (part.slot, part.tokens.len());
        log.steps.push(parts.iter().map(describe).collect());
        let fault = log.faults.get(&step).copied();
        if log.is_lost || fault == Some(Fault::Device) {
            for session in &mut self.sessions {
                session.forward(&[1; 3], Wanted::Nothing)?; // no state is of any use
            }
            return Err(broken());
        }
        Ok(fault)
    }

    /// Does to a part's logits, or its sequence, what goes wrong with them.
    fn spoil(
        &mut self,
        slot: usize,
        fault: Option<Fault>,
        logits: &mut [f32],
    ) -> Result<(), thalweg_rwkv::Error> {
        match fault {
            Some(Fault::Sequence(_)) => {
                self.sessions[slot].forward(&[1; 3], Wanted::Nothing)?;
                self.lost[slot] = true;
            }
            Some(Fault::Logits(_)) => logits.fill(f32::NAN),
            _ => {}
        }
        if self.lost[slot] {
            logits.fill(f32::NAN);
        }
        Ok(())
    }

    /// A step that a real batch would refuse is a defect of the engine.
    fn check(&self, parts: &[Part<'_>]) {
        let slots: HashSet<usize> = parts.iter().map(|part| part.slot).collect();
        assert_eq!(slots.len(), parts.len(), "a slot twice");
        assert!(slots.iter().all(|slot| *slot < self.slots()));
        assert!(parts.iter().all(|part| !part.tokens.is_empty()));
        let tokens = || parts.iter().flat_map(|part| part.tokens);
        assert!(tokens().count() <= self.largest_step);
        assert!(tokens().all(|token| (*token as usize) < VOCAB));
    }
}

/// An error of a device that is no sequence's fault.
fn broken() -> thalweg_rwkv::Error {
    thalweg_rwkv::Error::Setting {
        name: "device",
        found: 0,
        expected: "to work".to_owned(),
    }
}

impl Batch for FakeBatch {
    fn hyperparameters(&self) -> &Hyperparameters {
        self.sessions[0].hyperparameters()
    }

    fn slots(&self) -> usize {
        self.sessions.len()
    }

    fn largest_step(&self) -> usize {
        self.largest_step
    }

    fn longest_loop(&self) -> usize {
        self.longest_loop
    }

    fn set_sampling(&mut self, slot: usize, sampling: Sampling) -> Result<(), thalweg_rwkv::Error> {
        self.samplers[slot] = HostSampler::new(sampling.clone());
        self.samplings[slot] = sampling;
        Ok(())
    }

    fn longest_guess(&self) -> usize {
        self.longest_guess
    }

    fn verify(
        &mut self,
        drafts: &[Draft<'_>],
    ) -> Result<Vec<Vec<Option<Chosen>>>, thalweg_rwkv::Error> {
        let tokens = |draft: &Draft<'_>| [&[draft.token], draft.guess].concat();
        let tokens: Vec<Vec<u32>> = drafts.iter().map(tokens).collect();
        let pairs = drafts.iter().zip(&tokens);
        let parts = pairs.map(|(draft, tokens)| Part {
            slot: draft.slot,
            tokens,
            wanted: Wanted::All,
        });
        let parts: Vec<Part<'_>> = parts.collect();
        let rows: usize = tokens.iter().map(Vec::len).sum();
        let before = self.guesses.entry(rows.next_power_of_two());
        let before = before.and_modify(|before| *before += 1).or_default();
        if let Some(cold) = self.cold_step_time.filter(|_| *before < 2) {
            self.clock.advance(cold);
        }
        let fault = self.begin_step(&parts)?;
        let mut rows = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let fault = fault.filter(|fault| fault.strikes(index, parts.len()));
            let mut row = Vec::new();
            for (index, token) in part.tokens.iter().enumerate() {
                let mut logits = self.sessions[part.slot].forward(&[*token], Wanted::Last)?;
                self.spoil(part.slot, fault, &mut logits)?;
                let chosen = self.choose(part.slot, &logits)?;
                let found = chosen.as_ref().map(|chosen| chosen.token);
                row.push(chosen);
                if found.is_none() || found != part.tokens.get(index + 1).copied() {
                    break;
                }
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn sample(&mut self, parts: &[Part<'_>]) -> Result<Vec<Option<Chosen>>, thalweg_rwkv::Error> {
        let logits = match self.forward(parts) {
            Err(thalweg_rwkv::Error::Runaway { logits, .. }) => logits.0,
            other => other?,
        };
        let mut rows = logits.chunks_exact(VOCAB);
        let mut chosen = Vec::new();
        for part in parts.iter().filter(|part| part.wanted == Wanted::Last) {
            let row = rows.next().unwrap();
            chosen.push(self.choose(part.slot, row)?);
        }
        Ok(chosen)
    }

    fn choose(
        &mut self,
        slot: usize,
        logits: &[f32],
    ) -> Result<Option<Chosen>, thalweg_rwkv::Error> {
        self.logits[slot] = Some(logits.to_vec());
        Ok(self.samplers[slot].choose(logits).ok())
    }

    fn logits(&mut self, slot: usize) -> Result<Vec<f32>, thalweg_rwkv::Error> {
        let logits = self.logits[slot].clone();
        logits.ok_or(thalweg_rwkv::Error::NothingChosen { slot })
    }

    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, thalweg_rwkv::Error> {
        let fault = self.begin_step(parts)?;
        let (mut logits, mut lost) = (Vec::new(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            let mut rows = self.sessions[part.slot].forward(part.tokens, part.wanted)?;
            let fault = fault.filter(|fault| fault.strikes(index, parts.len()));
            self.spoil(part.slot, fault, &mut rows)?;
            if self.lost[part.slot] {
                lost.push(part.slot);
            }
            logits.extend(rows);
        }
        match lost.is_empty() {
            true => Ok(logits),
            false => Err(thalweg_rwkv::Error::Runaway {
                slots: lost,
                logits: Logits(logits),
            }),
        }
    }

    fn state(&mut self, slot: usize) -> Result<State, thalweg_rwkv::Error> {
        self.log.lock().unwrap().transfers += 1;
        self.sessions[slot].state()
    }

    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), thalweg_rwkv::Error> {
        self.log.lock().unwrap().transfers += 1;
        self.lost[slot] = false;
        self.sessions[slot].set_state(state)
    }

    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), thalweg_rwkv::Error> {
        self.lost[to] = self.lost[from];
        self.samplers[to] = self.samplers[from].clone();
        self.samplers[to].set_sampling(self.samplings[to].clone());
        let state = self.sessions[from].state()?;
        self.sessions[to].set_state(&state)
    }

    fn reset(&mut self, slot: usize) -> Result<(), thalweg_rwkv::Error> {
        if self.log.lock().unwrap().is_lost {
            return Err(broken());
        }
        self.lost[slot] = false;
        self.sessions[slot].reset();
        Ok(())
    }
}

/// What a request led to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) tokens: Vec<u32>,
    pub(crate) text: String,
    pub(crate) finish: Finish,
}

/// What a request gives in a session of its own, by the plainest way there is.
pub(crate) fn alone(request: &Request, session: &mut dyn Session) -> Answer {
    let Prompt::Tokens(prompt) = &request.prompt else {
        panic!("a prompt of tokens");
    };
    let Until {
        tokens: limit,
        stop_ids,
        stop_strings,
    } = &request.until;
    let tokenizer = tokenizer();
    let mut sampler = HostSampler::new(request.sampler.sampling(None));
    let mut logits = session.forward(prompt, Wanted::Last).unwrap();
    let (mut tokens, mut text) = (Vec::new(), String::new());
    let finish = loop {
        if tokens.len() == *limit {
            break Finish::Limit;
        }
        let token = sampler.choose(&logits).unwrap().token;
        if stop_ids.contains(&token) {
            break Finish::StopToken(token);
        }
        tokens.push(token);
        let bytes = tokens
            .iter()
            .flat_map(|token| tokenizer.token_bytes(*token));
        text = String::from_utf8_lossy(&bytes.flatten().copied().collect::<Vec<u8>>()).into_owned();
        let stops = stop_strings.iter().filter_map(|stop| text.find(stop));
        if let Some(end) = stops.min() {
            text.truncate(end);
            break Finish::StopString;
        }
        logits = session.forward(&[token], Wanted::Last).unwrap();
    };
    Answer {
        tokens,
        text,
        finish,
    }
}
