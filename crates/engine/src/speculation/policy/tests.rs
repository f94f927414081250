//! The policy in a world whose costs and probabilities are known.

use proptest::prelude::*;

use super::*;

/// What a step with guesses takes of one that compiles kernels for it.
const COLD: f64 = 100.0;

/// A device, and texts on it.
struct World {
    policy: Policy,
    sequences: usize,
    /// Seconds of a step without guesses.
    plain: f64,
    /// Seconds of a step with guesses of up to so many rows, ascending.
    verify: Vec<(usize, f64)>,
    /// Seconds of a draft model's step, if it drafts.
    draft: Option<f64>,
    /// The true probability that a guessed token is right.
    acceptance: f64,
    /// That which the sequences believe in; where nothing is said, they know.
    believed: Option<f64>,
    most: usize,
    /// Whether times waver, and something else holds the device up now and then.
    wavers: bool,
    random: u64,
    tokens: usize,
    seconds: f64,
    guessed: usize,
}

impl World {
    fn new(plain: f64, verify: &[(usize, f64)]) -> Self {
        Self {
            policy: Policy::new(),
            sequences: 1,
            plain,
            verify: verify.to_vec(),
            draft: None,
            acceptance: 0.0,
            believed: None,
            most: 15,
            wavers: false,
            random: 1,
            tokens: 0,
            seconds: 0.0,
            guessed: 0,
        }
    }

    /// A number from 0 to 1.
    fn random(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1);
        (self.random >> 33) as f64 / (1_u64 << 31) as f64
    }

    fn is_right(&mut self) -> bool {
        self.random() < self.acceptance
    }

    fn measured(&mut self, seconds: f64) -> f64 {
        if !self.wavers {
            return seconds;
        }
        match self.random() < 0.01 {
            true => 10.0 * seconds,
            false => seconds * (0.75 + 0.5 * self.random()),
        }
    }

    fn verify_seconds(&self, rows: usize) -> f64 {
        let size = self.verify.iter().find(|(size, _)| rows <= *size);
        size.map_or(f64::INFINITY, |(_, seconds)| *seconds)
    }

    fn step(&mut self) {
        let prospect = Prospect {
            odds: odds(self.believed.unwrap_or(self.acceptance)),
            most: self.most,
            is_drafted: self.draft.is_some(),
        };
        let room = self.verify.last().unwrap().0 - self.sequences;
        let prospects = vec![Some(prospect); self.sequences];
        let counts = self.policy.plan(&prospects, room);
        let guessed: usize = counts.iter().sum();
        if guessed == 0 {
            let seconds = self.measured(self.plain);
            self.policy.learn_plain(self.sequences, 1, seconds, false);
            self.seconds += seconds;
            self.tokens += self.sequences;
            return;
        }
        self.guessed += 1;
        let longest = counts.iter().max().unwrap();
        let mut tokens = 0;
        for count in &counts {
            tokens += 1 + (0..*count).take_while(|_| self.is_right()).count();
        }
        let drafting = self.draft.map_or(0.0, |step| step * (longest + 1) as f64);
        let drafting = self.measured(drafting);
        if self.draft.is_some() {
            let drafted = Drafted {
                among: self.sequences,
                sequences: counts.iter().filter(|count| **count > 0).count(),
                tokens: *longest,
            };
            self.policy.learn_draft(drafted, Some(drafting));
        }
        let rows = self.sequences + guessed;
        let seconds = self.measured(self.verify_seconds(rows));
        self.policy.learn_verify(Verified {
            sequences: self.sequences,
            rows,
            tokens,
            seconds,
            drafting,
        });
        self.seconds += seconds + drafting;
        self.tokens += tokens;
    }

    /// How many times as fast as without guesses the next so many tokens of each sequence come.
    fn speed_up(&mut self, tokens: usize) -> f64 {
        let (before, since) = (self.tokens, self.seconds);
        while self.tokens < before + tokens * self.sequences {
            self.step();
        }
        let without = (self.tokens - before) as f64 / self.sequences as f64 * self.plain;
        without / (self.seconds - since)
    }

    /// The same at best, if the number of tokens stays the same and all is known.
    fn best(&self) -> f64 {
        let speed = |count: usize| {
            let expected: f64 = (0..=count as i32).map(|k| self.acceptance.powi(k)).sum();
            let drafting = self.draft.map_or(0.0, |step| step * (count + 1) as f64);
            let rows = self.sequences * (1 + count);
            expected * self.plain / (self.verify_seconds(rows) + drafting)
        };
        let most = (self.verify.last().unwrap().0 / self.sequences - 1).min(self.most);
        (1..=most).map(speed).fold(1.0, f64::max)
    }
}

