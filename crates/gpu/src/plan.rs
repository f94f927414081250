//! Plans: dispatches and copies, bound once and replayed.

use crate::buffer::Allocation;
use crate::{Context, Error, Pipeline, Work};

/// Dispatches and copies in the order in which they run, made by a [`PlanBuilder`](crate::PlanBuilder).
///
/// A replay compiles, binds and allocates nothing: it encodes the list and submits it, all at once or in several
/// submissions if the device would be busy for too long with one.
#[derive(Debug)]
pub struct Plan {
    pub(crate) label: String,
    pub(crate) submissions: Vec<Submission>,
    /// The parameters that the bind groups point into.
    pub(crate) _uniforms: Option<Allocation>,
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
}

#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) from: wgpu::Buffer,
    pub(crate) from_offset: u64,
    pub(crate) to: wgpu::Buffer,
    pub(crate) to_offset: u64,
    pub(crate) bytes: u64,
}

impl Plan {
    /// Submits everything once more. Returns as soon as the device has it; a read or a wait shows when it is done.
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        for submission in &self.submissions {
            context.submit(submission.encode(context), submission.work, &self.label)?;
        }
        Ok(())
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
    pub(crate) fn encode(&self, context: &Context) -> wgpu::CommandBuffer {
        let mut encoder = context
            .device()
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for part in &self.parts {
            match part {
                Part::Pass(dispatches) => encode_pass(&mut encoder, dispatches),
                Part::Copy(copy) => encoder.copy_buffer_to_buffer(
                    &copy.from,
                    copy.from_offset,
                    &copy.to,
                    copy.to_offset,
                    copy.bytes,
                ),
            }
        }
        encoder.finish()
    }
}

fn encode_pass(encoder: &mut wgpu::CommandEncoder, dispatches: &[Dispatch]) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for dispatch in dispatches {
        let [x, y, z] = dispatch.grid;
        pass.set_pipeline(dispatch.pipeline.wgpu());
        pass.set_bind_group(0, &dispatch.bind_group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}
