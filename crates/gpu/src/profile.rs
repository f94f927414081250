//! What each dispatch of a plan takes on the device, by its timestamps.

use crate::buffer::{Allocation, ReadBuffer};
use crate::plan::{Dispatch, Part, Plan, Submission, set};
use crate::{Context, Error, Feature, Work};

/// wgpu's bound on the timestamps of one query set.
const MOST_QUERIES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize;

/// What one dispatch took.
#[derive(Debug, Clone, PartialEq)]
pub struct DispatchTime {
    /// The kernel's name.
    pub kernel: String,
    /// From the end of the dispatch before it to its own end, so with the gap between them; where the device has
    /// timestamps around passes only, from the begin to the end of a pass of its own.
    pub seconds: f64,
    /// Its estimated work.
    pub work: Work,
}

impl Plan {
    /// Replays the plan once and measures every dispatch; empty if the device has no timestamps.
    ///
    /// # Errors
    /// The plan has more dispatches in one submission than timestamps fit into a query set; errors of the device.
    pub fn profile(&self, context: &Context) -> Result<Vec<DispatchTime>, Error> {
        if !context.has(Feature::Timestamps) {
            self.run(context)?;
            return Ok(Vec::new());
        }
        let mut times = Vec::new();
        for submission in &self.submissions {
            times.extend(self.profile_submission(context, submission)?);
        }
        Ok(times)
    }

    fn profile_submission(
        &self,
        context: &Context,
        submission: &Submission,
    ) -> Result<Vec<DispatchTime>, Error> {
        let between_dispatches = context
            .device()
            .features()
            .contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);
        let dispatches: Vec<&Dispatch> = submission.dispatches().collect();
        let queries = 2 * dispatches.len();
        if dispatches.is_empty() || queries > MOST_QUERIES {
            return Err(Error::Limit {
                what: format!("profiling {}", self.label),
                limit: "timestamps of a submission",
                needed: queries as u64,
                offered: MOST_QUERIES as u64,
                adapter: context.adapter().name.clone(),
            });
        }
        let bytes = 8 * queries as u64;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = Allocation::new(context, "timestamps", bytes, usage)?;
        let read = ReadBuffer::new(context, "timestamps", bytes)?;
        let commands = context.scoped("encoding with timestamps", 0, || {
            let set = context
                .device()
                .create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: queries as u32,
                });
            let mut encoder = context
                .device()
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut query = 0;
            for part in &submission.parts {
                match part {
                    Part::Copy(copy) => copy.encode(&mut encoder, 0),
                    Part::Pass(pass) if between_dispatches => {
                        between(&mut encoder, pass, &set, &mut query)
                    }
                    Part::Pass(pass) => around(&mut encoder, pass, &set, &mut query),
                }
            }
            encoder.resolve_query_set(&set, 0..queries as u32, resolved.wgpu(), 0);
            encoder.copy_buffer_to_buffer(resolved.wgpu(), 0, read.wgpu(), 0, bytes);
            encoder.finish()
        })?;
        context.submit(commands, submission.work, &self.label)?;
        let mut ticks = vec![0u64; queries];
        read.read(context, 0, &mut ticks)?;
        let tick_s = f64::from(context.timestamp_period_ns()) * 1e-9;
        let times = dispatches.iter().zip(ticks.chunks_exact(2));
        Ok(times
            .map(|(dispatch, begin_end)| DispatchTime {
                kernel: dispatch.pipeline.name().to_owned(),
                seconds: begin_end[1].saturating_sub(begin_end[0]) as f64 * tick_s,
                work: dispatch.work,
            })
            .collect())
    }
}

/// One pass, a timestamp before and after each dispatch.
fn between(
    encoder: &mut wgpu::CommandEncoder,
    dispatches: &[Dispatch],
    set_of_queries: &wgpu::QuerySet,
    query: &mut u32,
) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for dispatch in dispatches {
        pass.write_timestamp(set_of_queries, *query);
        set(&mut pass, dispatch);
        pass.write_timestamp(set_of_queries, *query + 1);
        *query += 2;
    }
}

/// A pass for each dispatch, with timestamps at its ends.
fn around(
    encoder: &mut wgpu::CommandEncoder,
    dispatches: &[Dispatch],
    query_set: &wgpu::QuerySet,
    query: &mut u32,
) {
    for dispatch in dispatches {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: Some(*query),
                end_of_pass_write_index: Some(*query + 1),
            }),
        });
        set(&mut pass, dispatch);
        *query += 2;
    }
}
