//! `unfused_*.wgsl`: operations alone, of random shapes.

use bytemuck::bytes_of;
use half::f16;
use proptest::prelude::*;
use thalweg_gpu::{Binding, Buffer, Workgroups};
use thalweg_shaders::kernels::{
    Number, Slot, TimeMixParams, Unfused, UnfusedOperation, UnfusedParams,
};
use thalweg_shaders::twins;

use crate::harness::{Noise, assert_close, buffer, read, read_halves, rows, run};

const HEAD_SIZE: usize = 64;
const TOLERANCE: f32 = 2e-6;

/// Runs the operation on `tokens` rows of `width`, with the bindings between the parameters and the output, and compares
/// what comes out, in both numbers.
fn compare(
    operation: UnfusedOperation,
    [tokens, width]: [usize; 2],
    params: &[u8],
    inputs: &[&[f32]],
    expected: &[f32],
) {
    let inputs: Vec<Buffer> = inputs.iter().map(|input| buffer(input)).collect();
    let rows = rows(tokens, 0);
    for output in [Number::F32, Number::F16] {
        let out = match output {
            Number::F32 => buffer(&vec![f32::NAN; expected.len()]),
            Number::F16 => buffer(&vec![f16::NAN; expected.len()]),
        };
        let mut bindings = vec![Binding::Buffer(&rows), Binding::Uniform(params)];
        bindings.extend(inputs.iter().chain([&out]).map(Binding::Buffer));
        let kernel = Unfused { operation, output };
        let grid = kernel.workgroups(width as u32, tokens as u32 + 1);
        run(&kernel.kernel().unwrap(), &bindings, Workgroups::Grid(grid));
        let (found, tolerance) = match output {
            Number::F32 => (read(&out), TOLERANCE),
            Number::F16 => (read_halves(&out), 6e-4),
        };
        let what = format!("{kernel:?} [{tokens}, {width}]");
        assert_close(&found, expected, tolerance, &what);
    }
}

/// The vectors begin at element 8.
fn row_params(width: usize) -> UnfusedParams {
    UnfusedParams {
        width: width as u32 / 4,
        mix: 2,
        padding: [0; 2],
    }
}

/// Three vectors of a row's length: the bonus's, the norm's weight and bias.
fn time_mix_params(tokens: usize, width: usize) -> TimeMixParams {
    let width = width as u32 / 4;
    TimeMixParams {
        slot_stride: tokens as u32 * width,
        width,
        value_slot: Slot::FirstValue as u32,
        k_k: 0,
        k_a: 0,
        r_k: 0,
        norm_weight: width,
        norm_bias: 2 * width,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn softmax_is_its_twin(tokens in 1usize..5, quarter in 1usize..700, seed: u64) {
        let (mut noise, width) = (Noise::new(seed), 4 * quarter);
        let x = noise.between(-30.0, 50.0, tokens * width);
        let mut expected = x.clone();
        twins::softmax(&mut expected, width);
        let params = row_params(width);
        compare(UnfusedOperation::Softmax, [tokens, width], bytes_of(&params), &[&x], &expected);
    }

    #[test]
    fn token_shift_is_its_twin(tokens in 1usize..20, quarter in 1usize..700, seed: u64) {
        let (mut noise, width) = (Noise::new(seed), 4 * quarter);
        let x = noise.numbers(tokens * width);
        let previous = noise.numbers(width);
        let vectors = noise.numbers(8 + width);
        let mut expected = vec![0.0; x.len()];
        twins::token_shift(&x, &previous, &vectors[8..], &mut expected);
        let params = row_params(width);
        compare(
            UnfusedOperation::TokenShift,
            [tokens, width],
            bytes_of(&params),
            &[&vectors, &x, &previous],
            &expected,
        );
    }

    #[test]
    fn what_goes_by_heads_is_its_twin(tokens in 1usize..20, heads in 1usize..20, seed: u64) {
        let (mut noise, width) = (Noise::new(seed), heads * HEAD_SIZE);
        let y = noise.numbers(tokens * width);
        let vectors = noise.numbers(3 * width);
        let mixed = noise.numbers(Slot::COUNT as usize * tokens * width);
        let slot = |slot: Slot| &mixed[slot as usize * tokens * width..][..tokens * width];
        let params = time_mix_params(tokens, width);
        let compare = |operation, inputs: &[&[f32]], expected: &[f32]| {
            compare(operation, [tokens, width], bytes_of(&params), inputs, expected);
        };

        let mut expected = y.clone();
        let [r_k, weight, bias] = [0, 1, 2].map(|index| &vectors[index * width..][..width]);
        twins::group_norm(&mut expected, weight, bias, HEAD_SIZE);
        compare(UnfusedOperation::GroupNorm, &[&vectors, &y], &expected);

        let mut expected = y.clone();
        let [r, k, v] = [Slot::Receptance, Slot::Key, Slot::FirstValue].map(slot);
        twins::bonus(&mut expected, r, k, v, r_k, HEAD_SIZE);
        compare(UnfusedOperation::Bonus, &[&vectors, &mixed, &y], &expected);

        let mut expected = y.clone();
        twins::gate(&mut expected, slot(Slot::Gate));
        compare(UnfusedOperation::Gate, &[&mixed, &y], &expected);
    }
}
