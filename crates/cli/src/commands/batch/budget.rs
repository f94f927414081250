//! How far the input is read ahead of the output.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bounds the lines between being read and being written, in their number and in their bytes.
pub(super) struct Budget {
    most: Size,
    taken: Mutex<Size>,
    freed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) lines: usize,
    pub(super) bytes: u64,
}

impl Budget {
    pub(super) fn new(most: Size) -> Self {
        Self {
            most,
            taken: Mutex::new(Size { lines: 0, bytes: 0 }),
            freed: Condvar::new(),
        }
    }

    /// Waits until there is room for one more line. A line alone always has room.
    pub(super) fn take(&self, bytes: u64) {
        let is_full = |taken: &mut Size| {
            taken.lines > 0
                && (taken.lines >= self.most.lines
                    || taken.bytes.saturating_add(bytes) > self.most.bytes)
        };
        let mut taken = self
            .freed
            .wait_while(self.lock(), is_full)
            .unwrap_or_else(PoisonError::into_inner);
        taken.lines += 1;
        taken.bytes += bytes;
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let mut taken = self.lock();
        taken.lines -= 1;
        taken.bytes -= bytes;
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Size> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Whether `take` waits until `free` was called.
    fn waits(budget: Budget, take: u64, free: u64) -> bool {
        let budget = Arc::new(budget);
        let (sender, taken) = mpsc::channel();
        let taker = Arc::clone(&budget);
        let thread = std::thread::spawn(move || {
            taker.take(take);
            sender.send(()).unwrap();
        });
        let had_to_wait = taken.recv_timeout(Duration::from_millis(50)).is_err();
        budget.give_back(free);
        thread.join().unwrap();
        had_to_wait
    }

    fn budget(taken: &[u64]) -> Budget {
        let budget = Budget::new(Size {
            lines: 3,
            bytes: 100,
        });
        taken.iter().for_each(|bytes| budget.take(*bytes));
        budget
    }

    #[test]
    fn both_bounds_hold() {
        assert!(!waits(budget(&[40]), 60, 40));
        assert!(waits(budget(&[40]), 61, 40));
        assert!(!waits(budget(&[1, 1]), 1, 1));
        assert!(waits(budget(&[1, 1, 1]), 1, 1));
    }

    #[test]
    fn a_line_alone_always_has_room() {
        budget(&[]).take(1000);
    }
}
