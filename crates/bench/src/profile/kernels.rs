//! A stage's dispatches, kernel by kernel.

use serde::Serialize;

use super::{Dispatch, Stage, Unit};

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
    use super::super::tests::{dispatch, stage};

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

    #[test]
    fn kernels_below_the_clocks_resolution_have_no_rate() {
        let mut stage = stage();
        stage.dispatches = vec![dispatch("quick", 0, 0.0, 0.0)];
        let quick = &stage.kernels()[0];
        assert_eq!((quick.share, quick.mean_s()), (0.0, 0.0));
        assert_eq!((quick.bytes_per_s(), quick.flops_per_s()), (None, None));
    }
}
