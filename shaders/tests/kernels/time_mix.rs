//! `removal_key.wgsl`, `wkv7.wgsl` and `readout.wgsl`

mod head_step;
mod wkv7_chunked;
mod wkv7_replay;

use std::ops::Range;

use bytemuck::bytes_of;
use half::f16;
use thalweg_gpu::{Binding, Feature, Workgroups};
use thalweg_shaders::kernels::{Number, Readout, RemovalKey, Sequence, Slot, TimeMixParams, Wkv7};
use thalweg_shaders::twins::{self, Wkv7Inputs};

use crate::harness::{Noise, assert_close, buffer, context, read, read_halves, rows, run};

const N: usize = 64;
const SHAPES: [(usize, usize); 7] = [(1, 1), (1, 40), (2, 3), (7, 5), (8, 4), (9, 40), (65, 3)];

/// Random contents of `mixed` for up to `capacity` tokens, each slot in the range of what it stands for.
struct Mixed {
    capacity: usize,
    width: usize,
    values: Vec<f32>,
}

impl Mixed {
    fn new(noise: &mut Noise, tokens: usize, width: usize) -> Mixed {
        let capacity = tokens + 2;
        let slots: [(f32, f32); Slot::COUNT as usize] = [
            (-1.0, 1.0),
            (-1.0, 1.0),
            (-1.0, 1.0),
            (-1.0, 1.0),
            (0.546, 1.0),
            (0.0, 1.0),
            (-2.0, 2.0),
            (-0.125, 0.125),
        ];
        let values = slots
            .iter()
            .flat_map(|(low, high)| noise.between(*low, *high, capacity * width))
            .collect();
        Mixed {
            capacity,
            width,
            values,
        }
    }

    fn slot(&self, slot: Slot, tokens: usize) -> &[f32] {
        &self.values[slot as usize * self.capacity * self.width..][..tokens * self.width]
    }

    /// What enters the recurrence of `count` tokens from `first` on.
    fn inputs(&self, value: Slot, first: usize, count: usize) -> Wkv7Inputs<'_> {
        let rows = |slot| &self.slot(slot, first + count)[first * self.width..];
        Wkv7Inputs {
            r: rows(Slot::Receptance),
            w: rows(Slot::Decay),
            k: rows(Slot::Key),
            v: rows(value),
            kk: rows(Slot::RemovalKey),
            a: rows(Slot::Iclr),
        }
    }

    /// Five vectors of a row's length follow one another in vectors.
    fn params(&self, value: Slot) -> TimeMixParams {
        let width = self.width as u32 / 4;
        TimeMixParams {
            slot_stride: self.capacity as u32 * width,
            width,
            value_slot: value as u32,
            k_k: 0,
            k_a: width,
            r_k: 2 * width,
            norm_weight: 3 * width,
            norm_bias: 4 * width,
        }
    }
}

#[test]
fn removal_key_is_its_twin() {
    for (tokens, heads) in SHAPES {
        let (mut noise, width) = (Noise::new(heads as u64), heads * N);
        let mut mixed = Mixed::new(&mut noise, tokens, width);
        let zero_head = Slot::Key as usize * mixed.capacity * width;
        mixed.values[zero_head..zero_head + N].fill(0.0); // its norm must not be divided by
        let vectors = noise.numbers(5 * width);
        let mut key = mixed.slot(Slot::Key, tokens).to_vec();
        let mut removal_key = vec![0.0; tokens * width];
        twins::removal_key(&key, &vectors[..width], N, &mut removal_key);
        twins::scale_key(
            &mut key,
            mixed.slot(Slot::Iclr, tokens),
            &vectors[width..2 * width],
        );

        let out = buffer(&mixed.values);
        let params = mixed.params(Slot::Value);
        let bindings = [
            Binding::Buffer(&rows(tokens, 0)),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&buffer(&vectors)),
            Binding::Buffer(&out),
        ];
        let grid = RemovalKey.workgroups(width as u32, tokens as u32 + 1);
        run(
            &RemovalKey.kernel().unwrap(),
            &bindings,
            Workgroups::Grid(grid),
        );
        mixed.values = read(&out);
        let what = format!("[{tokens}, {heads} heads]");
        assert_close(
            mixed.slot(Slot::RemovalKey, tokens),
            &removal_key,
            1e-6,
            &format!("removal key {what}"),
        );
        assert_close(
            mixed.slot(Slot::Key, tokens),
            &key,
            1e-6,
            &format!("scaled key {what}"),
        );
    }
}

/// The lengths of sequences that follow one another, and the slots that have their states.
const MIXTURES: [(&[(usize, u32)], usize); 8] = [
    (&[(1, 0)], 1),
    (&[(1, 0)], 40),
    (&[(2, 1)], 3),
    (&[(7, 0), (2, 2)], 5),
    (&[(8, 2), (0, 0), (8, 1)], 4),
    (&[(9, 0)], 40),
    (&[(65, 1)], 3),
    (&[(3, 2), (17, 0), (12, 1), (0, 0), (0, 0)], 2),
];
const SLOTS: usize = 3;

#[test]
fn recurrence_is_its_twin() {
    for (sequences, heads) in MIXTURES {
        let [smallest_subgroup, _] = context().adapter().subgroup_sizes;
        let has_subgroup = context().has(Feature::Subgroup) && smallest_subgroup >= Wkv7::LANES;
        for (subgroup, value) in [(false, Slot::FirstValue), (has_subgroup, Slot::Value)] {
            recurrence(sequences, heads, Wkv7 { subgroup }, value);
        }
    }
}

