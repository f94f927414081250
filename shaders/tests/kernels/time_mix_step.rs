//! `time_mix_step.wgsl`

use bytemuck::{Zeroable, bytes_of};
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Feature, Workgroups};
use thalweg_shaders::kernels::{
    LowRankParams, ROUNDED_SPAN_VEC4S, Slot, TimeMixStep, TimeMixStepParams,
};
use thalweg_shaders::twins::{self, Wkv7Inputs};
use thalweg_shaders::{SPAN, VEC4_BYTES};

use crate::harness::{Noise, Weights, assert_close, buffer, context, read, run};
use crate::rounded::assert_rounded;

const N: usize = 64;
const TOLERANCE: f32 = 4e-6;
/// The vectors, in the order in which they lie: three biases, k_k, k_a, r_k, the group norm's weight and bias.
const VECTORS: usize = 8;

/// The second halves of the low-rank pairs (decay, in-context learning rate, value residual, gate), and all they meet.
struct Case {
    width: usize,
    matrices: [Weights; 4],
    hidden: [Vec<f32>; 4],
    slots: Vec<f32>,
    vectors: Vec<f32>,
    state: Vec<f32>,
}

impl Case {
    fn new(heads: usize, pairs: [(TensorType, usize); 4]) -> Case {
        let width = heads * N;
        let mut noise = Noise::new(heads as u64 + pairs[3].1 as u64);
        Case {
            width,
            matrices: pairs.map(|(ty, rank)| noise.matrix(ty, width, rank)),
            hidden: pairs.map(|(_, rank)| noise.between(-0.3, 0.3, rank)),
            slots: noise.numbers(Slot::COUNT as usize * width),
            vectors: noise.numbers(VECTORS * width),
            state: noise.numbers(width * N),
        }
    }

    fn slot(&self, slot: Slot) -> &[f32] {
        &self.slots[slot as usize * self.width..][..self.width]
    }

    fn vector(&self, index: usize) -> &[f32] {
        &self.vectors[index * self.width..][..self.width]
    }

    /// The gated output and the state.
    fn expected(&self, first_layer: bool) -> (Vec<f32>, Vec<f32>) {
        let [mut w, mut a, residual, g] = std::array::from_fn(|pair| {
            let mut product = vec![0.0; self.width];
            twins::matmul(
                &self.matrices[pair].twin(),
                &self.hidden[pair],
                &mut product,
            )
            .unwrap();
            product
        });
        twins::decay(&mut w, self.vector(0));
        twins::iclr(&mut a, self.vector(1));
        let first_value = self.slot(Slot::FirstValue);
        let mut v = first_value.to_vec();
        if !first_layer {
            v = self.slot(Slot::Value).to_vec();
            twins::value_residual(&mut v, first_value, &residual, self.vector(2));
        }
        let (r, mut k) = (self.slot(Slot::Receptance), self.slot(Slot::Key).to_vec());
        let mut kk = vec![0.0; self.width];
        twins::removal_key(&k, self.vector(3), N, &mut kk);
        twins::scale_key(&mut k, &a, self.vector(4));
        let (mut y, mut state) = (vec![0.0; self.width], self.state.clone());
        let inputs = Wkv7Inputs {
            r,
            w: &w,
            k: &k,
            v: &v,
            kk: &kk,
            a: &a,
        };
        twins::wkv7(inputs, N, &mut state, &mut y);
        twins::group_norm(&mut y, self.vector(6), self.vector(7), N);
        twins::bonus(&mut y, r, &k, &v, self.vector(5), N);
        twins::gate(&mut y, &g);
        (y, state)
    }

