//! What is run and measured: reading a prompt, and steps of decoding.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use thalweg_bench::profile::{Dispatch, HostSeconds, Stage, Unit};
use thalweg_engine::SamplerSettings;
use thalweg_gpu::{Context, DispatchTime, HostTimes, PlanTimes};
use thalweg_rwkv::{Batch, GpuBatch, Logits, Next, Part, Wanted};
use thalweg_tokenizer::{StreamDecoder, Tokenizer};

use super::Args;
use crate::failure::Failure;
use crate::interrupt;
use crate::some_ids::some_ids;

/// A GPU that has idled runs at a fraction of its clock for up to two seconds.
const WARM_UP: Duration = Duration::from_millis(2000);

/// Measures what the arguments ask for.
pub(super) struct Profiler<'a> {
    args: &'a Args,
    batch: &'a mut GpuBatch,
    context: Arc<Context>,
    tokenizer: Option<&'a Tokenizer>,
}

/// What the host saw of something that it did without timestamps.
struct Timed {
    wall_s: f64,
    host: HostTimes,
}

/// What one run with timestamps found.
#[derive(Default)]
struct Recorded {
    dispatches: Vec<Dispatch>,
    device_s: f64,
}

impl<'a> Profiler<'a> {
    pub(super) fn new(
        args: &'a Args,
        batch: &'a mut GpuBatch,
        tokenizer: Option<&'a Tokenizer>,
    ) -> Profiler<'a> {
        Profiler {
            args,
            context: Arc::clone(batch.model().context()),
            batch,
            tokenizer,
        }
    }

    pub(super) fn stages(mut self) -> Result<Vec<Stage>, Failure> {
        let mut stages = Vec::new();
        if self.args.prefill > 0 {
            stages.push(self.prefill()?);
        }
        if self.args.decode > 0 {
            stages.push(self.decode()?);
        }
        Ok(stages)
    }

    fn prefill(&mut self) -> Result<Stage, Failure> {
        let ids = some_ids(self.args.prefill as usize, self.vocab());
        self.warm_up(|profiler| profiler.read(&ids).map(drop))?;
        let mut timed = self.repeated(|profiler| profiler.read(&ids))?;
        let mut recorded = self.repeated(|profiler| profiler.record_prefill(&ids))?;
        let Timed { wall_s, host } = middle(&mut timed, |timed| timed.wall_s);
        let Recorded {
            dispatches,
            device_s,
        } = middle(&mut recorded, Recorded::seconds);
        Ok(Stage {
            name: format!("prefill {}", ids.len()),
            tokens: ids.len(),
            wall_s,
            loop_s: None,
            device_s,
            host: seconds(host, 1, self.encoding_s(&ids)),
            dispatches,
        })
    }

    /// Reads the ids into an empty state.
    fn read(&mut self, ids: &[u32]) -> Result<Timed, Failure> {
        self.empty(1)?;
        self.timed(1, |profiler| {
            let read = |batch: &mut GpuBatch, part: Part<'_>| batch.forward(&[part]).map(drop);
            each_chunk(profiler.batch, ids, read)
        })
    }

    fn record_prefill(&mut self, ids: &[u32]) -> Result<Recorded, Failure> {
        self.empty(1)?;
        let mut recorded = Recorded::default();
        each_chunk(self.batch, ids, |batch, part| {
            recorded.append(batch.profile(&[part])?);
            Ok(())
        })?;
        Ok(recorded)
    }

    fn decode(&mut self) -> Result<Stage, Failure> {
        let sequences = usize::from(self.args.parallel);
        let steps = self.args.decode as usize;
        let loops = self.batch.longest_loop().min(steps);
        let mut next = self.begin_texts(sequences)?;
        let mut chosen = Vec::new();
        self.warm_up(|profiler| profiler.write(&mut next, 1, &mut chosen))?;
        chosen.clear();
        let mut timed = self.repeated(|profiler| {
            profiler.timed(steps, |profiler| profiler.write(&mut next, 1, &mut chosen))
        })?;
        let mut looped = self.repeated(|profiler| {
            profiler.timed(1, |profiler| profiler.write(&mut next, loops, &mut chosen))
        })?;
        let mut recorded = self.repeated(|profiler| {
            let mut recorded = Recorded::default();
            recorded.append(profiler.batch.profile_decode(&next)?);
            Ok(recorded)
        })?;
        let Timed { wall_s, host } = middle(&mut timed, |timed| timed.wall_s);
        let looped = middle(&mut looped, |timed| timed.wall_s);
        let Recorded {
            dispatches,
            device_s,
        } = middle(&mut recorded, Recorded::seconds);
        Ok(Stage {
            name: match sequences {
                1 => "decode".to_owned(),
                several => format!("decode x{several}"),
            },
            tokens: sequences,
            wall_s: wall_s / steps as f64,
            loop_s: Some(looped.wall_s / loops as f64),
            device_s,
            host: seconds(
                host,
                steps,
                self.decoding_s(&chosen).map(|s| s * sequences as f64),
            ),
            dispatches,
        })
    }

    /// Has so many slots begin a text.
    fn begin_texts(&mut self, sequences: usize) -> Result<Vec<Next>, Failure> {
        let ids = some_ids(sequences, self.vocab());
        for slot in 0..sequences {
            let settings = SamplerSettings {
                seed: slot as u64,
                ..SamplerSettings::default()
            };
            self.batch.set_sampling(slot, settings.sampling(None))?;
        }
        self.empty(sequences)?;
        let next = ids.into_iter().enumerate();
        Ok(next.map(|(slot, token)| Next { slot, token }).collect())
    }

    /// Goes on with each text by so many tokens, which are added to `chosen`.
    fn write(
        &mut self,
        next: &mut [Next],
        steps: usize,
        chosen: &mut Vec<u32>,
    ) -> Result<(), Failure> {
        let of_steps = self.batch.decode(next, steps)?;
        let tokens = of_steps.iter().flatten().map(|chosen| chosen.token);
        chosen.extend(tokens);
        let last = &of_steps[(steps - 1) * next.len()..];
        for (next, chosen) in next.iter_mut().zip(last) {
            let Some(chosen) = chosen else {
                let (slots, logits) = (vec![next.slot], Logits(Vec::new()));
                return Err(thalweg_rwkv::Error::Runaway { slots, logits }.into());
            };
            next.token = chosen.token;
        }
        Ok(())
    }

    /// Empties so many slots, and waits until they are.
    fn empty(&mut self, slots: usize) -> Result<(), Failure> {
        (0..slots).try_for_each(|slot| self.batch.reset(slot))?;
        self.batch.state(0)?;
        Ok(())
    }

    /// Has kernels be compiled and the device's clock rise. A processor that computes in its place needs no more than one run.
    fn warm_up(
        &mut self,
        mut action: impl FnMut(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let until = match self.context.adapter().software {
            true => Duration::ZERO,
            false => WARM_UP,
        };
        let start = Instant::now();
        loop {
            check_interrupt()?;
            action(self)?;
            if start.elapsed() >= until {
                return Ok(());
            }
        }
    }

    fn repeated<T>(
        &mut self,
        mut action: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        for _ in 0..self.args.repeat {
            check_interrupt()?;
            all.push(action(self)?);
        }
        Ok(all)
    }

    /// Does `step` so many times, and says what all of them took.
    fn timed(
        &mut self,
        steps: usize,
        mut step: impl FnMut(&mut Self) -> Result<(), Failure>,
    ) -> Result<Timed, Failure> {
        let before = self.context.host_times();
        let start = Instant::now();
        for _ in 0..steps {
            check_interrupt()?;
            step(self)?;
        }
        Ok(Timed {
            wall_s: start.elapsed().as_secs_f64(),
            host: self.context.host_times() - before,
        })
    }

    /// Seconds to make tokens of the text of these; nothing if they have none.
    fn encoding_s(&self, ids: &[u32]) -> Option<f64> {
        let tokenizer = self.tokenizer?;
        let text = tokenizer.decode(ids).ok()?;
        let start = Instant::now();
        tokenizer.encode(&text).ok()?;
        Some(start.elapsed().as_secs_f64())
    }

    /// Seconds to make text of one of these tokens, on average; nothing if there is one that has none.
    fn decoding_s(&self, ids: &[u32]) -> Option<f64> {
        let tokenizer = self.tokenizer?;
        let mut decoder = StreamDecoder::new();
        let start = Instant::now();
        for &id in ids {
            std::hint::black_box(decoder.push(tokenizer.token_bytes(id)?));
        }
        Some(start.elapsed().as_secs_f64() / ids.len().max(1) as f64)
    }

    fn vocab(&self) -> usize {
        self.batch.hyperparameters().vocab
    }
}

