//! A case on the device: dispatches back to back in one submission, timed by the wall clock.
//!
//! Timestamps around each dispatch would add several times what a small kernel takes, and a device that idles between
//! measurements runs at a fraction of its clock; see "How to measure without fooling oneself" in docs/kernels.md.

use std::time::{Duration, Instant};

use anyhow::Result;
use thalweg_gpu::{Binding, Buffer, Context, Plan, PlanBuilder};

use super::{Case, Input};

/// A case, ready to run on the device.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    /// What the plan binds, none of which may go before it does.
    _buffers: Vec<Vec<Buffer>>,
}

/// How much is measured at once on a kind of device.
struct Batch {
    /// Bytes of all copies of the weights together, so that caches do not hold them.
    copied_bytes: usize,
    /// Dispatches of a submission,
    dispatches: usize,
    /// unless they make more operations than that.
    flops: f64,
    /// How long the device is kept busy before it is measured.
    warm_up: Duration,
}

impl Batch {
    const GPU: Batch = Batch {
        copied_bytes: 400_000_000,
        dispatches: 192,
        flops: 2e11,
        warm_up: Duration::from_millis(250),
    };
    const SOFTWARE: Batch = Batch {
        copied_bytes: 0,
        dispatches: 2,
        flops: f64::INFINITY,
        warm_up: Duration::ZERO,
    };
}

/// Submissions that are handed to the device before the first of them is waited for.
const UNDER_WAY: u64 = 16;

impl Case {
    /// Puts its data on the device, compiles it, and gets the device up to its clock.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn prepare(&self, context: &Context) -> Result<Prepared> {
        let batch = match context.adapter().software {
            true => Batch::SOFTWARE,
            false => Batch::GPU,
        };
        let buffers = self
            .inputs
            .iter()
            .map(|input| input.allocate(context, batch.copied_bytes))
            .collect::<Result<Vec<_>>>()?;
        // SAFETY: cases bind what their kernel's documentation asks for, with parameters that fit these buffers.
        let pipeline = unsafe { context.pipeline(&self.kernel) }?;
        let mut plan = PlanBuilder::new(context, &self.kernel.name);
        let few = (batch.flops / self.work.flops.max(1.0)) as usize;
        for index in 0..few.clamp(2, batch.dispatches) {
            let bindings: Vec<_> = self
                .inputs
                .iter()
                .zip(&buffers)
                .map(|(input, copies)| match input {
                    Input::Uniform(params) => Binding::Uniform(params),
                    _ => Binding::Buffer(&copies[index % copies.len()]),
                })
                .collect();
            plan.dispatch(&pipeline, &bindings, self.workgroups, self.work)?;
        }
        let prepared = Prepared {
            plan: plan.build()?,
            _buffers: buffers,
        };
        let started = Instant::now();
        while started.elapsed() < batch.warm_up {
            prepared.time(context, 1)?;
        }
        Ok(prepared)
    }
}

impl Prepared {
    /// What `dispatches` take, measured on as many as fill whole submissions.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn time(&self, context: &Context, dispatches: u64) -> Result<Duration> {
        let of_plan = self.plan.dispatches() as u64;
        let submissions = dispatches.div_ceil(of_plan);
        self.plan.prepare(context);
        let started = Instant::now();
        for submission in 1..=submissions {
            self.plan.run(context)?;
            if submission == submissions || submission.is_multiple_of(UNDER_WAY) {
                context.wait("measuring")?;
            } else {
                self.plan.prepare(context); // while the device is busy
            }
        }
        let measured = (submissions * of_plan) as f64;
        Ok(started.elapsed().mul_f64(dispatches as f64 / measured))
    }
}
