//! Requests that wait for a slot.

use std::collections::VecDeque;

/// How much may wait at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    pub(crate) requests: usize,
    pub(crate) tokens: usize,
}

/// A line in the order of arrival, bounded in requests and in the tokens of their prompts.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    limits: QueueLimits,
    line: VecDeque<(Weight, T)>,
    waiting: Weight,
}

/// What an entry takes of the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) requests: usize,
    pub(crate) tokens: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            line: VecDeque::new(),
            waiting: Weight::default(),
        }
    }

    /// Queues an entry up, or gives it back if there is no room for it.
    pub(crate) fn push(&mut self, weight: Weight, entry: T) -> Result<(), T> {
        let fits = |waiting: usize, more: usize, most: usize| {
            waiting.checked_add(more).is_some_and(|sum| sum <= most)
        };
        if !fits(self.waiting.requests, weight.requests, self.limits.requests)
            || !fits(self.waiting.tokens, weight.tokens, self.limits.tokens)
        {
            return Err(entry);
        }
        self.waiting.requests += weight.requests;
        self.waiting.tokens += weight.tokens;
        self.line.push_back((weight, entry));
        Ok(())
    }

    /// Puts an entry that was in a slot already before all others. It takes nothing of the limits.
    pub(crate) fn push_front(&mut self, entry: T) {
        self.line.push_front((Weight::default(), entry));
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let (weight, entry) = self.line.pop_front()?;
        self.forget(weight);
        Some(entry)
    }

    /// Takes out what need not wait any longer.
    pub(crate) fn take_out(&mut self, mut is_out: impl FnMut(&T) -> bool) -> Vec<T> {
        let (out, line) = std::mem::take(&mut self.line)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(_, entry)| is_out(entry));
        self.line = line;
        let take = |(weight, entry)| {
            self.forget(weight);
            entry
        };
        out.into_iter().map(take).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(crate) fn waiting(&self) -> Weight {
        self.waiting
    }

    fn forget(&mut self, weight: Weight) {
        self.waiting.requests -= weight.requests;
        self.waiting.tokens -= weight.tokens;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: QueueLimits = QueueLimits {
        requests: 4,
        tokens: 20,
    };

    fn one(tokens: usize) -> Weight {
        Weight {
            requests: 1,
            tokens,
        }
    }

    #[test]
    fn both_limits_hold_and_what_leaves_makes_room() {
        let mut queue = Queue::new(LIMITS);
        assert_eq!(queue.push(one(20), 'a'), Ok(()));
        assert_eq!(queue.push(one(1), 'b'), Err('b'));
        assert_eq!(queue.push(one(usize::MAX), 'b'), Err('b'));
        assert_eq!(queue.pop(), Some('a'));
        for entry in ['c', 'd', 'e', 'f'] {
            assert_eq!(queue.push(one(0), entry), Ok(()));
        }
        assert_eq!(queue.push(one(0), 'g'), Err('g'));
        assert_eq!(queue.take_out(|entry| *entry == 'd'), ['d']);
        queue.push_front('h');
        assert_eq!(
            std::iter::from_fn(|| queue.pop()).collect::<String>(),
            "hcef"
        );
        assert_eq!(queue.waiting(), Weight::default());
    }

    proptest! {
        /// Entries leave in the order in which they came, each once, and no more wait than may.
        #[test]
        fn order_and_bounds(weights in prop::collection::vec((0_usize..9, any::<bool>()), 0..60)) {
            let mut queue = Queue::new(LIMITS);
            let (mut entered, mut left) = (Vec::new(), Vec::new());
            for (id, (tokens, pop)) in weights.into_iter().enumerate() {
                if queue.push(one(tokens), id).is_ok() {
                    entered.push(id);
                }
                prop_assert!(queue.waiting().requests <= LIMITS.requests);
                prop_assert!(queue.waiting().tokens <= LIMITS.tokens);
                if pop {
                    left.extend(queue.pop());
                }
            }
            left.extend(std::iter::from_fn(|| queue.pop()));
            prop_assert_eq!(left, entered);
        }
    }
}
