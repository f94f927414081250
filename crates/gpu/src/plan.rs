//! Plans: dispatches and copies, bound once and replayed.

use std::ops::Range;
use std::sync::Mutex;

use crate::buffer::Allocation;
use crate::scope::lock;
use crate::tally::{Count, Phase};
use crate::{Context, Error, Pipeline, Work};

/// Seconds of estimated work after which a new submission starts. Watchdogs bite at two seconds.
pub(crate) const SUBMISSION_SECONDS: f64 = 0.5;

/// How often a plan is gone through in one submission of a run that repeats it: to encode all of a long run before any of it
/// begins would keep the device waiting (0.27 ms for each 164 dispatches), and the host is far ahead of the device anyway.
const TIMES_AHEAD: usize = 8;

/// Dispatches and copies in the order in which they run, made by a [`PlanBuilder`](crate::PlanBuilder).
///
/// A replay compiles, binds and allocates nothing: it encodes the list and submits it, all at once or in several
/// submissions if the device would be busy for too long with one.
#[derive(Debug)]
pub struct Plan {
    pub(crate) label: String,
    pub(crate) submissions: Vec<Submission>,
    /// The commands of the next run, if they were encoded ahead.
    pub(crate) prepared: Mutex<Prepared>,
    /// The parameters that the bind groups point into.
    pub(crate) _uniforms: Option<Allocation>,
}

/// Commands for a run that is to come.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// How often it goes through the plan.
    times: usize,
    pieces: Vec<(wgpu::CommandBuffer, Work)>,
}

/// What is handed to the device in one piece.
#[derive(Debug, Default)]
pub(crate) struct Submission {
    pub(crate) parts: Vec<Part>,
    pub(crate) work: Work,
}

#[derive(Debug)]
pub(crate) enum Part {
    /// One compute pass.
    Pass(Vec<Dispatch>),
    Copy(Copy),
}

#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) pipeline: Pipeline,
    pub(crate) bind_group: wgpu::BindGroup,
    pub(crate) grid: [u32; 3],
    /// Of all that is bound.
    pub(crate) bound_bytes: u64,
    pub(crate) work: Work,
}

#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) from: wgpu::Buffer,
    pub(crate) from_offset: u64,
    pub(crate) to: wgpu::Buffer,
    pub(crate) to_offset: u64,
    /// How much further it goes each time in a run that repeats the plan.
    pub(crate) stride: u64,
    pub(crate) bytes: u64,
}

