//! The engine: many requests on one batch, a step at a time.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use thalweg_rwkv::Batch;
use thalweg_tokenizer::Tokenizer;

use crate::intake::{Intake, Line};
use crate::memory::Memory;
use crate::pace::Pace;
use crate::queue::{Queue, QueueLimits};
use crate::scheduler::Scheduler;
use crate::sequence::Sequence;
use crate::speculation::{DraftModel, Policy, Rehearsals, check_draft_vocabulary};
use crate::{Error, Handle, PrefixCache, Request, Submitter, Token};

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
/// step still takes. So a long prompt never holds the others up for longer than a step. What a request gets depends on no
/// other: not on who is beside it, nor on its slot, nor on how its prompt was cut. On the CPU that holds to the last bit,
/// elsewhere as exactly as the batch says.
///
/// When nothing is left but to go on, a device makes many steps in one, about 50 ms of them; what they computed beyond the
/// end of a sequence is thrown away. Where the state at the end is wanted (for a snapshot or the cache), that takes a
/// slot of the batch beyond those for sequences, one for each sequence; without them such sequences keep to single steps.
///
/// For requests that ask for it, what may come next is guessed where that is faster, and several tokens are read at once:
/// see [`Speculation`](crate::Speculation).
///
/// The engine computes in [`step`](Engine::step) and nowhere else, on the thread that calls it. [`spawn`](Engine::spawn)
/// gives it a thread of its own; where there are none, [`tokens`](Engine::tokens) steps as tokens are asked for.
///
/// A sequence whose numbers run away fails alone, with [`Error::Runaway`]. Any other failure of a step (a device that was lost, say) fails what is
/// running, with [`Error::Step`]. The engine goes on with what is waiting if
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
/// let batch = CpuBatch::new(Arc::new(CpuModel::load(file)?), 4);
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
pub struct Engine<B: Batch> {
    pub(crate) batch: B,
    pub(crate) intake: Arc<Intake>,
    pub(crate) scheduler: Scheduler,
    /// By slot.
    pub(crate) running: Vec<Option<Sequence>>,
    pub(crate) memory: Option<Memory>,
    /// Slots for states from before a loop, to go back to.
    pub(crate) marks: Range<usize>,
    pub(crate) pace: Pace,
    pub(crate) policy: Policy,
    pub(crate) draft: Option<DraftModel<B>>,
    pub(crate) rehearsals: Rehearsals,
    /// The time since some moment.
    pub(crate) clock: Box<dyn Fn() -> Duration + Send>,
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
        let marks = match batch.longest_loop() {
            1 => 0,
            _ => sequences.min(batch.slots() - sequences),
        };
        let marks = sequences..sequences + marks;
        let limits = QueueLimits {
            requests: options.queue_requests,
            tokens: options.queue_tokens,
        };
        let intake = Intake {
            tokenizer,
            hp: batch.hyperparameters().clone(),
            longest_reply: options.longest_reply,
            has_draft_model: AtomicBool::new(false),
            line: Mutex::new(Line {
                queue: Queue::new(limits),
                closed: None,
            }),
            arrived: Condvar::new(),
        };
        Ok(Self {
            batch,
            intake: Arc::new(intake),
            scheduler: Scheduler::new(sequences, step_tokens),
            running: std::iter::repeat_with(|| None).take(sequences).collect(),
            memory: None,
            marks,
            pace: Pace::new(),
            policy: Policy::new(),
            draft: None,
            rehearsals: Rehearsals::default(),
            clock: system_clock(),
        })
    }

    /// Measures by another clock what steps take, on which it depends how many are made together and whether anything is guessed:
    /// for tests that are to go the same way each time. It tells the time since some moment.
    pub fn with_clock(mut self, clock: impl Fn() -> Duration + Send + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
    }

    /// Remembers states at the ends of prompts and replies, and within long prompts, so that what begins like an earlier
    /// text is read from there. Slots of the batch beyond those for sequences (on a device, beyond twice as many) are the cache's first tier: what is there is
    /// copied without leaving the device. What the slots do not hold goes to `cache`.
    ///
    /// ```
    #[doc = include_str!("doc_setup.txt")]
    /// let mut engine = engine.with_cache(PrefixCache::new(64 << 20));
    /// let mut resumed = 0;
    /// for _ in 0..2 {
    ///     let mut handle = engine.submit(request.clone())?;
    ///     engine.tokens(&mut handle).for_each(drop);
    ///     resumed = handle.ending().map_or(0, |ending| ending.resumed);
    /// }
    /// assert!(resumed > 0); // the second time the prompt was known
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_cache(mut self, cache: PrefixCache) -> Self {
        let spare = self.marks.end..self.batch.slots();
        self.memory = Some(Memory::new(cache, spare));
        self
    }

    /// Has a small model guess the next tokens of requests that want it ([`Speculation`](crate::Speculation)). It takes two
    /// slots of a batch of its own for each sequence, and reads what the model reads. Should its numbers run away, it
    /// guesses no more for that sequence; should it fail, for none.
    ///
    /// ```
    #[doc = include_str!("doc_setup.txt")]
    /// # use thalweg_engine::Speculation;
    /// # let file = GgufFile::open(Path::new("../../assets/thalweg-demo-29m-q4_k_m.gguf"))?;
    /// let draft_tokenizer = Tokenizer::from_gguf(file.metadata())?;
    /// let draft = CpuBatch::new(Arc::new(CpuModel::load(file)?), 2 * 4);
    /// let mut engine = engine.with_draft_model(draft, &draft_tokenizer)?;
    /// request.speculation = Speculation::Draft;
    /// let mut handle = engine.submit(request)?;
    /// for token in engine.tokens(&mut handle) {
    ///     print!("{}", token?.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DraftVocabulary`] if a token of its is not the model's; [`Error::DraftLogits`] if its logits are not as many
    /// as the model's; [`Error::Setting`] if its slots are too few.
    pub fn with_draft_model(mut self, draft: B, tokenizer: &Tokenizer) -> Result<Self, Error> {
        check_draft_vocabulary(&self.intake.tokenizer, tokenizer)?;
        let (found, expected) = (
            draft.hyperparameters().vocab,
            self.batch.hyperparameters().vocab,
        );
        if found != expected {
            return Err(Error::DraftLogits { found, expected });
        }
        let sequences = self.running.len();
        if draft.slots() < DraftModel::<B>::slots_for(sequences) {
            return Err(Error::Setting {
                name: "number of the draft model's slots",
                found: draft.slots().to_string(),
                expected: "two for each sequence of the engine",
            });
        }
        self.draft = Some(DraftModel::new(draft, sequences));
        self.intake.has_draft_model.store(true, Ordering::Relaxed);
        Ok(self)
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
    /// ```
    #[doc = include_str!("doc_setup.txt")]
    /// let engine = engine.spawn()?;
    /// let handle = engine.submit_with(request, |token| {
    ///     print!("{}", token.text);
    ///     ControlFlow::Continue(())
    /// })?;
    /// let (_, ending) = handle.collect_text()?;
    /// assert_eq!(ending.tokens.len(), 8);
    /// # Ok(())
    /// # }
    /// ```
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
    /// ```
    #[doc = include_str!("doc_setup.txt")]
    /// let engine = engine.spawn()?;
    /// for handle in engine.submit_fork(request, 3)? {
    ///     println!("{}", handle.collect_text()?.0);
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    #[doc = include_str!("doc_setup.txt")]
    /// let mut handle = engine.submit(request)?;
    /// for token in engine.tokens(&mut handle) {
    ///     print!("{}", token?.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
}

/// What is running and waiting hears that nobody works on it any more. What is remembered in slots of the batch goes to the
/// cache's folder, if it has one.
impl<B: Batch> Drop for Engine<B> {
    fn drop(&mut self) {
        self.intake.close("it was dropped");
        // What a lost device had will be read again.
        let _ = self.keep_due();
        if let Some(memory) = &mut self.memory {
            let _ = memory.put_away(&mut self.batch);
        }
    }
}

/// The tokens of a request, from an engine that steps as they are asked for. See [`Engine::tokens`].
pub struct Tokens<'a, B: Batch> {
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

fn system_clock() -> Box<dyn Fn() -> Duration + Send> {
    let start = Instant::now();
    Box::new(move || start.elapsed())
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
