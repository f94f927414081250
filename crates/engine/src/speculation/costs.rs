//! What steps take, as measured.
//!
//! A device has plans for some numbers of rows and computes a smaller step by the next larger plan. So what steps cost rises by
//! stairs, and is learnt for each power of two.

/// What a step is expected to take more than one of half the rows, at least and before one was measured: little, for what is
/// hoped for is tried.
const GROWTH: f64 = 1.05;
/// Measurements that count: the average of so many, the latest counting most.
const MEMORY: u32 = 8;
/// A measurement beyond so many times what was expected counts as that: something else held it up.
const OUTLIER: f64 = 2.0;
/// Of so many of the first measurements of a size such ones do not count at all: they prepare the device, which has two kinds of
/// plan for guesses.
const PREPARING: u32 = 2;
/// Powers of two.
const SIZES: usize = 24;

/// Seconds of steps, by the power of two of their rows.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    sizes: [Cost; SIZES],
}

#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    seconds: f64,
    measured: u32,
    /// Measurements that did not count.
    preparing: u32,
}

impl Cost {
    fn known(&self) -> Option<f64> {
        (self.measured > 0).then_some(self.seconds)
    }
}

impl Costs {
    /// What a step of so many rows takes, if it was measured.
    pub(crate) fn known(&self, rows: usize) -> Option<f64> {
        self.sizes[size(rows)].known()
    }

    /// What it is expected to take where one of `base` rows takes `base_seconds` or what was measured: what the next larger
    /// measured size takes, or else as much more than the nearest one as that takes more than the one before it.
    pub(crate) fn expected(&self, rows: usize, base: usize, base_seconds: f64) -> f64 {
        let (size, base) = (size(rows), size(base));
        if let Some(larger) = self.sizes[size..].iter().find_map(Cost::known) {
            return larger;
        }
        let (mut seconds, mut growth) = (base_seconds, GROWTH);
        for size in base..=size {
            match self.sizes[size].known() {
                Some(known) => {
                    growth = (known / seconds).max(GROWTH);
                    seconds = known;
                }
                None if size == base => {}
                None => seconds *= growth,
            }
        }
        seconds
    }

    /// The most rows that may be tried where `base` are usual: twice as many as were measured, for how costs go on is not
    /// known.
    pub(crate) fn reach(&self, base: usize) -> usize {
        let base = size(base);
        let measured = (base..SIZES)
            .rev()
            .find(|size| self.sizes[*size].known().is_some());
        1 << (measured.unwrap_or(base) + 1)
    }

    /// Learns from a measurement. Returns what of it counts: of one that prepares the device no more than was expected.
    pub(crate) fn learn(&mut self, rows: usize, seconds: f64, expected: f64) -> f64 {
        let cost = &mut self.sizes[size(rows)];
        let is_cold = seconds > OUTLIER * expected || expected.is_infinite();
        if is_cold && cost.measured == 0 && cost.preparing < PREPARING {
            cost.preparing += 1;
            return expected.min(seconds);
        }
        let counts = seconds.clamp(0.0, OUTLIER * expected);
        cost.measured = cost.measured.saturating_add(1);
        cost.seconds += (counts - cost.seconds) / f64::from(cost.measured.min(MEMORY));
        counts
    }

    /// What a step of so many rows takes, from the best of sources.
    pub(crate) fn set(&mut self, rows: usize, seconds: f64) {
        self.sizes[size(rows)] = Cost {
            seconds,
            measured: 1,
            preparing: 0,
        };
    }

    /// Expects a little less of everything, so that what was slow once is tried again some time.
    pub(crate) fn forgive(&mut self, share: f64) {
        for cost in &mut self.sizes {
            cost.seconds *= 1.0 - share;
        }
    }
}

fn size(rows: usize) -> usize {
    let log2 = rows.max(1).next_power_of_two().trailing_zeros() as usize;
    log2.min(SIZES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(costs: &mut Costs, rows: usize, times: usize, seconds: f64) {
        for _ in 0..times {
            costs.learn(rows, seconds, costs.expected(rows, 1, 1.0));
        }
    }

    #[test]
    fn sizes_are_powers_of_two() {
        let mut costs = Costs::default();
        learn(&mut costs, 5, 9, 1.5);
        assert_eq!(costs.known(4), None);
        for rows in 5..=8 {
            assert!((costs.known(rows).unwrap() - 1.5).abs() < 1e-9);
        }
        assert_eq!(costs.known(9), None);
        assert_eq!([0, 1, 2, 3, usize::MAX / 2].map(size), [0, 0, 1, 2, 23]);
    }

    #[test]
    fn what_is_not_measured_is_expected_from_what_is() {
        let mut costs = Costs::default();
        assert_eq!(costs.expected(8, 2, 1.0), GROWTH * GROWTH);
        learn(&mut costs, 4, 9, 2.0);
        assert!((costs.expected(3, 2, 1.0) - 2.0).abs() < 1e-9);
        assert!(
            (costs.expected(2, 2, 1.0) - 2.0).abs() < 1e-9,
            "no more than a larger size"
        );
        assert!(
            (costs.expected(8, 2, 1.0) - 4.0).abs() < 1e-9,
            "it may go on like that"
        );
        assert_eq!([costs.reach(1), costs.reach(9)], [8, 32]);
    }

    #[test]
    fn the_first_measurements_and_outliers_do_no_harm() {
        let mut costs = Costs::default();
        for _ in 0..PREPARING {
            assert_eq!(costs.learn(1, 300.0, 1.5), 1.5);
            assert_eq!(costs.known(1), None);
        }
        learn(&mut costs, 1, 8, 1.0);
        let before = costs.known(1).unwrap();
        learn(&mut costs, 1, 1, 300.0);
        assert!(costs.known(1).unwrap() < 1.2 * before);
        learn(&mut costs, 1, 40, 3.0); // no outlier, but the way things are now
        assert!((costs.known(1).unwrap() - 3.0).abs() < 0.2);
    }
}
