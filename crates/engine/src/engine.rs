//! The engine: many requests on one batch, a step at a time.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;

use thalweg_rwkv::{Batch, Part, Wanted};
use thalweg_tokenizer::Tokenizer;

use crate::intake::{Intake, Line};
use crate::queue::{Queue, QueueLimits};
use crate::scheduler::{Scheduler, Share};
use crate::sequence::Sequence;
use crate::{Error, Finish, Handle, Request, Snapshot, Submitter, Token};

/// How an [`Engine`] divides its batch.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Sequences at once, at most as many as the batch has slots, which is the default.
    pub sequences: Option<usize>,
    /// Tokens of a step, of all sequences together, at most as many as the batch takes, which is the default. Fewer make
    /// those that generate wait less for those that read.
    pub step_tokens: Option<usize>,
    /// Requests that may wait for a slot.
    pub queue_requests: usize,
    /// Tokens of their prompts, all together.
    pub queue_tokens: usize,
    /// Most tokens that a request may ask for.
    pub longest_reply: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            sequences: None,
            step_tokens: None,
            queue_requests: 1024,
            queue_tokens: 1 << 24,
            longest_reply: 1 << 20,
        }
    }
}

/// Answers many requests at once on one [`Batch`].
///
/// Every step reads some tokens of many sequences together: one of each that generates, and of prompts as much as the
/// step still takes. So a long prompt never holds the others up for longer than a step, and what a request gets depends
/// on no other: not on who is beside it, nor on its slot, nor on how its prompt was cut.
///
/// The engine computes in [`step`](Engine::step) and nowhere else, on the thread that calls it. [`spawn`](Engine::spawn)
/// gives it a thread of its own; where there are none, [`tokens`](Engine::tokens) steps as tokens are asked for.
///
/// A sequence whose numbers run away fails alone; those that shared its step are read again. Any other failure of a step
/// (a device that was lost, say) fails what is running, with [`Error::Step`]. The engine goes on with what is waiting if
/// its slots can still be reset, and ends with [`Error::Stopped`] for everybody if not.
///
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use thalweg_engine::{Engine, EngineOptions, Request, SamplerSettings};
/// # use thalweg_gguf::GgufFile;
/// # use thalweg_rwkv::{CpuBatch, CpuModel};
/// # use thalweg_tokenizer::Tokenizer;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = GgufFile::open(Path::new("../../assets/thalweg-demo-29m-q4_k_m.gguf"))?;
/// let tokenizer = Arc::new(Tokenizer::from_gguf(file.metadata())?);
/// let batch = CpuBatch::new(Arc::new(CpuModel::load(file)?), 4, 128)?;
/// let engine = Engine::new(batch, tokenizer, EngineOptions::default())?.spawn()?;
///
/// let mut request = Request::new("Once upon a time");
/// request.until.tokens = 8;
/// request.sampler = SamplerSettings::greedy();
/// for token in engine.submit(request)? {
///     print!("{}", token?.text);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Engine<B> {
    batch: B,
    intake: Arc<Intake>,
    scheduler: Scheduler,
    /// By slot.
    running: Vec<Option<Sequence>>,
}

impl<B: Batch> Engine<B> {
    /// An engine on a batch that nobody else uses.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if an option is 0 or more than the batch has; errors of the batch.
    pub fn new(
        mut batch: B,
        tokenizer: Arc<Tokenizer>,
        options: EngineOptions,
    ) -> Result<Self, Error> {
        let sequences = within("sequences", options.sequences, batch.slots())?;
        let step_tokens = within("step-tokens", options.step_tokens, batch.largest_step())?;
        for slot in 0..batch.slots() {
            batch.reset(slot)?;
        }
        let limits = QueueLimits {
            requests: options.queue_requests,
            tokens: options.queue_tokens,
        };
        let intake = Intake {
            tokenizer,
            hp: batch.hyperparameters().clone(),
            longest_reply: options.longest_reply,
            line: Mutex::new(Line {
                queue: Queue::new(limits),
                closed: None,
            }),
            arrived: Condvar::new(),
            is_closing: AtomicBool::new(false),
        };
        Ok(Self {
            batch,
            intake: Arc::new(intake),
            scheduler: Scheduler::new(sequences, step_tokens),
            running: std::iter::repeat_with(|| None).take(sequences).collect(),
        })
    }

    /// Takes a request, which waits for a slot and is then worked on in every step.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the request (see [`Request`]); [`Error::QueueFull`]; [`Error::Stopped`].
    pub fn submit(&self, request: Request) -> Result<Handle, Error> {
        self.submitter().submit(request)
    }

    /// The same, but each token is handed to `on_token` as soon as it is chosen, on the thread that steps, which waits
    /// meanwhile. Breaking off cancels the request. The handle tells of the end alone.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn submit_with(
        &self,
        request: Request,
        on_token: impl FnMut(Token) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Handle, Error> {
        self.submitter().submit_with(request, on_token)
    }