    fn run(&self, first_layer: bool, [subgroup, rounds_output]: [bool; 2]) -> (Vec<f32>, Vec<f32>) {
        let kernel = TimeMixStep {
            rounds_output,
            encodings: std::array::from_fn(|pair| self.matrices[pair].encoding()),
            spans: std::array::from_fn(|pair| {
                let matrix = &self.matrices[pair];
                let left_out = first_layer && pair == 2;
                match left_out {
                    true => 0,
                    false => matrix.encoding().spans(matrix.columns) as u32,
                }
            }),
            first_layer,
            subgroup,
        };
        let (mut encoded, mut mixed) = (vec![0u8; VEC4_BYTES], self.slots.clone());
        let pairs = std::array::from_fn(|pair| {
            let (matrix, hidden) = (&self.matrices[pair], &self.hidden[pair]);
            let params = LowRankParams {
                weights: (encoded.len() / VEC4_BYTES) as u32,
                stride: (matrix.encoding().row_bytes(matrix.columns) / VEC4_BYTES) as u32,
                hidden: mixed.len() as u32 / 4,
                padding: 0,
            };
            encoded.extend(matrix.encoded());
            mixed.extend(hidden);
            mixed.resize(mixed.len().next_multiple_of(SPAN), 1e3); // meets the zeros that rows are padded with
            if first_layer && pair == 2 {
                LowRankParams::zeroed()
            } else {
                params
            }
        });
        let element = |vector: usize| (vector * self.width) as u32;
        let params = TimeMixStepParams {
            pairs,
            slot_stride: self.width as u32 / 4,
            decay_bias: element(0),
            iclr_bias: element(1),
            value_bias: element(2),
            k_k: element(3),
            k_a: element(4),
            r_k: element(5),
            norm_weight: element(6),
            norm_bias: element(7),
            padding: [0; 3],
        };
        let words = match rounds_output {
            true => self.width / SPAN * 4 * ROUNDED_SPAN_VEC4S,
            false => self.width,
        };
        let (state, out) = (buffer(&self.state), buffer(&vec![f32::NAN; words]));
        let bindings = [
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&buffer(&self.vectors)),
            Binding::Buffer(&buffer(&encoded)),
            Binding::Buffer(&buffer(&mixed)),
            Binding::Buffer(&state),
            Binding::Buffer(&out),
        ];
        let grid = Workgroups::Grid(kernel.workgroups((self.width / N) as u32));
        run(&kernel.kernel().unwrap(), &bindings, grid);
        (read(&out), read(&state))
    }

    fn compare(&self, what: &str) {
        for first_layer in [false, true] {
            let (y, state) = self.expected(first_layer);
            for subgroup in levels() {
                let what = format!("{what}, first layer {first_layer}, subgroup {subgroup}");
                let (found_y, found_state) = self.run(first_layer, [subgroup, false]);
                assert_close(&found_y, &y, TOLERANCE, &format!("{what}: output"));
                assert_close(&found_state, &state, TOLERANCE, &format!("{what}: state"));
                let (found_y, found_state) = self.run(first_layer, [subgroup, true]);
                assert_rounded(&found_y, &y, &what);
                assert_close(&found_state, &state, TOLERANCE, &format!("{what}: state"));
            }
        }
    }
}

/// Whether subgroups add up: never, and where the device's are large enough.
fn levels() -> impl Iterator<Item = bool> {
    let [smallest, _] = context().adapter().subgroup_sizes;
    let subgroup = context().has(Feature::Subgroup) && smallest >= TimeMixStep::LANES;
    [false].into_iter().chain(subgroup.then_some(true))
}

#[test]
fn every_encoding() {
    for ty in [
        TensorType::Q4_K,
        TensorType::Q5_K,
        TensorType::Q6_K,
        TensorType::Q8_0,
        TensorType::F16,
        TensorType::F32,
    ] {
        Case::new(2, [(ty, 256); 4]).compare(ty.name());
    }
}

#[test]
fn ranks_and_encodings_of_all_kinds() {
    use TensorType::{F16, F32, Q8_0};
    for (heads, pairs) in [
        (1, [(F16, 96), (F16, 96), (F16, 64), (F16, 320)]),
        (3, [(F32, 24), (F16, 32), (Q8_0, 32), (Q8_0, 128)]),
        (5, [(F16, 8), (F32, 100), (F16, 40), (F32, 288)]),
        (12, [(F32, 96), (F16, 96), (F16, 64), (F16, 320)]), // as in real files
    ] {
        Case::new(heads, pairs).compare(&format!("{heads} heads, {pairs:?}"));
    }
}

/// A key of zeros has no direction to remove; its length must not be divided by.
#[test]
fn keys_of_zeros() {
    let mut case = Case::new(2, [(TensorType::F16, 64); 4]);
    let key = Slot::Key as usize * case.width;
    case.slots[key..key + N].fill(0.0);
    case.compare("a key of zeros");
}

/// Not a number must come out where it goes in, for the guard on the logits to see it.
#[test]
fn not_a_number_goes_through() {
    let mut case = Case::new(2, [(TensorType::F16, 64); 4]);
    case.hidden[3][5] = f32::NAN;
    case.state[3 * N + 9] = f32::NAN;
    for subgroup in levels() {
        let (rounded, _) = case.run(false, [subgroup, true]);
        assert!(rounded[8].is_nan() && rounded[10].is_nan(), "both steps");
        let (y, state) = case.run(false, [subgroup, false]);
        assert!(y.iter().all(|value| value.is_nan()), "subgroup {subgroup}");
        assert!(
            state[3 * N..4 * N].iter().all(|value| value.is_nan()),
            "subgroup {subgroup}"
        );
        assert!(
            state[4 * N..].iter().all(|value| value.is_finite()),
            "subgroup {subgroup}"
        );
    }
}
