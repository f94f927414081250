//! `head_step.wgsl`

use bytemuck::bytes_of;
use half::f16;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{HeadStep, Link, Number, Slot};
use thalweg_shaders::twins::{self, Wkv7Inputs};

use super::{Mixed, N};
use crate::harness::{Noise, assert_close, buffer, read, read_halves, rows, run};

const SLOTS: usize = 6;
/// The slots of the sequences, and heads.
const SHAPES: [(&[u32], usize); 5] = [
    (&[0], 1),
    (&[3], 40),
    (&[1, 0], 3),
    (&[5, 2, 0, 1, 3], 5),
    (&[4, 0, 1, 2, 3, 5], 2),
];
/// Rows before those of the sequences.
const BEFORE: usize = 2;

struct Case {
    heads: usize,
    slots: &'static [u32],
    mixed: Mixed,
    vectors: Vec<f32>,
    states: Vec<f32>,
}

impl Case {
    fn new(slots: &'static [u32], heads: usize) -> Case {
        let (mut noise, width) = (Noise::new(heads as u64), heads * N);
        let mut mixed = Mixed::new(&mut noise, BEFORE + slots.len(), width);
        let zero_head = (Slot::Key as usize * mixed.capacity + BEFORE) * width;
        mixed.values[zero_head..zero_head + N].fill(0.0); // its norm must not be divided by
        Case {
            heads,
            slots,
            mixed,
            vectors: noise.numbers(5 * width),
            states: noise.numbers(SLOTS * width * N),
        }
    }

    fn width(&self) -> usize {
        self.heads * N
    }

    /// What comes out for the sequences' tokens, and the states afterwards.
    fn expected(&self, value: Slot) -> (Vec<f32>, Vec<f32>) {
        let width = self.width();
        let rows = |slot| &self.mixed.slot(slot, BEFORE + self.slots.len())[BEFORE * width..];
        let vector = |index: usize| &self.vectors[index * width..][..width];
        let mut k = rows(Slot::Key).to_vec();
        let mut kk = vec![0.0; k.len()];
        twins::removal_key(&k, vector(0), N, &mut kk);
        twins::scale_key(&mut k, rows(Slot::Iclr), vector(1));
        let (mut y, mut states) = (vec![0.0; k.len()], self.states.clone());
        for (index, slot) in self.slots.iter().enumerate() {
            let row = |all: &'_ [f32]| all[index * width..][..width].to_vec();
            let inputs = Wkv7Inputs {
                r: &row(rows(Slot::Receptance)),
                w: &row(rows(Slot::Decay)),
                k: &row(&k),
                v: &row(rows(value)),
                kk: &row(&kk),
                a: &row(rows(Slot::Iclr)),
            };
            let state = &mut states[*slot as usize * width * N..][..width * N];
            twins::wkv7(inputs, N, state, &mut y[index * width..][..width]);
        }
        twins::group_norm(&mut y, vector(3), vector(4), N);
        let r = rows(Slot::Receptance);
        twins::bonus(&mut y, r, &k, rows(value), vector(2), N);
        twins::gate(&mut y, rows(Slot::Gate));
        (y, states)
    }

    fn run(&self, value: Slot, output: Number) -> (Vec<f32>, Vec<f32>) {
        let tokens = BEFORE + self.slots.len();
        let (kernel, params) = (HeadStep { output }, self.mixed.params(value));
        let out = match output {
            Number::F32 => buffer(&vec![f32::NAN; tokens * self.width()]),
            Number::F16 => buffer(&vec![f16::NAN; tokens * self.width()]),
        };
        let of_others = [0; BEFORE].iter();
        let links = of_others.chain(self.slots).enumerate();
        let links: Vec<Link> = links
            .map(|(row, &slot)| Link {
                other: row as u32,
                slot,
            })
            .collect();
        let states = buffer(&self.states);
        let bindings = [
            Binding::Buffer(&rows(self.slots.len(), BEFORE)),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&buffer(&self.vectors)),
            Binding::Buffer(&buffer(&self.mixed.values)),
            Binding::Buffer(&buffer(&links)),
            Binding::Buffer(&states),
            Binding::Buffer(&out),
        ];
        let grid = kernel.workgroups(self.heads as u32, self.slots.len() as u32 + 1);
        run(&kernel.kernel().unwrap(), &bindings, Workgroups::Grid(grid));
        let out = match output {
            Number::F32 => read(&out),
            Number::F16 => read_halves(&out),
        };
        let (others, found) = out.split_at(BEFORE * self.width());
        assert!(others.iter().all(|value| value.is_nan()));
        (found.to_vec(), read(&states))
    }
}

#[test]
fn head_step_is_its_twins() {
    for (index, (slots, heads)) in SHAPES.into_iter().enumerate() {
        let value = [Slot::Value, Slot::FirstValue][index % 2];
        let case = Case::new(slots, heads);
        let (expected, states) = case.expected(value);
        for (output, tolerance) in [(Number::F32, 3e-6), (Number::F16, 6e-4)] {
            let what = format!("head step of slots {slots:?}, {heads} heads, as {output:?}");
            let (found, found_states) = case.run(value, output);
            assert_close(&found, &expected, tolerance, &what);
            assert_close(&found_states, &states, 2e-6, &format!("states, {what}"));
        }
    }
}

/// What is not a number must come out where it goes in, and in no other head and sequence.
#[test]
fn head_step_lets_what_is_not_a_number_through() {
    let slots = &[2, 0, 1];
    let (heads, lost_row, lost_channel) = (4, 1, 2 * N + 17);
    for lost in [
        Slot::Receptance,
        Slot::Decay,
        Slot::Key,
        Slot::Value,
        Slot::Iclr,
        Slot::Gate,
    ] {
        let mut case = Case::new(slots, heads);
        let at = (lost as usize * case.mixed.capacity + BEFORE + lost_row) * case.width();
        case.mixed.values[at + lost_channel] = f32::NAN;
        let (found, _) = case.run(Slot::Value, Number::F32);
        for (index, value) in found.iter().enumerate() {
            let (row, channel) = (index / case.width(), index % case.width());
            let is_of_head = row == lost_row && channel / N == lost_channel / N;
            let is_right = match lost {
                Slot::Gate => value.is_nan() == (is_of_head && channel == lost_channel),
                _ => value.is_nan() == is_of_head,
            };
            assert!(
                is_right,
                "{lost:?}: {value} in row {row}, channel {channel}"
            );
        }
    }
}