impl Plan {
    /// Submits everything once more. Returns as soon as the device has it; a read or a wait shows when it is done.
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        self.repeat(context, 1)
    }

    /// The same several times over, each after the one before, without waiting for any. While the device does the first of
    /// them the next are encoded. What the plan [collects](crate::PlanBuilder::collect) of each time lies one behind the other.
    pub fn repeat(&self, context: &Context, times: usize) -> Result<(), Error> {
        let prepared = std::mem::take(&mut *lock(&self.prepared));
        let mut done = 0;
        if prepared.times <= times {
            for (commands, work) in prepared.pieces {
                context.submit(commands, work, &self.label)?;
            }
            done = prepared.times;
        }
        while done < times {
            let next = times.min(done + TIMES_AHEAD);
            for (commands, work) in self.encode(context, done..next) {
                context.submit(commands, work, &self.label)?;
            }
            done = next;
        }
        Ok(())
    }

    /// Encodes the next run ahead. Done while the device is busy, it costs no time.
    pub fn prepare(&self, context: &Context) {
        self.prepare_repeat(context, 1);
    }

    /// Likewise for a run that repeats the plan so many times, as many of them as keep the device busy until the next are
    /// encoded.
    pub fn prepare_repeat(&self, context: &Context, times: usize) {
        let times = times.min(TIMES_AHEAD);
        let mut prepared = lock(&self.prepared);
        if prepared.times != times {
            let pieces = self.encode(context, 0..times);
            *prepared = Prepared { times, pieces };
        }
    }

    /// What the device is handed for these times of a run: of a plan that is one piece several at once, unless that keeps the
    /// device busy for too long, else each of its pieces in turn.
    fn encode(&self, context: &Context, times: Range<usize>) -> Vec<(wgpu::CommandBuffer, Work)> {
        let at_once = match self.submissions.as_slice() {
            [one] => ((SUBMISSION_SECONDS / context.rate().seconds(one.work)) as usize).max(1),
            _ => 1,
        };
        let Range { start, end } = times;
        let firsts = (start..end).step_by(at_once);
        let ranges = firsts.map(|first| first..end.min(first.saturating_add(at_once)));
        ranges
            .flat_map(|range| {
                let pieces = self.submissions.iter();
                pieces.map(move |piece| {
                    let work = range
                        .clone()
                        .fold(Work::default(), |sum, _| sum + piece.work);
                    (piece.encode(context, range.clone()), work)
                })
            })
            .collect()
    }

    /// Dispatches of one replay.
    pub fn dispatches(&self) -> usize {
        let dispatches = self
            .submissions
            .iter()
            .map(|submission| submission.dispatches().count());
        dispatches.sum()
    }

    /// How many submissions one replay is divided into.
    pub fn submissions(&self) -> usize {
        self.submissions.len()
    }

    /// The work of one replay.
    pub fn work(&self) -> Work {
        self.submissions
            .iter()
            .fold(Work::default(), |sum, submission| sum + submission.work)
    }

    /// The seconds that the longest submission takes on a slow device of the context's kind. More than about one says
    /// that a single dispatch is too large, and with it the chunk.
    pub fn longest_submission_s(&self, context: &Context) -> f64 {
        self.submissions
            .iter()
            .map(|submission| context.rate().seconds(submission.work))
            .fold(0.0, f64::max)
    }
}

impl Submission {
    /// The commands for these of the times that a run goes through the plan.
    pub(crate) fn encode(&self, context: &Context, times: Range<usize>) -> wgpu::CommandBuffer {
        self.count(context, times.len() as u64);
        context.tally().time(Phase::Encode, || {
            let mut encoder = context
                .device()
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for time in times {
                for part in &self.parts {
                    match part {
                        Part::Pass(dispatches) => encode_pass(&mut encoder, dispatches),
                        Part::Copy(copy) => copy.encode(&mut encoder, time),
                    }
                }
            }
            encoder.finish()
        })
    }

    /// Counts what is encoded.
    fn count(&self, context: &Context, times: u64) {
        let copies = self
            .parts
            .iter()
            .filter(|part| matches!(part, Part::Copy(_)));
        let (copies, dispatches) = (copies.count() as u64, self.dispatches().count() as u64);
        let bound_bytes: u64 = self.dispatches().map(|dispatch| dispatch.bound_bytes).sum();
        let commands = COMMANDS_OF_A_DISPATCH * dispatches + copies;
        let tally = context.tally();
        tally.add(Count::Commands, times * commands);
        tally.add(Count::Dispatches, times * dispatches);
        tally.add(Count::BoundBytes, times * bound_bytes);
    }

    pub(crate) fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.parts.iter().flat_map(|part| match part {
            Part::Pass(dispatches) => dispatches.as_slice(),
            Part::Copy(_) => &[],
        })
    }
}

impl Copy {
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder, time: usize) {
        encoder.copy_buffer_to_buffer(
            &self.from,
            self.from_offset,
            &self.to,
            self.to_offset + time as u64 * self.stride,
            self.bytes,
        );
    }
}

fn encode_pass(encoder: &mut wgpu::CommandEncoder, dispatches: &[Dispatch]) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    dispatches
        .iter()
        .for_each(|dispatch| set(&mut pass, dispatch));
}

/// As many as [`set`] encodes.
const COMMANDS_OF_A_DISPATCH: u64 = 3;

pub(crate) fn set(pass: &mut wgpu::ComputePass<'_>, dispatch: &Dispatch) {
    let [x, y, z] = dispatch.grid;
    pass.set_pipeline(dispatch.pipeline.wgpu());
    pass.set_bind_group(0, &dispatch.bind_group, &[]);
    pass.dispatch_workgroups(x, y, z);
}
