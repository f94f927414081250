//! What a context has done so far: counts that are the same in every run, and where the host's time went.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a context has asked of its device since it was opened. The difference of two of them is what lies between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Kernels compiled.
    pub pipelines: u64,
    /// Pieces of work handed to the queue; the device is told of each on its own.
    pub submissions: u64,
    /// Buffers mapped so that the host could read them: each a wait for the device.
    pub maps: u64,
    /// Writes into buffers.
    pub writes: u64,
    /// Commands encoded, also those of plans that were only checked or prepared: for a dispatch its pipeline, its bindings
    /// and itself, and one for a copy.
    pub commands: u64,
    /// Dispatches among them.
    pub dispatches: u64,
    /// Bytes of the buffers, or parts of buffers, that these dispatches bind.
    pub bound_bytes: u64,
    /// Estimated bytes that submitted work moves, weights above all.
    pub moved_bytes: u64,
    /// Estimated floating-point operations of submitted work.
    pub flops: u64,
}

/// Where the host's time went since a context was opened, all threads together. The difference of two of them is what lies
/// between. In a browser it is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostTimes {
    /// Encoding commands, also of runs prepared while the device was busy.
    pub encode: Duration,
    /// Handing them to the queue.
    pub submit: Duration,
    /// Writing into buffers, little by little: token ids, tables, settings.
    pub write: Duration,
    /// Waiting for the device.
    pub wait: Duration,
    /// Mapping buffers and copying results out of them, once the device is done.
    pub read_back: Duration,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    target_arch = "wasm32",
    expect(dead_code, reason = "a browser is not waited for")
)]
pub(crate) enum Count {
    Pipelines,
    Submissions,
    Maps,
    Writes,
    Commands,
    Dispatches,
    BoundBytes,
    MovedBytes,
    Flops,
}

/// What is timed.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    target_arch = "wasm32",
    expect(dead_code, reason = "a browser is not waited for")
)]
pub(crate) enum Phase {
    Encode,
    Submit,
    Write,
    Wait,
    ReadBack,
}

/// The sums behind [`Counters`] and [`HostTimes`]. To keep one costs a few nanoseconds a submission, not a dispatch.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: [AtomicU64; 9],
    nanoseconds: [AtomicU64; 5],
}

impl Tally {
    pub(crate) fn add(&self, count: Count, amount: u64) {
        self.counts[count as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// Does `action` and adds the time that it takes.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn time<T>(&self, phase: Phase, action: impl FnOnce() -> T) -> T {
        let start = std::time::Instant::now();
        let result = action();
        let elapsed_ns = start.elapsed().as_nanos() as u64;
        self.nanoseconds[phase as usize].fetch_add(elapsed_ns, Ordering::Relaxed);
        result
    }

    /// A browser has no such clock.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn time<T>(&self, _: Phase, action: impl FnOnce() -> T) -> T {
        action()
    }

    pub(crate) fn counters(&self) -> Counters {
        let of = |count: Count| self.counts[count as usize].load(Ordering::Relaxed);
        Counters {
            pipelines: of(Count::Pipelines),
            submissions: of(Count::Submissions),
            maps: of(Count::Maps),
            writes: of(Count::Writes),
            commands: of(Count::Commands),
            dispatches: of(Count::Dispatches),
            bound_bytes: of(Count::BoundBytes),
            moved_bytes: of(Count::MovedBytes),
            flops: of(Count::Flops),
        }
    }

    pub(crate) fn host_times(&self) -> HostTimes {
        let of = |phase: Phase| {
            Duration::from_nanos(self.nanoseconds[phase as usize].load(Ordering::Relaxed))
        };
        HostTimes {
            encode: of(Phase::Encode),
            submit: of(Phase::Submit),
            write: of(Phase::Write),
            wait: of(Phase::Wait),
            read_back: of(Phase::ReadBack),
        }
    }
}

impl Sub for Counters {
    type Output = Counters;

    fn sub(self, earlier: Counters) -> Counters {
        Counters {
            pipelines: self.pipelines - earlier.pipelines,
            submissions: self.submissions - earlier.submissions,
            maps: self.maps - earlier.maps,
            writes: self.writes - earlier.writes,
            commands: self.commands - earlier.commands,
            dispatches: self.dispatches - earlier.dispatches,
            bound_bytes: self.bound_bytes - earlier.bound_bytes,
            moved_bytes: self.moved_bytes - earlier.moved_bytes,
            flops: self.flops - earlier.flops,
        }
    }
}

impl Sub for HostTimes {
    type Output = HostTimes;

    fn sub(self, earlier: HostTimes) -> HostTimes {
        HostTimes {
            encode: self.encode.saturating_sub(earlier.encode),
            submit: self.submit.saturating_sub(earlier.submit),
            write: self.write.saturating_sub(earlier.write),
            wait: self.wait.saturating_sub(earlier.wait),
            read_back: self.read_back.saturating_sub(earlier.read_back),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_a_place_of_its_own() {
        let tally = Tally::default();
        tally.add(Count::Pipelines, 1);
        tally.add(Count::Commands, 30);
        let before = tally.counters();
        tally.add(Count::Commands, 3);
        tally.add(Count::Flops, 500);
        let between = tally.counters() - before;
        assert_eq!((between.commands, between.flops), (3, 500));
        assert_eq!((between.pipelines, tally.counters().pipelines), (0, 1));
    }

    #[test]
    fn times_add_up_phase_by_phase() {
        let tally = Tally::default();
        let nap = Duration::from_millis(2);
        tally.time(Phase::Wait, || std::thread::sleep(nap));
        let times = tally.host_times();
        assert!(times.wait >= nap);
        assert_eq!(times.encode, Duration::ZERO);
    }
}