    /// Takes a request for several continuations of one prompt, which is read once. They differ in their seeds, which
    /// count up from the request's.
    ///
    /// # Errors
    ///
    /// The same; all continuations count as requests that wait.
    pub fn submit_fork(
        &self,
        request: Request,
        continuations: usize,
    ) -> Result<Vec<Handle>, Error> {
        self.submitter().submit_fork(request, continuations)
    }

    /// Takes requests from other threads.
    pub fn submitter(&self) -> Submitter {
        Submitter::new(Arc::clone(&self.intake))
    }

    /// The tokens of a request, for which the engine steps as long as they are not there yet. Other requests go on
    /// meanwhile; their tokens wait in their handles.
    pub fn tokens<'a>(&'a mut self, handle: &'a mut Handle) -> Tokens<'a, B> {
        Tokens {
            engine: self,
            handle,
        }
    }

    /// Whether there is anything to do.
    pub fn is_busy(&self) -> bool {
        self.running.iter().any(Option::is_some) || !self.intake.lock().queue.is_empty()
    }

    /// Does one step: lets go of what was cancelled, fills free slots, reads a budget of tokens, chooses where all is
    /// read. Failures are told to the requests they concern. Returns whether there is more to do.
    pub fn step(&mut self) -> bool {
        let stepped = self.let_go().and_then(|()| self.fill_slots());
        match stepped.and_then(|()| self.read()) {
            Ok(()) => {}
            Err(error) => self.fail_running(error),
        }
        self.is_busy()
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Ends what was cancelled, in slots and in the queue.
    fn let_go(&mut self) -> Result<(), Error> {
        let mut cancelled = self.intake.lock().queue.take_out(Sequence::is_cancelled);
        for slot in 0..self.running.len() {
            if self.running[slot]
                .as_ref()
                .is_some_and(Sequence::is_cancelled)
            {
                cancelled.extend(self.vacate(slot)?);
            }
        }
        for mut sequence in cancelled {
            self.pass_on(&mut sequence);
            sequence.finish(Finish::Interrupted, None);
        }
        Ok(())
    }

    /// Continuations of a prompt whose first reader ended early are not lost: the next of them reads it.
    fn pass_on(&self, ended: &mut Sequence) {
        if let Some(successor) = ended.take_successor() {
            self.intake.lock().queue.push_front(successor);
        }
    }

    /// Takes a sequence out of its slot, which is zeroed for the next.
    fn vacate(&mut self, slot: usize) -> Result<Option<Sequence>, Error> {
        let sequence = self.running[slot].take();
        self.batch.reset(slot)?;
        Ok(sequence)
    }

    fn fill_slots(&mut self) -> Result<(), Error> {
        while let Some(slot) = self.running.iter().position(Option::is_none) {
            let next = self.intake.lock().queue.pop();
            let Some(sequence) = next else { break };
            self.running[slot] = Some(sequence);
            self.scheduler.enter(slot);
            if let Some(logits) = self.begin(slot)? {
                self.arrive(slot, &logits)?;
            }
        }
        Ok(())
    }

    /// Brings a slot, fresh or spoilt, to where its sequence begins, or to the nearest known state after that. Returns
    /// the logits there if nothing is left to be read.
    fn begin(&mut self, slot: usize) -> Result<Option<Vec<f32>>, Error> {
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(None);
        };
        let Some(start) = sequence.start().cloned() else {
            self.batch.reset(slot)?;
            sequence.begin_at(0);
            return Ok(None);
        };
        self.batch.set_state(slot, &start.snapshot.state)?;
        sequence.begin_at(start.tokens);
        Ok(start
            .snapshot
            .logits
            .clone()
            .filter(|_| sequence.is_last(0)))
    }

    /// Reads the next tokens of all that are in slots.
    fn read(&mut self) -> Result<(), Error> {
        let ready = |sequence: &Option<Sequence>| sequence.as_ref().map_or(0, |s| s.ready(None));
        let ready: Vec<usize> = self.running.iter().map(ready).collect();
        let shares = self.scheduler.plan(&ready);
        if shares.is_empty() {
            return Ok(());
        }
        match self.forward(&shares) {
            Ok(logits) => self.hand_out(&shares, &logits),
            Err(error) => self.recover(&shares, error),
        }
    }

    fn forward(&mut self, shares: &[Share]) -> Result<Vec<f32>, thalweg_rwkv::Error> {
        let part = |share: &Share| {
            let sequence = self.running[share.slot].as_ref()?;
            Some(Part {
                slot: share.slot,
                tokens: sequence.next(share.tokens),
                wanted: match sequence.is_last(share.tokens) {
                    true => Wanted::Last,
                    false => Wanted::Nothing,
                },
            })
        };
        let parts: Vec<Part<'_>> = shares.iter().filter_map(part).collect();
        self.batch.forward(&parts)
    }

