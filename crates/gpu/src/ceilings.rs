//! What a device does at the most, measured on kernels that do nothing else.

use std::time::{Duration, Instant};

use bytemuck::bytes_of;
use thalweg_shaders::kernels::{
    Kernel, ProbeCoop, ProbeCoopParams, ProbeFma, ProbeFmaParams, ProbeRead, ProbeReadParams,
    ProbeStep,
};

use crate::{Binding, Context, Error, Feature, Pipeline, Plan, PlanBuilder, Work, Workgroups};

/// What a device does at the most, as kernels through wgpu reach it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceilings {
    /// Bytes of a buffer larger than any cache that are read in a second.
    pub read_bytes_per_s: f64,
    /// 32-bit operations a second, a multiply-add counting two.
    pub fma_flop_per_s: f64,
    /// The same on cooperative matrices of 16-bit floats with sums of 32 bits, where they are in use.
    pub matrix_flop_per_s: Option<f64>,
    /// Seconds that a dispatch takes which waits for the one before it and does nothing.
    pub dispatch_s: f64,
    /// Seconds from the submission of such a dispatch to its result on the host.
    pub round_trip_s: f64,
}

/// A measurement takes so long at the least, so that what a submission costs does not show.
const LEAST: Duration = Duration::from_millis(60);
/// Runs in a submission beyond which even the quickest has taken that long.
const MOST_RUNS: usize = 1 << 14;
/// Measurements of each rate, of which the best counts: nothing makes a device faster than it is.
const SERIES: usize = 5;
/// Dispatches of a short and a long chain, whose difference is what dispatches take.
const CHAINS: [usize; 2] = [200, 2200];
/// Round trips, of which the median counts.
const ROUND_TRIPS: usize = 201;

impl Ceilings {
    /// Measures them, which takes a second or two.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn measure(context: &Context) -> Result<Ceilings, Error> {
        // Compute first: it brings the clock up.
        let fma_flop_per_s = fma(context)?;
        Ok(Ceilings {
            fma_flop_per_s,
            matrix_flop_per_s: matrices(context)?,
            read_bytes_per_s: read(context)?,
            dispatch_s: dispatch(context)?,
            round_trip_s: round_trip(context)?,
        })
    }
}

/// What a probe has to do: little where this processor stands in for a device.
fn scaled(context: &Context, on_a_device: u32, on_a_processor: u32) -> u32 {
    match context.adapter().software {
        true => on_a_processor,
        false => on_a_device,
    }
}

fn read(context: &Context) -> Result<f64, Error> {
    const MOST_BYTES: u64 = 512 << 20; // ten times what the largest caches hold
    let limits = context.limits();
    let most = match context.adapter().software {
        true => MOST_BYTES / 8,
        false => MOST_BYTES,
    };
    let bytes = most
        .min(limits.storage_binding_bytes)
        .min(limits.buffer_bytes);
    let workgroups =
        (bytes / ProbeRead::WORKGROUP_BYTES).min(limits.workgroups_per_dimension.into());
    let bytes = workgroups * ProbeRead::WORKGROUP_BYTES;
    let words = context.buffer("words to read", bytes)?;
    let out = context.buffer("what was found", 4)?;
    let params = ProbeReadParams { wanted: 1 };
    let bindings = [
        Binding::Buffer(&words),
        Binding::Uniform(bytes_of(&params)),
        Binding::Buffer(&out),
    ];
    let work = Work {
        flops: 0.0,
        bytes: bytes as f64,
    };
    let pipeline = pipeline(context, ProbeRead.kernel())?;
    let plan = once(context, &pipeline, &bindings, workgroups as u32, work)?;
    Ok(work.bytes / seconds(context, &plan)?)
}

fn fma(context: &Context) -> Result<f64, Error> {
    const ITERATIONS: u32 = 64;
    let workgroups = scaled(context, 8192, 64);
    let params = ProbeFmaParams {
        iterations: ITERATIONS,
        factor: 0.5,
        addend: 1.0,
        wanted: -1.0,
    };
    let out = context.buffer("what was found", 4)?;
    let bindings = [Binding::Uniform(bytes_of(&params)), Binding::Buffer(&out)];
    let work = Work {
        flops: ProbeFma::workgroup_flop(ITERATIONS) * f64::from(workgroups),
        bytes: 0.0,
    };
    let pipeline = pipeline(context, ProbeFma.kernel())?;
    let plan = once(context, &pipeline, &bindings, workgroups, work)?;
    Ok(work.flops / seconds(context, &plan)?)
}

