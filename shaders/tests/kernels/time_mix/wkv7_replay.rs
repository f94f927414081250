//! `wkv7_replay.wgsl`

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{Replay, Slot, Wkv7Replay};
use thalweg_shaders::twins::{self, Wkv7Inputs};

use super::{Mixed, N};
use crate::harness::{Noise, assert_close, buffer, read, run};

const SLOTS: usize = 4;
const UPDATES: usize = Wkv7Replay::UPDATES;
/// For each sequence its slot, how many rows are due, and how many it reads; then the heads.
const SHAPES: [(&[[usize; 3]], usize); 8] = [
    (&[[0, 0, 1]], 1),
    (&[[2, 1, 1]], 40),
    (&[[1, 3, 0]], 3),
    (&[[0, 16, 16]], 2),
    (&[[3, 4, 5], [0, 0, 4], [1, 5, 8]], 5),
    (&[[1, 2, 1], [0, 0, 0], [3, 7, 0], [2, 0, 3]], 2),
    (&[[0, 0, 0]], 1),
    (&[[2, 9, 13], [0, 12, 16]], 3),
];

struct Case {
    heads: usize,
    replays: Vec<Replay>,
    mixed: Mixed,
    /// What was noted in the run before: row by row decay, key, value, removal key, replacement.
    due: Vec<f32>,
    states: Vec<f32>,
}

/// What is there after a run.
struct Outcome {
    y: Vec<f32>,
    states: Vec<f32>,
    noted: Vec<f32>,
}

impl Case {
    fn new(sequences: &[[usize; 3]], heads: usize) -> Case {
        let (mut noise, width) = (Noise::new(heads as u64), heads * N);
        let (mut first_due, mut first) = (1, 0); // a row that nobody is due
        let mut replays = Vec::new();
        for &[slot, due, count] in sequences {
            replays.push(Replay {
                slot: slot as u32,
                first_due,
                due: due as u32,
                first,
                count: count as u32,
            });
            (first_due, first) = (first_due + due as u32, first + count as u32);
        }
        let ranges = [
            (0.546, 1.0),
            (-1.0, 1.0),
            (-1.0, 1.0),
            (-0.125, 0.125),
            (-0.125, 0.125),
        ];
        let of_row = |noise: &mut Noise| -> Vec<f32> {
            let ranges = ranges.iter();
            ranges
                .flat_map(|(low, high)| noise.between(*low, *high, width))
                .collect()
        };
        Case {
            heads,
            replays,
            mixed: Mixed::new(&mut noise, first as usize, width),
            due: (0..first_due).flat_map(|_| of_row(&mut noise)).collect(),
            states: noise.numbers(SLOTS * width * N),
        }
    }

    fn width(&self) -> usize {
        self.heads * N
    }

    fn tokens(&self) -> usize {
        self.replays
            .iter()
            .map(|replay| replay.count as usize)
            .sum()
    }

    fn expected(&self, value: Slot) -> Outcome {
        let width = self.width();
        let (mut y, mut states) = (vec![0.0; self.tokens() * width], self.states.clone());
        for replay in &self.replays {
            let state = &mut states[replay.slot as usize * width * N..][..width * N];
            self.replay(replay, state);
            let (first, count) = (replay.first as usize, replay.count as usize);
            let y = &mut y[first * width..][..count * width];
            let inputs = self.mixed.inputs(value, first, count);
            twins::wkv7(inputs, N, &mut state.to_vec(), y);
        }
        Outcome {
            y,
            states,
            noted: self.noted(value),
        }
    }

    /// Takes a state through what is due. The twin multiplies by the in-context learning rate itself: it gets the quotient.
    fn replay(&self, replay: &Replay, state: &mut [f32]) {
        let width = self.width();
        for row in replay.first_due..replay.first_due + replay.due {
            let of_row = &self.due[row as usize * UPDATES * width..][..UPDATES * width];
            let [w, k, v, kk, kk_a] = std::array::from_fn(|i| &of_row[i * width..][..width]);
            let a: Vec<f32> = kk_a.iter().zip(kk).map(|(kk_a, kk)| kk_a / kk).collect();
            let inputs = Wkv7Inputs {
                r: w,
                w,
                k,
                v,
                kk,
                a: &a,
            };
            twins::wkv7(inputs, N, state, &mut vec![0.0; width]);
        }
    }

