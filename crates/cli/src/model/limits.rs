//! What the device that computes does at the most.

use thalweg_bench::Limits;
use thalweg_gpu::Ceilings;

use super::Compute;
use crate::failure::Failure;

impl Compute<'_> {
    /// What the device does at the most.
    pub(crate) fn measure_limits(&self) -> Result<Limits, Failure> {
        let Some(context) = &self.context else {
            return Err(Failure::Usage(
                "--limits is for GPUs, but the CPU computes; leave it out, or name another --backend"
                    .to_owned(),
            ));
        };
        let ceilings = Ceilings::measure(context)?;
        Ok(Limits {
            read_bytes_per_s: ceilings.read_bytes_per_s,
            fma_flop_per_s: ceilings.fma_flop_per_s,
            matrix_flop_per_s: ceilings.matrix_flop_per_s,
            dispatch_s: ceilings.dispatch_s,
            round_trip_s: ceilings.round_trip_s,
        })
    }
}