fn matrices(context: &Context) -> Result<Option<f64>, Error> {
    let adapter = context.adapter();
    let [smallest, subgroup] = adapter.subgroup_sizes;
    let has_coop = context.has(Feature::Coop) && smallest == subgroup;
    let Some(size) = adapter.coop_size.filter(|_| has_coop) else {
        return Ok(None);
    };
    let iterations = scaled(context, 512, 8);
    let workgroups = scaled(context, 2112, 16);
    let probe = ProbeCoop { size, subgroup };
    let params = ProbeCoopParams {
        iterations,
        value: 0.25,
    };
    let out_bytes = 4 * u64::from(workgroups * ProbeCoop::SUBGROUPS);
    let out = context.buffer("sums of matrices", out_bytes)?;
    let bindings = [Binding::Uniform(bytes_of(&params)), Binding::Buffer(&out)];
    let work = Work {
        flops: probe.workgroup_flop(iterations) * f64::from(workgroups),
        bytes: 0.0,
    };
    let pipeline = pipeline(context, probe.kernel())?;
    let plan = once(context, &pipeline, &bindings, workgroups, work)?;
    Ok(Some(work.flops / seconds(context, &plan)?))
}

fn dispatch(context: &Context) -> Result<f64, Error> {
    let out = context.buffer("a counter", 4)?;
    let pipeline = pipeline(context, ProbeStep.kernel())?;
    let mut times = [0.0; CHAINS.len()];
    for (time, dispatches) in times.iter_mut().zip(CHAINS) {
        let mut plan = PlanBuilder::new(context, "a chain of dispatches");
        for _ in 0..dispatches {
            let bindings = [Binding::Buffer(&out)];
            plan.dispatch(&pipeline, &bindings, Workgroups::Linear(1), Work::default())?;
        }
        *time = seconds(context, &plan.build()?)?;
    }
    let [short, long] = times;
    Ok(((long - short) / (CHAINS[1] - CHAINS[0]) as f64).max(0.0))
}

fn round_trip(context: &Context) -> Result<f64, Error> {
    let out = context.buffer("a counter", 4)?;
    let result = context.read_buffer("the counter's value", 4)?;
    let pipeline = pipeline(context, ProbeStep.kernel())?;
    let mut plan = PlanBuilder::new(context, "a round trip");
    let bindings = [Binding::Buffer(&out)];
    plan.dispatch(&pipeline, &bindings, Workgroups::Linear(1), Work::default())?;
    plan.read_back(&out, 0, &result, 0, 4);
    let plan = plan.build()?;
    let mut times = [0.0; ROUND_TRIPS];
    for time in &mut times {
        let start = Instant::now();
        plan.run(context)?;
        result.read(context, 0, &mut [0u32])?;
        *time = start.elapsed().as_secs_f64();
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUND_TRIPS / 2])
}

fn pipeline(
    context: &Context,
    kernel: Result<Kernel, thalweg_shaders::Error>,
) -> Result<Pipeline, Error> {
    let kernel = kernel.map_err(|error| Error::Validation {
        doing: "making a probe".to_owned(),
        message: error.to_string(),
    })?;
    // SAFETY: the probe of reading looks at its buffer's length, the others write to their first number or, of matrices, to
    // one a subgroup, for which there is room; all loops end after the given iterations.
    unsafe { context.pipeline(&kernel) }
}

fn once(
    context: &Context,
    pipeline: &Pipeline,
    bindings: &[Binding<'_>],
    workgroups: u32,
    work: Work,
) -> Result<Plan, Error> {
    let mut plan = PlanBuilder::new(context, pipeline.name());
    plan.dispatch(pipeline, bindings, Workgroups::Linear(workgroups), work)?;
    plan.build()
}

/// The seconds of one run of the plan among many, at the best.
fn seconds(context: &Context, plan: &Plan) -> Result<f64, Error> {
    let mut runs = 1;
    let mut best = f64::INFINITY;
    let mut series = 0;
    while series < SERIES {
        plan.prepare_repeat(context, runs);
        let start = Instant::now();
        plan.repeat(context, runs)?;
        context.wait("measuring what the device can do")?;
        let elapsed = start.elapsed();
        if elapsed < LEAST && runs < MOST_RUNS {
            runs *= 2;
        } else {
            best = best.min(elapsed.as_secs_f64() / runs as f64);
            series += 1;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_rates_above_zero() {
        let context = Context::of_any_kind().unwrap();
        let ceilings = Ceilings::measure(&context).unwrap();
        let Ceilings {
            read_bytes_per_s,
            fma_flop_per_s,
            matrix_flop_per_s,
            round_trip_s,
            ..
        } = ceilings;
        let has_matrices = matrix_flop_per_s.is_some();
        let coop = context.adapter().coop_size;
        assert!(!has_matrices || (context.has(Feature::Coop) && coop.is_some()));
        let rates = [
            read_bytes_per_s,
            fma_flop_per_s,
            matrix_flop_per_s.unwrap_or(1e12),
        ];
        // From a processor that draws to several of today's largest devices together.
        assert!(
            rates.iter().all(|rate| (1e7..1e17).contains(rate)),
            "{ceilings:?}"
        );
        assert!((0.0..1.0).contains(&ceilings.dispatch_s), "{ceilings:?}");
        assert!((1e-7..1.0).contains(&round_trip_s), "{ceilings:?}");
        println!("{ceilings:?}");
    }
}