    /// Gives every sequence what its part of the step brought.
    fn hand_out(&mut self, shares: &[Share], logits: &[f32]) -> Result<(), Error> {
        let mut rows = logits.chunks_exact(self.intake.hp.vocab);
        for share in shares {
            let Some(sequence) = &mut self.running[share.slot] else {
                continue;
            };
            let is_last = sequence.is_last(share.tokens);
            sequence.advance(share.tokens);
            if is_last {
                let row = rows.next().ok_or(Error::NoLogits)?;
                self.arrive(share.slot, row)?;
            }
        }
        Ok(())
    }

    /// All tokens of a sequence are read, and these are the logits after them: it goes on or ends.
    fn arrive(&mut self, slot: usize, logits: &[f32]) -> Result<(), Error> {
        self.let_followers_go(slot, logits)?;
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(());
        };
        match sequence.choose(logits, &self.intake.tokenizer) {
            Ok(None) => Ok(()),
            Ok(Some(finish)) => self.finish(slot, finish, logits),
            Err(error) => self.fail(slot, error),
        }
    }

    /// At the end of a prompt those that wait for it queue up to begin there.
    fn let_followers_go(&mut self, slot: usize, logits: &[f32]) -> Result<(), Error> {
        let Some(sequence) = &mut self.running[slot] else {
            return Ok(());
        };
        if sequence.followers.is_empty() {
            return Ok(());
        }
        let followers = std::mem::take(&mut sequence.followers);
        let snapshot = self.snapshot(slot, logits)?;
        let mut line = self.intake.lock();
        for mut follower in followers.into_iter().rev() {
            follower.follow(Arc::clone(&snapshot));
            line.queue.push_front(follower);
        }
        Ok(())
    }

    fn snapshot(&mut self, slot: usize, logits: &[f32]) -> Result<Arc<Snapshot>, Error> {
        Ok(Arc::new(Snapshot {
            state: self.batch.state(slot)?,
            logits: Some(logits.to_vec()),
        }))
    }

    fn finish(&mut self, slot: usize, finish: Finish, logits: &[f32]) -> Result<(), Error> {
        let keeps = self.running[slot]
            .as_ref()
            .is_some_and(Sequence::keeps_snapshot);
        let snapshot = match keeps {
            true => Some(self.snapshot(slot, logits)?),
            false => None,
        };
        if let Some(sequence) = self.vacate(slot)? {
            sequence.finish(finish, snapshot);
        }
        Ok(())
    }

    /// Ends one sequence with an error of its own.
    fn fail(&mut self, slot: usize, error: Error) -> Result<(), Error> {
        if let Some(mut sequence) = self.vacate(slot)? {
            self.pass_on(&mut sequence);
            sequence.fail(error);
        }
        Ok(())
    }

    /// After a failed step the logits of all are lost. If one sequence is to blame, it alone fails, and the others read
    /// again what they have read.
    fn recover(&mut self, shares: &[Share], error: thalweg_rwkv::Error) -> Result<(), Error> {
        let thalweg_rwkv::Error::Sequence { slot: guilty, .. } = error else {
            return Err(error.into());
        };
        self.fail(guilty, error.into())?;
        for share in shares.iter().filter(|share| share.slot != guilty) {
            self.begin(share.slot)?;
        }
        Ok(())
    }

    /// The batch has failed, and with it everything in slots. What waits goes on if the slots can be used again.
    fn fail_running(&mut self, error: Error) {
        let reason = error.to_string();
        let shared = match error {
            Error::Model(error) => Some(Arc::new(error)),
            _ => None,
        };
        for slot in 0..self.running.len() {
            if let Some(mut sequence) = self.running[slot].take() {
                self.pass_on(&mut sequence);
                sequence.fail(match &shared {
                    Some(error) => Error::Step(Arc::clone(error)),
                    None => Error::stopped(&reason),
                });
            }
        }
        for slot in 0..self.batch.slots() {
            if let Err(error) = self.batch.reset(slot) {
                return self.intake.close(&format!("{reason}, and then {error}"));
            }
        }
    }
}

/// What is running and waiting hears that nobody works on it any more.
impl<B> Drop for Engine<B> {
    fn drop(&mut self) {
        self.intake.close("it was dropped");
    }
}

/// The tokens of a request, from an engine that steps as they are asked for. See [`Engine::tokens`].
pub struct Tokens<'a, B> {
    engine: &'a mut Engine<B>,
    handle: &'a mut Handle,
}

impl<B: Batch> Iterator for Tokens<'_, B> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Poll::Ready(next) = self.handle.try_next() {
                return next;
            }
            if !self.engine.step() {
                return match self.handle.try_next() {
                    Poll::Ready(next) => next,
                    Poll::Pending => Some(Err(Error::stopped("the request is another engine's"))),
                };
            }
        }
    }
}

/// An option, or all there is; refused if it is neither.
fn within(name: &'static str, found: Option<usize>, most: usize) -> Result<usize, Error> {
    let found = found.unwrap_or(most);
    if (1..=most).contains(&found) {
        return Ok(found);
    }
    Err(Error::Setting {
        name,
        found: found.to_string(),
        expected: "a whole number from 1 to what the batch has",
    })
}