fn recurrence(lengths: &[(usize, u32)], heads: usize, kernel: Wkv7, value: Slot) {
    let tokens = lengths.iter().map(|(count, _)| count).sum();
    let (mut noise, width) = (Noise::new(heads as u64), heads * N);
    let mixed = Mixed::new(&mut noise, tokens, width);
    let mut states = noise.numbers(SLOTS * heads * N * N);
    let (states_out, y_out) = (buffer(&states), buffer(&vec![f32::NAN; tokens * width]));
    let mut y = vec![0.0; tokens * width];
    let mut sequences = Vec::new();
    let mut first = 0;
    for &(count, slot) in lengths {
        sequences.push(Sequence {
            slot,
            first: first as u32,
            count: count as u32,
        });
        let state = &mut states[slot as usize * heads * N * N..][..heads * N * N];
        let y = &mut y[first * width..][..count * width];
        twins::wkv7(mixed.inputs(value, first, count), N, state, y);
        first += count;
    }

    let params = mixed.params(value);
    let bindings = [
        Binding::Buffer(&buffer(&sequences)),
        Binding::Uniform(bytes_of(&params)),
        Binding::Buffer(&buffer(&mixed.values)),
        Binding::Buffer(&states_out),
        Binding::Buffer(&y_out),
    ];
    let grid = Workgroups::Grid(kernel.workgroups(heads as u32, sequences.len() as u32));
    run(&kernel.kernel().unwrap(), &bindings, grid);
    let what = format!("{lengths:?}, {heads} heads, {kernel:?}");
    assert_close(&read(&y_out), &y, 2e-6, &format!("recurrence {what}"));
    assert_close(&read(&states_out), &states, 2e-6, &format!("states {what}"));
}

/// The readout's inputs besides `mixed`, for the tokens of a run.
struct ReadoutCase {
    tokens: usize,
    mixed: Mixed,
    vectors: Vec<f32>,
    y: Vec<f32>,
}

impl ReadoutCase {
    fn new(tokens: usize, heads: usize) -> ReadoutCase {
        let (mut noise, width) = (Noise::new(heads as u64), heads * N);
        ReadoutCase {
            tokens,
            mixed: Mixed::new(&mut noise, tokens, width),
            vectors: noise.numbers(5 * width),
            y: noise.numbers(tokens * width),
        }
    }

    fn expected(&self, value: Slot) -> Vec<f32> {
        let vector = |index: usize| &self.vectors[index * self.mixed.width..][..self.mixed.width];
        let slot = |slot| self.mixed.slot(slot, self.tokens);
        let (r, k, v) = (slot(Slot::Receptance), slot(Slot::Key), slot(value));
        let mut y = self.y.clone();
        twins::group_norm(&mut y, vector(3), vector(4), N);
        twins::bonus(&mut y, r, k, v, vector(2), N);
        twins::gate(&mut y, slot(Slot::Gate));
        y
    }

    fn run(&self, value: Slot, output: Number) -> Vec<f32> {
        let (kernel, params) = (Readout { output }, self.mixed.params(value));
        let out = match output {
            Number::F32 => buffer(&vec![f32::NAN; self.y.len()]),
            Number::F16 => buffer(&vec![f16::NAN; self.y.len()]),
        };
        let bindings = [
            Binding::Buffer(&rows(self.tokens, 0)),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&buffer(&self.vectors)),
            Binding::Buffer(&buffer(&self.mixed.values)),
            Binding::Buffer(&buffer(&self.y)),
            Binding::Buffer(&out),
        ];
        let grid = kernel.workgroups(self.mixed.width as u32, self.tokens as u32 + 1);
        run(&kernel.kernel().unwrap(), &bindings, Workgroups::Grid(grid));
        match output {
            Number::F32 => read(&out),
            Number::F16 => read_halves(&out),
        }
    }
}

#[test]
fn readout_is_its_twins() {
    for (index, (tokens, heads)) in SHAPES.into_iter().enumerate() {
        let value = [Slot::Value, Slot::FirstValue][index % 2];
        let case = ReadoutCase::new(tokens, heads);
        let expected = case.expected(value);
        for (output, tolerance) in [(Number::F32, 2e-6), (Number::F16, 6e-4)] {
            let what = format!("readout [{tokens}, {heads} heads] as {output:?}");
            assert_close(&case.run(value, output), &expected, tolerance, &what);
        }
    }
}

/// What is not a number must come out where it goes in, and in no other head and token.
#[test]
fn readout_lets_what_is_not_a_number_through() {
    let (tokens, heads, lost) = (3, 5, 2 * 5 * N + 3 * N + 17);
    let head = lost / N * N..lost / N * N + N;
    for output in [Number::F32, Number::F16] {
        for value in [f32::NAN, f32::INFINITY] {
            let mut case = ReadoutCase::new(tokens, heads);
            case.y[lost] = value; // the norm spreads it over its head
            assert_lost(&case.run(Slot::Value, output), head.clone(), "y");
        }
        for (slot, reach) in [
            (Slot::Receptance, head.clone()),
            (Slot::Key, head.clone()),
            (Slot::Value, lost..lost + 1),
            (Slot::Gate, lost..lost + 1),
        ] {
            let mut case = ReadoutCase::new(tokens, heads);
            let slot_len = case.mixed.capacity * case.mixed.width;
            case.mixed.values[slot as usize * slot_len + lost] = f32::NAN;
            let what = format!("{slot:?} as {output:?}");
            assert_lost(&case.run(Slot::Value, output), reach, &what);
        }
    }
}

/// Asserts that no number is left in `reach`, and that all others are finite.
#[track_caller]
fn assert_lost(found: &[f32], reach: Range<usize>, what: &str) {
    for (index, value) in found.iter().enumerate() {
        let is_right = match reach.contains(&index) {
            true => value.is_nan(),
            false => value.is_finite(),
        };
        assert!(is_right, "{what}: {value} at {index}");
    }
}