impl Recorded {
    /// Adds what was measured behind what there is.
    fn append(&mut self, times: PlanTimes) {
        let last = self.dispatches.last();
        let begin_s = last.map_or(0.0, |last| last.begin_s + last.seconds);
        let submission = last.map_or(0, |last| last.submission + 1);
        let dispatches = times.dispatches.into_iter();
        self.dispatches
            .extend(dispatches.map(|time| dispatch(time, submission, begin_s)));
        self.device_s += times.seconds;
    }

    fn seconds(&self) -> f64 {
        let dispatches = self.dispatches.iter();
        dispatches.map(|dispatch| dispatch.seconds).sum()
    }
}

fn dispatch(time: DispatchTime, submission: usize, begin_s: f64) -> Dispatch {
    let unit = match time.variant {
        variant if variant.coop => Unit::Matrices,
        variant if variant.dot4 => Unit::Integers,
        _ => Unit::Floats,
    };
    Dispatch {
        kernel: time.kernel,
        unit,
        submission: submission + time.submission,
        begin_s: begin_s + time.begin_s,
        seconds: time.seconds,
        bytes: time.work.bytes,
        flops: time.work.flops,
    }
}

/// Hands the first slot's chunks of the prompt to `action`; logits are wanted after the last token.
fn each_chunk(
    batch: &mut GpuBatch,
    ids: &[u32],
    mut action: impl FnMut(&mut GpuBatch, Part<'_>) -> Result<(), thalweg_rwkv::Error>,
) -> Result<(), Failure> {
    let chunks = ids.chunks(batch.model().options().tuning.chunk as usize);
    let last = chunks.len() - 1;
    for (index, tokens) in chunks.enumerate() {
        check_interrupt()?;
        let wanted = match index == last {
            true => Wanted::Last,
            false => Wanted::Nothing,
        };
        let part = Part {
            slot: 0,
            tokens,
            wanted,
        };
        action(batch, part)?;
    }
    Ok(())
}

/// The host's times of a step, if there were so many of them.
fn seconds(times: HostTimes, steps: usize, text_s: Option<f64>) -> HostSeconds {
    let of_step = |time: Duration| time.as_secs_f64() / steps as f64;
    HostSeconds {
        write_s: of_step(times.write),
        submit_s: of_step(times.submit),
        encode_s: of_step(times.encode),
        wait_s: of_step(times.wait),
        read_back_s: of_step(times.read_back),
        text_s,
    }
}

/// The one in the middle of at least one.
fn middle<T>(all: &mut Vec<T>, seconds: impl Fn(&T) -> f64) -> T {
    all.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)));
    all.swap_remove(all.len() / 2)
}

fn check_interrupt() -> Result<(), Failure> {
    match interrupt::watch().load(Ordering::Relaxed) {
        true => Err(Failure::Interrupted),
        false => Ok(()),
    }
}
