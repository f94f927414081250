//! What a device does at the most, and how much of that a test used.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Activations, Case, Setting, Task, Work};

/// What a device does at the most, measured on kernels that do nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes that are read in a second.
    pub read_bytes_per_s: f64,
    /// 32-bit operations a second, a multiply-add counting two.
    pub fma_flop_per_s: f64,
    /// The same on cooperative matrices, where there are any.
    pub matrix_flop_per_s: Option<f64>,
    /// Seconds that a dispatch takes that waits for the one before it.
    pub dispatch_s: f64,
    /// Seconds from a submission to its result on the host.
    pub round_trip_s: f64,
}

/// How much of what a device can do a test used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Percent of it.
    pub percent: f64,
    /// Which of the limits it is nearest to.
    pub of: Limit,
}

/// Something that a device can do only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Reading memory.
    Read,
    /// Multiplying and adding 32-bit floats.
    Fma,
    /// Multiplying and adding matrices.
    Matrix,
}

/// Beyond so many tokens at once products run on tiles or on matrices, and no longer row by row.
const FEW_TOKENS: usize = 8;

impl Limits {
    /// How near the case came to the limit that it is nearest to, by the work that the model's shape asks for and the
    /// case's median. `precision` is the report's. Integer products are held against reading alone: what a device can do of
    /// them is not measured.
    pub fn share(&self, case: &Case, work: &Work, precision: &str) -> Option<Share> {
        let read = Share {
            percent: 1e11 * work.gb_per_s(case)? / self.read_bytes_per_s,
            of: Limit::Read,
        };
        let of_compute = self
            .compute(&case.setting, precision)
            .map(|(flop_per_s, of)| Share {
                percent: 1e14 * work.tflop_per_s(case).unwrap_or(0.0) / flop_per_s,
                of,
            });
        let nearer = of_compute.filter(|compute| compute.percent > read.percent);
        Some(nearer.unwrap_or(read))
    }

    fn compute(&self, setting: &Setting, precision: &str) -> Option<(f64, Limit)> {
        let tokens_at_once = match setting.task {
            Task::Prefill => setting.chunk_size.min(setting.tokens),
            _ => setting.sequences,
        };
        let on_matrices = self
            .matrix_flop_per_s
            .filter(|_| precision == "fast" && tokens_at_once > FEW_TOKENS);
        match (on_matrices, setting.activations) {
            (Some(flop_per_s), _) => Some((flop_per_s, Limit::Matrix)),
            (None, Activations::F32) => Some((self.fma_flop_per_s, Limit::Fma)),
            (None, Activations::Q8) => None,
        }
    }
}

impl Limit {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Read => "read",
            Limit::Fma => "FMA",
            Limit::Matrix => "matrix",
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} {}", self.percent, self.of.name())
    }
}

/// The limits in one line.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "read {:.1} GB/s, FMA {:.2} TFLOP/s, ",
            self.read_bytes_per_s / 1e9,
            self.fma_flop_per_s / 1e12
        )?;
        if let Some(flop_per_s) = self.matrix_flop_per_s {
            write!(f, "matrices {:.1} TFLOP/s, ", flop_per_s / 1e12)?;
        }
        write!(
            f,
            "a dispatch {:.2} us, a round trip {:.1} us",
            self.dispatch_s * 1e6,
            self.round_trip_s * 1e6
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{case, decode, parallel, prefill};

    const LIMITS: Limits = Limits {
        read_bytes_per_s: 1e6,
        fma_flop_per_s: 1e6,
        matrix_flop_per_s: Some(1e7),
        dispatch_s: 2e-6,
        round_trip_s: 9e-5,
    };
    const WORK: Work = Work {
        layer_bytes: 1000,
        head_bytes: 0,
        state_bytes: 0,
        layer_elements: 500,
        head_elements: 0,
        recurrence_elements: 0,
    };

    fn share(setting: Setting, seconds: f64, precision: &str) -> (String, Limit) {
        let share = LIMITS
            .share(&case(setting, &[seconds]), &WORK, precision)
            .unwrap();
        (share.to_string(), share.of)
    }

    #[test]
    fn a_test_is_held_against_what_it_is_nearest_to() {
        assert_eq!(share(decode(1), 0.01, "exact").0, "10.0 read");
        // 100 tokens of 1000 operations in a second, and 1000 bytes.
        assert_eq!(share(prefill(100, 128), 1.0, "exact").0, "10.0 FMA");
        assert_eq!(share(prefill(100, 128), 1.0, "fast").0, "1.0 matrix");
        assert_eq!(share(parallel(1, 8), 1.0, "fast").1, Limit::Fma);
        assert_eq!(share(parallel(1, 9), 1.0, "fast").1, Limit::Read);
    }

    #[test]
    fn integers_are_held_against_reading_alone() {
        let setting = Setting {
            activations: Activations::Q8,
            ..prefill(100, 128)
        };
        assert_eq!(share(setting, 1.0, "exact").1, Limit::Read);
        assert_eq!(share(setting, 1.0, "fast").1, Limit::Matrix);
    }

    #[test]
    fn limits_are_one_line() {
        let line = "read 0.0 GB/s, FMA 0.00 TFLOP/s, matrices 0.0 TFLOP/s, a dispatch 2.00 us, a round trip 90.0 us";
        assert_eq!(LIMITS.to_string(), line);
    }
}