/// All tokens of a guess are as probable.
fn odds(probability: f64) -> Odds {
    Odds {
        first: probability,
        further: probability,
    }
}

/// Plans of 2, 4, 8 and 16 tokens, as a large device has them.
const STAIRS: [(usize, f64); 4] = [(2, 1.1), (4, 1.15), (8, 1.3), (16, 1.7)];
/// Without any gain from reading together.
const STEEP: [(usize, f64); 4] = [(2, 2.0), (4, 4.0), (8, 8.0), (16, 16.0)];

#[test]
fn guesses_are_nearly_as_fast_as_the_best_fixed_number() {
    for acceptance in [0.3, 0.5, 0.7, 0.8, 0.9, 0.97] {
        for (draft, sequences) in [(None, 1), (None, 3), (Some(0.08), 1), (Some(0.2), 2)] {
            let mut world = World::new(1.0, &STAIRS);
            (world.acceptance, world.draft, world.sequences) = (acceptance, draft, sequences);
            let best = world.best();
            let found = world.speed_up(4000);
            let what = format!("{acceptance}, {draft:?}, {sequences}: {found} of {best}");
            assert!(found > 0.93 * best && found > 0.985, "{what}");
        }
    }
}

#[test]
fn wavering_times_do_little_harm() {
    for (draft, acceptance) in [(None, 0.5), (None, 0.8), (Some(0.1), 0.7), (Some(0.1), 0.9)] {
        let mut world = World::new(1.0, &STAIRS);
        (world.draft, world.acceptance, world.wavers) = (draft, acceptance, true);
        let hiccups = 0.99 + 0.01 * 10.0;
        let (found, best) = (hiccups * world.speed_up(4000), world.best());
        let what = format!("{acceptance}, {draft:?}: {found} of {best}");
        assert!(found > 0.9 * best, "{what}");
    }
    let mut world = World::new(1.0, &STEEP);
    (world.acceptance, world.wavers) = (0.3, true);
    assert!(1.09 * world.speed_up(4000) > 0.96);
}

#[test]
fn texts_that_do_not_repeat_lose_less_than_two_percent() {
    for believed in [None, Some(0.1), Some(0.5), Some(0.9)] {
        for (draft, verify) in [
            (None, STAIRS),
            (None, STEEP),
            (Some(0.1), STAIRS),
            (Some(1.0), STEEP),
        ] {
            let mut world = World::new(1.0, &verify);
            (world.believed, world.draft) = (believed, draft);
            let speed = world.speed_up(1000);
            assert!(speed > 0.98, "{believed:?}, {draft:?}, {verify:?}: {speed}");
        }
    }
}

#[test]
fn where_reading_together_gains_nothing_guesses_are_left_off() {
    let mut world = World::new(1.0, &STEEP);
    world.acceptance = 0.95;
    let speed = world.speed_up(3000);
    assert!(speed > 0.98, "{speed}");
    assert!(world.guessed < 300, "{}", world.guessed);
}

#[test]
fn a_draft_model_is_tried_again_now_and_then() {
    let mut world = World::new(1.0, &STAIRS);
    (world.draft, world.believed) = (Some(0.1), Some(0.05));
    assert!(world.speed_up(2000) > 0.98);
    assert!(world.guessed > 20, "{}", world.guessed);
    (world.acceptance, world.believed) = (0.9, None);
    let speed = world.speed_up(500);
    assert!(speed > 0.9 * world.best(), "{speed} of {}", world.best());
}

#[test]
fn a_text_that_begins_to_repeat_is_noticed_at_once() {
    let mut world = World::new(1.0, &STAIRS);
    world.acceptance = 0.02;
    assert!(world.speed_up(2000) > 0.98);
    world.acceptance = 0.95;
    let speed = world.speed_up(200);
    assert!(speed > 0.8 * world.best(), "{speed} of {}", world.best());
}

#[test]
fn gains_pay_for_guesses_that_go_wrong_but_not_for_long() {
    let mut world = World::new(1.0, &STAIRS);
    world.acceptance = 0.95;
    world.speed_up(1000);
    (world.acceptance, world.believed) = (0.0, Some(0.95));
    let seconds = world.seconds;
    world.speed_up(1000);
    let lost = world.seconds - seconds - 1000.0;
    assert!(lost < MOST_BALANCE + 12.0, "{lost}");
}

