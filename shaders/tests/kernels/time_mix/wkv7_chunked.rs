//! `wkv7_prepare.wgsl` and `wkv7_apply.wgsl`

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{Slot, Wkv7Apply, Wkv7Prepare};
use thalweg_shaders::twins::{self, Wkv7Inputs};

use super::{Mixed, N};
use crate::harness::{Noise, assert_close, buffer, read, rows, run};

/// Tokens of the kernels' chunks.
const CHUNK: usize = 16;
const SHAPES: [(usize, usize); 9] = [
    (1, 1),
    (7, 3),
    (15, 2),
    (16, 5),
    (17, 40),
    (33, 4),
    (64, 3),
    (100, 12),
    (513, 1),
];

/// Runs the twin and the kernels on the same numbers and compares y and the state.
#[track_caller]
fn compare(mixed: &Mixed, value: Slot, tokens: usize, state: &[f32], what: &str) {
    let heads = mixed.width / N;
    let inputs = Wkv7Inputs {
        r: mixed.slot(Slot::Receptance, tokens),
        w: mixed.slot(Slot::Decay, tokens),
        k: mixed.slot(Slot::Key, tokens),
        v: mixed.slot(value, tokens),
        kk: mixed.slot(Slot::RemovalKey, tokens),
        a: mixed.slot(Slot::Iclr, tokens),
    };
    let (mut expected_state, mut expected_y) = (state.to_vec(), vec![0.0; tokens * mixed.width]);
    twins::wkv7_chunked(inputs, N, CHUNK, &mut expected_state, &mut expected_y);

    let (state, y) = (buffer(state), buffer(&vec![f32::NAN; expected_y.len()]));
    // A plan is made for more tokens than a run may have.
    let (heads, capacity) = (heads as u32, mixed.capacity as u32);
    let scratch = Wkv7Prepare::scratch_bytes(heads, capacity);
    let prepared = buffer(&vec![f32::NAN; scratch as usize / 4]);
    let (rows, params, mixed) = (rows(tokens, 0), mixed.params(value), buffer(&mixed.values));
    let rows = Binding::Buffer(&rows);
    let params = Binding::Uniform(bytes_of(&params));
    let [mixed, state_out, y_out, prepared] = [&mixed, &state, &y, &prepared].map(Binding::Buffer);
    run(
        &Wkv7Prepare.kernel().unwrap(),
        &[rows, params, mixed, prepared],
        Workgroups::Grid(Wkv7Prepare.workgroups(heads, capacity)),
    );
    run(
        &Wkv7Apply.kernel().unwrap(),
        &[rows, params, mixed, state_out, y_out, prepared],
        Workgroups::Grid(Wkv7Apply.workgroups(heads)),
    );
    assert_close(&read(&y), &expected_y, 2e-6, &format!("y {what}"));
    assert_close(
        &read(&state),
        &expected_state,
        2e-6,
        &format!("state {what}"),
    );
}

#[test]
fn chunked_recurrence_is_its_twin() {
    for (index, (tokens, heads)) in SHAPES.into_iter().enumerate() {
        let mut noise = Noise::new(tokens as u64);
        let mixed = Mixed::new(&mut noise, tokens, heads * N);
        let value = [Slot::Value, Slot::FirstValue][index % 2];
        let state = noise.numbers(heads * N * N);
        let what = format!("[{tokens}, {heads} heads]");
        compare(&mixed, value, tokens, &state, &what);
    }
}

#[test]
fn chunked_recurrence_bears_both_ends_of_the_decay_and_a_repeated_key() {
    let (tokens, heads) = (70, 2);
    let floor = (-(-0.5f32).exp()).exp();
    for decays in [[floor; 2], [1.0; 2], [floor, 1.0]] {
        let mut noise = Noise::new(5);
        let width = heads * N;
        let mut mixed = Mixed::new(&mut noise, tokens, width);
        let len = mixed.capacity * width;
        let mut slot = |slot: Slot, value: &dyn Fn(usize) -> f32| {
            let values = &mut mixed.values[slot as usize * len..][..len];
            values
                .iter_mut()
                .enumerate()
                .for_each(|(i, x)| *x = value(i));
        };
        slot(Slot::Decay, &|i| decays[i % 2]);
        slot(Slot::Iclr, &|_| 0.98);
        slot(Slot::RemovalKey, &|i| {
            if i % 3 == 0 { 0.125 } else { -0.125 }
        });
        let state = noise.numbers(heads * N * N);
        compare(&mixed, Slot::Value, tokens, &state, &format!("{decays:?}"));
    }
}

#[test]
fn what_lies_beyond_the_last_token_does_not_matter() {
    let (tokens, width) = (18, N);
    let mut noise = Noise::new(3);
    let mut mixed = Mixed::new(&mut noise, tokens, width);
    for slot in mixed.values.chunks_exact_mut(mixed.capacity * width) {
        slot[tokens * width..].fill(f32::NAN);
    }
    let state = noise.numbers(N * N);
    compare(&mixed, Slot::Value, tokens, &state, "NaN beyond");
}
