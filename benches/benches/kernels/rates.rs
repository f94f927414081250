//! Wall time, told with bytes and floating-point operations a second.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use thalweg_gpu::Work;

/// Wall time of dispatches that do the work it was last told of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates(Rc<Cell<Work>>);

impl Rates {
    /// From now on a dispatch does `work`.
    pub(crate) fn set(&self, work: Work) {
        self.0.set(work);
    }
}

impl Measurement for Rates {
    type Intermediate = Instant;
    type Value = Duration;

    fn start(&self) -> Instant {
        WallTime.start()
    }

    fn end(&self, started: Instant) -> Duration {
        WallTime.end(started)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        WallTime.add(one, other)
    }

    fn zero(&self) -> Duration {
        WallTime.zero()
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Rates {
    /// Both rates, as criterion has but one number for them.
    fn format_throughput(&self, _: &Throughput, nanoseconds: f64) -> String {
        let Work { flops, bytes } = self.0.get();
        let [bytes, flops] = [bytes, flops].map(|work| scaled(work / nanoseconds * 1e9));
        format!("{bytes}B/s {flops}FLOP/s")
    }

    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(
        &self,
        typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        WallTime
            .formatter()
            .scale_throughputs(typical, throughput, values)
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}

/// A rate with the prefix that suits it.
fn scaled(per_second: f64) -> String {
    let (prefix, scale) = match per_second {
        1e12.. => ("T", 1e12),
        1e9.. => ("G", 1e9),
        _ => ("M", 1e6),
    };
    format!("{:.3} {prefix}", per_second / scale)
}