/// The first two steps of each size compile kernels, as a device has two plans for each.
#[test]
fn a_slow_beginning_is_not_held_against_anybody() {
    for cold_sizes in [0..1, 0..2, 0..4] {
        let mut world = World::new(1.0, &STAIRS);
        world.acceptance = 0.9;
        for _ in 0..3 {
            world.policy.learn_plain(1, 1, 1.0, false);
        }
        let sizes = STAIRS[cold_sizes].iter();
        for (rows, seconds) in sizes.flat_map(|size| [size; 2]) {
            let step = Verified {
                sequences: 1,
                rows: *rows,
                tokens: 2,
                seconds: COLD * seconds,
                drafting: 0.0,
            };
            world.policy.learn_verify(step);
        }
        assert!(world.speed_up(200) > 0.8 * world.best());
        assert!(world.speed_up(2000) > 0.94 * world.best());
    }
}

/// Where two rows cost nearly twice as much as one and 32 hardly more, that shows from rehearsals alone.
#[test]
fn rehearsals_show_that_only_long_guesses_pay() {
    let steep_at_first = [(2, 1.8), (16, 2.3), (32, 2.95)];
    let mut world = World::new(1.0, &steep_at_first);
    (world.acceptance, world.most) = (0.95, 31);
    for (rows, seconds) in steep_at_first {
        world.policy.learn_rehearsal(rows, seconds);
    }
    let found = world.speed_up(300);
    assert!(found > 0.9 * world.best(), "{found} of {}", world.best());
}

#[test]
fn nothing_is_guessed_before_it_is_known_what_to_compare_with() {
    let prospect = Prospect {
        odds: odds(0.98),
        most: 8,
        is_drafted: false,
    };
    let mut policy = Policy::new();
    assert_eq!(policy.plan(&[Some(prospect)], 8), [0]);
    for _ in 0..2 {
        policy.learn_plain(1, 1, 50.0, false);
        assert_eq!(policy.plan(&[Some(prospect)], 8), [0]);
    }
    policy.learn_plain(1, 1, 1.0, false);
    assert_eq!(policy.plan(&[Some(prospect)], 8), [1]);
    assert_eq!(policy.plan(&[None], 8), [0]);
    assert_eq!(policy.plan(&[Some(prospect)], 0), [0]);
}

#[test]
fn loops_are_short_only_after_a_gain() {
    let mut world = World::new(1.0, &STAIRS);
    assert_eq!(world.policy.longest_loop(), usize::MAX);
    world.acceptance = 0.98;
    world.speed_up(200);
    world.policy.since_gain = 0;
    let mut loops = Vec::new();
    for _ in 0..5 {
        let steps = world.policy.longest_loop();
        world.policy.learn_plain(1, steps, steps as f64, true);
        loops.push(steps);
    }
    assert_eq!(loops, [1, 1, 2, 4, 8]);
}

proptest! {
    /// Whatever is believed and true, no more is guessed than there is and fits, and no time is lost to speak of.
    #[test]
    fn losses_are_bounded(
        acceptance in 0.0_f64..1.0,
        believed in prop::option::of(0.0_f64..1.0),
        costs in prop::collection::vec(0.0_f64..2.0, 4),
        draft in prop::option::of(0.0_f64..0.5),
        sequences in 1_usize..3,
        seed in any::<u64>(),
    ) {
        let mut seconds = 1.0;
        let stairs: Vec<(usize, f64)> = [2, 4, 8, 16].into_iter().zip(&costs).map(|(rows, more)| {
            seconds += more;
            (rows, seconds)
        }).collect();
        let mut world = World::new(1.0, &stairs);
        (world.acceptance, world.believed, world.draft) = (acceptance, believed, draft);
        (world.sequences, world.random) = (sequences, seed);
        let steps = 1000.0;
        let speed = world.speed_up(steps as usize);
        // The account's bound, what the last guess was short of, and one step of each size to prepare the device.
        let lost = FIRST_BALANCE + ALLOWANCE * steps + 5.0 * (seconds + 8.0 * draft.unwrap_or(0.0));
        prop_assert!(speed > steps / (steps + lost), "{}", speed);
        let prospect = Prospect { odds: odds(acceptance), most: 5, is_drafted: false };
        let counts = world.policy.plan(&[Some(prospect), None, Some(prospect)], 7);
        prop_assert!(counts[1] == 0 && counts.iter().all(|count| *count <= 5));
        prop_assert!(counts.iter().sum::<usize>() <= 7);
    }
}
