//! What each dispatch of a plan takes on the device, by its timestamps.

use thalweg_shaders::kernels::Variant;

use crate::buffer::{Allocation, ReadBuffer};
use crate::plan::{Dispatch, Part, Plan, Submission, set};
use crate::{Context, Error, Feature, Work};

/// wgpu's bound on the timestamps of one query set.
const MOST_QUERIES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize;

/// Where a device can take timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamps {
    /// Between two dispatches of a pass, so that a plan is measured as it runs but for the timestamps.
    InPasses,
    /// At the ends of passes alone, so that each dispatch has to be measured in a pass of its own.
    AroundPasses,
}

/// What a plan took on the device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanTimes {
    /// Every dispatch, in order, of a run with two timestamps a dispatch.
    pub dispatches: Vec<DispatchTime>,
    /// Seconds from the begin of the first pass to the end of the last one, of a run with no timestamps but these two; those
    /// of all submissions together.
    pub seconds: f64,
}

/// What one dispatch took.
#[derive(Debug, Clone, PartialEq)]
pub struct DispatchTime {
    /// The kernel's name.
    pub kernel: String,
    /// Which optional features it uses.
    pub variant: Variant,
    /// The number of its submission. The device is waited for between two submissions.
    pub submission: usize,
    /// Seconds from the plan's first timestamp to the one before the dispatch.
    pub begin_s: f64,
    /// Seconds from there to the timestamp behind it. Between dispatches of one pass the first one is taken when what was before is
    /// done, so time that the device idles between the two counts here; around passes it does not.
    pub seconds: f64,
    /// Its estimated work.
    pub work: Work,
}

impl Context {
    /// Where the device takes timestamps, if it has any and they are in use.
    pub fn timestamps(&self) -> Option<Timestamps> {
        let inside = wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES;
        match self.has(Feature::Timestamps) {
            false => None,
            true if self.device().features().contains(inside) => Some(Timestamps::InPasses),
            true => Some(Timestamps::AroundPasses),
        }
    }
}

impl Plan {
    /// Replays the plan twice: once with timestamps at its ends, once with two for every dispatch. On a device without
    /// timestamps it does neither, and nothing is found.
    ///
    /// # Errors
    /// The plan has more dispatches in one submission than timestamps fit into a query set; errors of the device.
    pub fn profile(&self, context: &Context) -> Result<PlanTimes, Error> {
        let Some(timestamps) = context.timestamps() else {
            return Ok(PlanTimes::default());
        };
        let mut times = PlanTimes::default();
        for submission in &self.submissions {
            times.seconds += self.seconds_of(context, submission)?;
        }
        let mut start = None;
        for (number, submission) in self.submissions.iter().enumerate() {
            let ticks = self.ticks_of(context, submission, timestamps)?;
            let start = *start.get_or_insert(ticks.first().map_or(0, |[begin, _]| *begin));
            let seconds = |ticks: u64| ticks as f64 * tick_s(context);
            let time = |(dispatch, [begin, end]): (&Dispatch, &[u64; 2])| DispatchTime {
                kernel: dispatch.pipeline.name().to_owned(),
                variant: dispatch.pipeline.variant(),
                submission: number,
                begin_s: seconds(begin.saturating_sub(start)),
                seconds: seconds(end.saturating_sub(*begin)),
                work: dispatch.work,
            };
            let dispatches = submission.dispatches().zip(&ticks);
            times.dispatches.extend(dispatches.map(time));
        }
        Ok(times)
    }

    /// The ticks before and behind each dispatch.
    fn ticks_of(
        &self,
        context: &Context,
        submission: &Submission,
        timestamps: Timestamps,
    ) -> Result<Vec<[u64; 2]>, Error> {
        let clock = Clock::new(context, &self.label, submission.dispatches().count())?;
        let mut pair = 0;
        clock.run(context, self, submission, |encoder, dispatches| {
            match timestamps {
                Timestamps::InPasses => between(encoder, dispatches, &clock.queries, pair),
                Timestamps::AroundPasses => around(encoder, dispatches, &clock.queries, pair),
            }
            pair += dispatches.len() as u32;
        })
    }

