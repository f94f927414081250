//! A stage's dispatches, kernel by kernel.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Dispatch, Stage, Unit};
use crate::{Limit, Limits, Share};

/// What all dispatches of one kernel come to in a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelTime {
    /// The kernel's name.
    pub kernel: String,
    /// What does its arithmetic.
    pub unit: Unit,
    /// Dispatches.
    pub count: usize,
    /// Seconds of all of them.
    pub total_s: f64,
    /// Their part of the seconds of all kernels, from 0 to 1.
    pub share: f64,
    /// Seconds between timestamps before them.
    pub gaps_s: f64,
    /// Estimated bytes that they move.
    pub bytes: f64,
    /// Estimated floating-point operations.
    pub flops: f64,
}

impl KernelTime {
    fn none_of(dispatch: &Dispatch) -> KernelTime {
        KernelTime {
            kernel: dispatch.kernel.clone(),
            unit: dispatch.unit,
            count: 0,
            total_s: 0.0,
            share: 0.0,
            gaps_s: 0.0,
            bytes: 0.0,
            flops: 0.0,
        }
    }

    /// Seconds of a dispatch.
    pub fn mean_s(&self) -> f64 {
        self.total_s / self.count.max(1) as f64
    }

    /// Bytes moved a second; nothing if no time passed.
    pub fn bytes_per_s(&self) -> Option<f64> {
        (self.total_s > 0.0).then(|| self.bytes / self.total_s)
    }

    /// How near the kernel came to the limit that it is nearest to; nothing if no time passed. What a device can do of
    /// integer products is not measured, so these are held against reading alone.
    pub fn share_of_limit(&self, limits: &Limits) -> Option<Share> {
        let read = Share {
            percent: 100.0 * self.bytes_per_s()? / limits.read_bytes_per_s,
            of: Limit::Read,
        };
        let (flop_per_s, of) = match (self.unit, limits.matrix_flop_per_s) {
            (Unit::Integers, _) => return Some(read),
            (Unit::Matrices, Some(flop_per_s)) => (flop_per_s, Limit::Matrix),
            _ => (limits.fma_flop_per_s, Limit::Fma),
        };
        let compute = Share {
            percent: 100.0 * self.flops_per_s()? / flop_per_s,
            of,
        };
        match compute.percent > read.percent {
            true => Some(compute),
            false => Some(read),
        }
    }

    pub(super) fn to_json(&self, limits: Option<&Limits>) -> Value {
        let mut json = json!(self);
        json["mean_s"] = json!(self.mean_s());
        json["bytes_per_s"] = json!(self.bytes_per_s());
        json["flops_per_s"] = json!(self.flops_per_s());
        json["share_of_limit"] = json!(limits.and_then(|limits| self.share_of_limit(limits)));
        json
    }

    /// Operations a second; nothing if no time passed.
    pub fn flops_per_s(&self) -> Option<f64> {
        (self.total_s > 0.0).then(|| self.flops / self.total_s)
    }
}

impl Stage {
    /// The kernels, those that take longest first.
    pub fn kernels(&self) -> Vec<KernelTime> {
        let all_s = self.dispatches_s();
        let mut kernels: Vec<KernelTime> = Vec::new();
        for (dispatch, gap_s) in self.dispatches.iter().zip(self.gaps_s()) {
            let known = kernels
                .iter()
                .position(|kernel| kernel.kernel == dispatch.kernel);
            let index = known.unwrap_or_else(|| {
                kernels.push(KernelTime::none_of(dispatch));
                kernels.len() - 1
            });
            let kernel = &mut kernels[index];
            kernel.count += 1;
            kernel.total_s += dispatch.seconds;
            kernel.gaps_s += gap_s;
            kernel.bytes += dispatch.bytes;
            kernel.flops += dispatch.flops;
        }
        for kernel in &mut kernels {
            kernel.share = match all_s > 0.0 {
                true => kernel.total_s / all_s,
                false => 0.0,
            };
        }
        kernels.sort_by(|a, b| b.total_s.total_cmp(&a.total_s));
        kernels
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LIMITS, dispatch, stage};
    use crate::profile::{Stage, Unit};
    use crate::{Limit, Share};

    #[test]
    fn dispatches_of_a_kernel_are_added_up() {
        let kernels = stage().kernels();
        let names: Vec<&str> = kernels.iter().map(|kernel| &*kernel.kernel).collect();
        assert_eq!(names, ["matvec", "sample_best", "norm"]);
        let matvec = &kernels[0];
        assert_eq!((matvec.count, matvec.bytes, matvec.flops), (2, 4e6, 8e6));
        assert!((matvec.mean_s() - 35e-6).abs() < 1e-12);
        assert!((matvec.share - 0.7).abs() < 1e-12);
        assert!((matvec.gaps_s - 3e-6).abs() < 1e-12);
        assert!((matvec.bytes_per_s().unwrap() / (4e6 / 70e-6) - 1.0).abs() < 1e-9);
        assert!((matvec.flops_per_s().unwrap() / (8e6 / 70e-6) - 1.0).abs() < 1e-9);
        let shares: f64 = kernels.iter().map(|kernel| kernel.share).sum();
        assert!((shares - 1.0).abs() < 1e-12);
    }

    /// The share of a kernel on this unit that moves so many MB and does so many MFLOP in 10 us.
    fn share(unit: Unit, megabytes: f64, mflop: f64) -> Share {
        let mut dispatch = dispatch("product", 0, 0.0, 10.0);
        dispatch.unit = unit;
        dispatch.bytes = megabytes * 1e6;
        dispatch.flops = mflop * 1e6;
        let stage = Stage {
            dispatches: vec![dispatch],
            ..stage()
        };
        stage.kernels()[0].share_of_limit(&LIMITS).unwrap()
    }

    #[test]
    fn a_kernel_is_held_against_what_it_is_nearest_to() {
        let nearest = |unit, megabytes, mflop| {
            let share = share(unit, megabytes, mflop);
            (share.of, share.percent.round())
        };
        assert_eq!(nearest(Unit::Floats, 5.0, 1.0), (Limit::Read, 50.0));
        assert_eq!(nearest(Unit::Floats, 1.0, 6.0), (Limit::Fma, 60.0));
        assert_eq!(nearest(Unit::Matrices, 1.0, 60.0), (Limit::Matrix, 60.0));
        assert_eq!(nearest(Unit::Matrices, 7.0, 60.0), (Limit::Read, 70.0));
        assert_eq!(nearest(Unit::Integers, 1.0, 60.0), (Limit::Read, 10.0));
    }

    #[test]
    fn kernels_below_the_clocks_resolution_have_no_rate() {
        let mut stage = stage();
        stage.dispatches = vec![dispatch("quick", 0, 0.0, 0.0)];
        let quick = &stage.kernels()[0];
        assert_eq!((quick.share, quick.mean_s()), (0.0, 0.0));
        assert_eq!((quick.bytes_per_s(), quick.flops_per_s()), (None, None));
    }
}
