//! How many steps a device makes before it is asked what came of them.
//!
//! Asking costs the same for a step as for many, and what is asked for seldom comes in bursts. So a loop of steps takes about
//! as long as people notice: a twentieth of a second. How many steps that are is learnt from how long the last ones took.

use std::time::Duration;

/// What a loop of steps is to take.
const GOAL: Duration = Duration::from_millis(50);

/// The number of steps of the next loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    steps: usize,
}

impl Pace {
    /// Nothing is known yet: one step at a time.
    pub(crate) fn new() -> Self {
        Self { steps: 1 }
    }

    /// Steps that are expected to take as long as they should.
    pub(crate) fn steps(self) -> usize {
        self.steps
    }

    /// Learns how long a loop took. The number shrinks at once, but at most doubles, for a single measurement may be off; and
    /// it stays where it would change little, for a device can be prepared for a loop as long as the last one.
    pub(crate) fn learn(&mut self, steps: usize, took: Duration) {
        let fitting = GOAL.as_secs_f64() * steps as f64 / took.as_secs_f64().max(1e-9);
        let fitting = (fitting as usize).clamp(1, self.steps.saturating_mul(2));
        if 4 * fitting.abs_diff(self.steps) > self.steps {
            self.steps = fitting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps after so many loops on a device that takes so many microseconds a step.
    fn after(pace: &mut Pace, loops: usize, step_us: u64) -> usize {
        for _ in 0..loops {
            let took = Duration::from_micros(step_us * pace.steps() as u64);
            pace.learn(pace.steps(), took);
        }
        pace.steps()
    }

    #[test]
    fn loops_grow_by_doubling_until_they_take_long_enough() {
        let mut pace = Pace::new();
        let steps: Vec<usize> = (0..7).map(|_| after(&mut pace, 1, 1000)).collect();
        assert_eq!(steps, [2, 4, 8, 16, 32, 50, 50]);
    }

    #[test]
    fn slow_steps_are_made_one_by_one() {
        let mut pace = Pace::new();
        assert_eq!(after(&mut pace, 9, 49_000), 1);
        assert_eq!(after(&mut pace, 9, 2_000_000), 1);
        assert_eq!(after(&mut pace, 9, 20_000), 2);
    }

    #[test]
    fn loops_shrink_at_once_and_ignore_small_changes() {
        let mut pace = Pace::new();
        assert_eq!(after(&mut pace, 9, 500), 100);
        assert_eq!(after(&mut pace, 3, 520), 100);
        assert_eq!(after(&mut pace, 3, 450), 100);
        assert_eq!(after(&mut pace, 1, 5000), 10);
    }

    #[test]
    fn short_loops_and_clocks_that_stand_still_are_no_trouble() {
        let mut pace = Pace::new();
        after(&mut pace, 9, 1000);
        pace.learn(3, Duration::from_millis(3)); // the sequences had no more to come
        assert_eq!(pace.steps(), 50);
        pace.learn(50, Duration::ZERO);
        assert_eq!(pace.steps(), 100);
    }
}