    /// Seconds from the begin of the first pass to the end of the last one.
    fn seconds_of(&self, context: &Context, submission: &Submission) -> Result<f64, Error> {
        let passes = submission.parts.iter();
        let passes = passes.filter(|part| matches!(part, Part::Pass(_))).count();
        if passes == 0 {
            return Ok(0.0);
        }
        let clock = Clock::new(context, &self.label, 1)?;
        let mut pass = 0;
        let ticks = clock.run(context, self, submission, |encoder, dispatches| {
            pass += 1;
            let (begin, end) = ((pass == 1).then_some(0), (pass == passes).then_some(1));
            stamped_pass(encoder, dispatches, &clock.queries, [begin, end]);
        })?;
        let ticks = ticks.iter().map(|[begin, end]| end.saturating_sub(*begin));
        Ok(ticks.sum::<u64>() as f64 * tick_s(context))
    }
}

fn tick_s(context: &Context) -> f64 {
    f64::from(context.timestamp_period_ns()) * 1e-9
}

/// Pairs of timestamps, and how they come to the host.
struct Clock {
    queries: wgpu::QuerySet,
    pairs: usize,
    resolved: Allocation,
    read: ReadBuffer,
}

impl Clock {
    fn new(context: &Context, label: &str, pairs: usize) -> Result<Clock, Error> {
        let queries = 2 * pairs;
        if pairs == 0 || queries > MOST_QUERIES {
            return Err(Error::Limit {
                what: format!("profiling {label}"),
                limit: "timestamps of a submission",
                needed: queries as u64,
                offered: MOST_QUERIES as u64,
                adapter: context.adapter().name.clone(),
            });
        }
        let bytes = 8 * queries as u64;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count: queries as u32,
        };
        Ok(Clock {
            queries: context.scoped("making timestamps", 0, || {
                context.device().create_query_set(&descriptor)
            })?,
            pairs,
            resolved: Allocation::new(context, "timestamps", bytes, usage)?,
            read: ReadBuffer::new(context, "timestamps", bytes)?,
        })
    }

    /// Runs the submission with its passes encoded by `encode`, and returns the pairs of ticks.
    fn run(
        &self,
        context: &Context,
        plan: &Plan,
        submission: &Submission,
        mut encode: impl FnMut(&mut wgpu::CommandEncoder, &[Dispatch]),
    ) -> Result<Vec<[u64; 2]>, Error> {
        let (resolved, read) = (self.resolved.wgpu(), self.read.wgpu());
        let commands = context.scoped("encoding with timestamps", 0, || {
            let mut encoder = context
                .device()
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for part in &submission.parts {
                match part {
                    Part::Copy(copy) => copy.encode(&mut encoder, 0),
                    Part::Pass(dispatches) => encode(&mut encoder, dispatches),
                }
            }
            encoder.resolve_query_set(&self.queries, 0..2 * self.pairs as u32, resolved, 0);
            encoder.copy_buffer_to_buffer(resolved, 0, read, 0, self.read.bytes());
            encoder.finish()
        })?;
        context.submit(commands, submission.work, &plan.label)?;
        let mut ticks = vec![[0u64; 2]; self.pairs];
        self.read.read(context, 0, &mut ticks)?;
        Ok(ticks)
    }
}

/// One pass, a timestamp before and after each dispatch.
fn between(
    encoder: &mut wgpu::CommandEncoder,
    dispatches: &[Dispatch],
    queries: &wgpu::QuerySet,
    first_pair: u32,
) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for (pair, dispatch) in (first_pair..).zip(dispatches) {
        pass.write_timestamp(queries, 2 * pair);
        set(&mut pass, dispatch);
        pass.write_timestamp(queries, 2 * pair + 1);
    }
}

/// A pass for each dispatch, with timestamps at its ends.
fn around(
    encoder: &mut wgpu::CommandEncoder,
    dispatches: &[Dispatch],
    queries: &wgpu::QuerySet,
    first_pair: u32,
) {
    for (pair, dispatch) in (first_pair..).zip(dispatches) {
        let ends = [Some(2 * pair), Some(2 * pair + 1)];
        stamped_pass(encoder, std::slice::from_ref(dispatch), queries, ends);
    }
}

/// One pass with timestamps where it begins and ends, if they have a number.
fn stamped_pass(
    encoder: &mut wgpu::CommandEncoder,
    dispatches: &[Dispatch],
    query_set: &wgpu::QuerySet,
    [begin, end]: [Option<u32>; 2],
) {
    let is_stamped = begin.or(end).is_some();
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: None,
        timestamp_writes: is_stamped.then_some(wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: begin,
            end_of_pass_write_index: end,
        }),
    });
    dispatches
        .iter()
        .for_each(|dispatch| set(&mut pass, dispatch));
}
