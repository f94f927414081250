//! Who reads how many tokens in the next step.
//!
//! A step holds a budget of tokens, which bounds how long it takes. First every sequence gets one token, those served
//! longest ago first: so a sequence that generates goes on in every step as far as the budget reaches, however long the
//! prompts beside it are. What is left goes to the prompts in turn. Nobody starves: of n sequences each is served at
//! least once in `n / budget` steps, rounded up, and of n prompts each is the first to get what is left once in n steps.

/// Tokens that the sequence in a slot reads in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) slot: usize,
    pub(crate) tokens: usize,
}

/// Divides steps among slots. It knows neither tokens nor models.
#[derive(Debug)]
pub(crate) struct Scheduler {
    /// Most tokens of a step.
    budget: usize,
    /// Steps planned so far.
    clock: u64,
    slots: Vec<Turn>,
}

/// When a slot had its turn.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    /// The step in which it last got a token.
    served: u64,
    /// The step in which it last got of what was left.
    fed: u64,
}

impl Scheduler {
    pub(crate) fn new(slots: usize, budget: usize) -> Self {
        Self {
            budget,
            clock: 0,
            slots: vec![Turn::default(); slots],
        }
    }

    /// Most tokens of a step.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// A new sequence is in a slot. It queues up behind those that wait for their turn already.
    pub(crate) fn enter(&mut self, slot: usize) {
        self.slots[slot] = Turn {
            served: self.clock,
            fed: self.clock,
        };
    }

    /// The shares of the next step, by slot; none without anything to read. `ready` says for every slot how many tokens
    /// it could read now.
    pub(crate) fn plan(&mut self, ready: &[usize]) -> Vec<Share> {
        self.clock += 1;
        let mut left = self.budget;
        let mut shares = vec![0; self.slots.len()];
        for slot in self.in_turn(|turn| turn.served) {
            if left > 0 && ready[slot] > 0 {
                shares[slot] = 1;
                left -= 1;
                self.slots[slot].served = self.clock;
            }
        }
        for slot in self.in_turn(|turn| turn.fed) {
            if left > 0 && ready[slot] > 1 {
                let more = left.min(ready[slot] - 1);
                shares[slot] += more;
                left -= more;
                self.slots[slot].fed = self.clock;
            }
        }
        let shares = shares.into_iter().enumerate();
        let shares = shares.map(|(slot, tokens)| Share { slot, tokens });
        shares.filter(|share| share.tokens > 0).collect()
    }

    fn in_turn(&self, last: impl Fn(&Turn) -> u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.slots.len()).collect();
        order.sort_by_key(|slot| last(&self.slots[*slot]));
        order
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(shares: &[Share], slot: usize) -> usize {
        let share = shares.iter().find(|share| share.slot == slot);
        share.map_or(0, |share| share.tokens)
    }

    #[test]
    fn a_long_prompt_takes_what_the_others_leave() {
        let mut scheduler = Scheduler::new(3, 16);
        let shares = scheduler.plan(&[1, 1_000_000, 1]);
        assert_eq!([0, 1, 2].map(|slot| tokens(&shares, slot)), [1, 14, 1]);
    }

    #[test]
    fn prompts_take_turns() {
        let mut scheduler = Scheduler::new(2, 10);
        let mut shares = || scheduler.plan(&[100, 100]);
        assert_eq!(tokens(&shares(), 0), 9);
        assert_eq!(tokens(&shares(), 1), 9);
        assert_eq!(tokens(&shares(), 0), 9);
    }

    #[test]
    fn nothing_to_read_is_no_step() {
        assert_eq!(Scheduler::new(2, 10).plan(&[0, 0]), []);
    }

    #[test]
    fn newcomers_do_not_push_in() {
        let mut scheduler = Scheduler::new(3, 1);
        let mut waited = 0;
        while tokens(&scheduler.plan(&[1, 1, 1]), 2) == 0 {
            scheduler.enter(0);
            scheduler.enter(1);
            waited += 1;
            assert!(waited < 3, "slot 2 starves");
        }
    }

    proptest! {
        /// Whatever is ready: the budget is kept and used up, nobody gets more than is ready, nobody waits too long for a
        /// token, and no prompt waits too long for what is left.
        #[test]
        fn steps_are_full_and_fair(
            budget in 1_usize..20,
            steps in prop::collection::vec(prop::collection::vec(0_usize..40, 6), 1..60),
        ) {
            const SLOTS: usize = 6;
            let mut scheduler = Scheduler::new(SLOTS, budget);
            let (mut unserved, mut unfed) = ([0; SLOTS], [0; SLOTS]);
            for ready in &steps {
                let shares = scheduler.plan(ready);
                let total: usize = shares.iter().map(|share| share.tokens).sum();
                prop_assert_eq!(total, budget.min(ready.iter().sum()));
                let left = total > ready.iter().filter(|ready| **ready > 0).count();
                for slot in 0..SLOTS {
                    let share = tokens(&shares, slot);
                    prop_assert!(share <= ready[slot]);
                    unserved[slot] = if share > 0 || ready[slot] == 0 { 0 } else { unserved[slot] + 1 };
                    prop_assert!(unserved[slot] < SLOTS.div_ceil(budget), "slot {} starves", slot);
                    let waits = left && share == 1 && ready[slot] > 1;
                    unfed[slot] = match share > 1 || ready[slot] <= 1 {
                        true => 0,
                        false => unfed[slot] + usize::from(waits),
                    };
                    prop_assert!(unfed[slot] < SLOTS, "the prompt in slot {} starves", slot);
                }
            }
        }
    }
}