    fn noted(&self, value: Slot) -> Vec<f32> {
        let (width, tokens) = (self.width(), self.tokens());
        let slots = [Slot::Decay, Slot::Key, value, Slot::RemovalKey, Slot::Iclr];
        let [w, k, v, kk, a] = slots.map(|slot| self.mixed.slot(slot, tokens));
        let kk_a: Vec<f32> = kk.iter().zip(a).map(|(kk, a)| kk * a).collect();
        let rows = (0..tokens).flat_map(|token| {
            [w, k, v, kk, &kk_a].map(|all| all[token * width..][..width].to_vec())
        });
        rows.flatten().collect()
    }

    fn run(&self, value: Slot) -> Outcome {
        let (width, tokens) = (self.width(), self.tokens());
        let rows = tokens + 1; // one that must be left alone
        let states = buffer(&self.states);
        let noted = buffer(&vec![7.0_f32; rows * UPDATES * width]);
        let y = buffer(&vec![7.0_f32; rows * width]);
        let params = self.mixed.params(value);
        let bindings = [
            Binding::Buffer(&buffer(&self.replays)),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&buffer(&self.mixed.values)),
            Binding::Buffer(&states),
            Binding::Buffer(&buffer(&self.due)),
            Binding::Buffer(&noted),
            Binding::Buffer(&y),
        ];
        let grid = Wkv7Replay.workgroups(self.heads as u32, self.replays.len() as u32);
        let kernel = Wkv7Replay.kernel().unwrap();
        run(&kernel, &bindings, Workgroups::Grid(grid));
        let without_last_row = |mut numbers: Vec<f32>, row: usize| {
            let last = numbers.split_off(tokens * row);
            assert!(last.iter().all(|number| *number == 7.0));
            numbers
        };
        Outcome {
            y: without_last_row(read(&y), width),
            states: read(&states),
            noted: without_last_row(read(&noted), UPDATES * width),
        }
    }
}

#[test]
fn replay_is_its_twin() {
    for (index, (sequences, heads)) in SHAPES.into_iter().enumerate() {
        let value = [Slot::Value, Slot::FirstValue][index % 2];
        let case = Case::new(sequences, heads);
        let (found, expected) = (case.run(value), case.expected(value));
        let what = format!("replay {sequences:?}, {heads} heads");
        assert_close(&found.y, &expected.y, 3e-6, &format!("{what}: y"));
        assert_close(
            &found.states,
            &expected.states,
            3e-6,
            &format!("{what}: states"),
        );
        assert!(found.noted == expected.noted, "{what}: the log");
        for (slot, state) in found.states.chunks(heads * N * N).enumerate() {
            let is_due = |[of, due, _]: &[usize; 3]| *of == slot && *due > 0;
            let before = &case.states[slot * heads * N * N..][..heads * N * N];
            assert!(
                sequences.iter().any(is_due) || state == before,
                "{what}: a state is written although nothing is due"
            );
        }
    }
}

/// A state that is replayed row by row, or all at once, is the same to the bit: so it does not matter when it is asked for.
#[test]
fn how_much_is_replayed_at_a_time_changes_no_bit() {
    let mut case = Case::new(&[[1, 11, 0]], 3);
    let at_once = case.run(Slot::Value).states;
    for (first, due) in [(1, 1), (2, 4), (6, 5), (11, 1)] {
        case.replays[0] = Replay {
            first_due: first,
            due,
            ..case.replays[0]
        };
        case.states = case.run(Slot::Value).states;
    }
    assert!(case.states == at_once);
}

/// What is not a number must come out where it goes in: in no token before, and in no other head and sequence.
#[test]
fn replay_lets_what_is_not_a_number_through() {
    let (heads, lost_row, lost_head) = (3, 2, 1);
    for lost in [
        Slot::Decay,
        Slot::Key,
        Slot::Value,
        Slot::RemovalKey,
        Slot::Iclr,
    ] {
        let mut case = Case::new(&[[0, 2, 5], [2, 0, 3]], heads);
        let at = (lost as usize * case.mixed.capacity + lost_row) * case.width();
        case.mixed.values[at + lost_head * N + 17] = f32::NAN;
        let found = case.run(Slot::Value);
        for (index, row) in found.y.chunks(N).enumerate() {
            let (token, head) = (index / heads, index % heads);
            let is_lost = (lost_row..5).contains(&token) && head == lost_head;
            let has_any = row.iter().any(|value| value.is_nan());
            assert_eq!(has_any, is_lost, "{lost:?}: token {token}, head {head}");
        }
        assert!(found.states.iter().all(|number| number.is_finite()));
    }
}
