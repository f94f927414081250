//! How much a dispatch has to do, and how long a device may take for it.

use std::ops::{Add, AddAssign};

use crate::AdapterKind;

/// The estimated work of a dispatch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations; a multiply-add counts two.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

impl Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            flops: self.flops + other.flops,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        *self = *self + other;
    }
}

/// What a device of some kind does at least, in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    flops_per_s: f64,
    bytes_per_s: f64,
}

impl Rate {
    /// The rate assumed of a kind of adapter: that of its slow members, a tenth of what the common ones reach, so that
    /// a submission planned for a second does not meet a watchdog of two.
    pub(crate) fn assumed(kind: AdapterKind, software: bool) -> Rate {
        let (flops_per_s, bytes_per_s) = match kind {
            _ if software => (1e9, 2e9),
            AdapterKind::Discrete => (1e12, 50e9),
            AdapterKind::Integrated
            | AdapterKind::Virtual
            | AdapterKind::Other
            | AdapterKind::Cpu => (100e9, 10e9),
        };
        Rate {
            flops_per_s,
            bytes_per_s,
        }
    }

    /// Seconds that the work takes, arithmetic and memory traffic one after the other.
    pub(crate) fn seconds(self, work: Work) -> f64 {
        work.flops / self.flops_per_s + work.bytes / self.bytes_per_s
    }
}

/// `bytes` in MiB, for people.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
