//! `fused_matvec.wgsl` with inputs rounded to integers.

use bytemuck::{Zeroable, bytes_of};
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Feature, Workgroups};
use thalweg_shaders::kernels::{
    Epilogue, FusedInput, FusedMatvec, Job, NO_MIX, NormParams, ROUNDED_SPAN_VEC4S, pad_jobs,
};
use thalweg_shaders::{VEC4_BYTES, twins};

use crate::fused_matvec::fused;
use crate::harness::{Noise, Weights, assert_close, buffer, context, read, rows, run};
use crate::rounded::{assert_rounded, pack};

const TOLERANCE: f32 = 3e-6;
const EPSILON: f32 = 1e-5;

/// What a dispatch reads, `[width]` each but for the mixes, one for each job.
struct Input {
    x: Vec<f32>,
    norm_weight: Vec<f32>,
    norm_bias: Vec<f32>,
    before: Vec<f32>,
    mixes: Vec<Vec<f32>>,
}

impl Input {
    /// Numbers of any kind.
    fn any(noise: &mut Noise, width: usize, jobs: usize) -> Input {
        Input {
            x: noise.numbers(width),
            norm_weight: noise.numbers(width),
            norm_bias: noise.numbers(width),
            before: noise.numbers(width),
            mixes: (0..jobs).map(|_| noise.between(0.0, 1.0, width)).collect(),
        }
    }

    /// Numbers that stay far from where rounding changes, whatever their last bits: whole steps, with the
    /// largest among 16, and a little more.
    fn stable(noise: &mut Noise, width: usize, jobs: usize) -> Input {
        let step = 0.01;
        let mut whole: Vec<f32> = (0..width)
            .map(|_| (noise.number() * 127.0).round())
            .collect();
        whole.iter_mut().step_by(16).for_each(|n| *n = 127.0);
        let mut near = |size: f32| -> Vec<f32> {
            whole
                .iter()
                .map(|n| {
                    step * (n + if *n == 127.0 {
                        0.0
                    } else {
                        size * noise.number()
                    })
                })
                .collect()
        };
        Input {
            x: near(0.3),
            norm_bias: near(0.2),
            before: near(0.2),
            norm_weight: noise.between(-0.03 * step, 0.03 * step, width),
            mixes: (0..jobs).map(|_| noise.between(0.0, 1.0, width)).collect(),
        }
    }

    /// What job `index` multiplies with.
    fn prepared(&self, kind: FusedInput, index: usize) -> Vec<f32> {
        if matches!(kind, FusedInput::Plain | FusedInput::Rounded) {
            return self.x.clone();
        }
        let mut normed = vec![0.0; self.x.len()];
        twins::layer_norm(
            &self.x,
            &self.norm_weight,
            &self.norm_bias,
            EPSILON,
            &mut normed,
        );
        if kind == FusedInput::Norm {
            return normed;
        }
        let mut mixed = vec![0.0; normed.len()];
        twins::token_shift(&normed, &self.before, &self.mixes[index], &mut mixed);
        mixed
    }
}

/// Runs the kernel with a job for each matrix; the results lie one after the other. Those that are to be rounded are
/// squared relus.
fn product(kernel: &FusedMatvec, matrices: &[Weights], input: &Input) -> Vec<f32> {
    let width = input.x.len();
    let mut vectors = [&input.norm_weight[..], &input.norm_bias].concat();
    let (mut encoded, mut jobs) = (Vec::new(), Vec::new());
    let mut results = 0;
    for (matrix, mix) in matrices.iter().zip(&input.mixes) {
        let encoding = matrix.encoding();
        jobs.push(Job {
            weights: (encoded.len() / VEC4_BYTES) as u32,
            weights_stride: (encoding.row_bytes(width) / VEC4_BYTES) as u32,
            rows: matrix.rows as u32,
            spans: encoding.spans(width) as u32,
            mix: match kernel.input {
                FusedInput::NormShift => vectors.len() as u32 / 4,
                _ => NO_MIX,
            },
            output: results,
            epilogue: match kernel.rounds_output {
                true => Epilogue::ReluSquared as u32,
                false => Epilogue::Store as u32,
            },
            ..Job::zeroed()
        });
        encoded.extend(matrix.encoded());
        vectors.extend(mix);
        results += matrix.rows as u32;
    }
    let norm = NormParams {
        weight: 0,
        bias: width as u32 / 4,
        epsilon: EPSILON,
        padding: 0,
    };
    let words = match kernel.rounds_output {
        true => results as usize / 32 * 4 * ROUNDED_SPAN_VEC4S,
        false => results as usize,
    };
    let (out, next) = (
        buffer(&vec![f32::NAN; words]),
        buffer(&vec![f32::NAN; width]),
    );
    let (rows, jobs) = (rows(1, 0), pad_jobs(&jobs));
    let (vectors, encoded) = (buffer(&vectors), buffer(&encoded));
    let x = match kernel.input {
        FusedInput::Rounded => buffer(&pack(&input.x)),
        _ => buffer(&input.x),
    };
    let before = buffer(&input.before);
    let bindings = [
        Binding::Buffer(&rows),
        Binding::Uniform(bytes_of(&jobs)),
        Binding::Buffer(&vectors),
        Binding::Buffer(&encoded),
        Binding::Buffer(&x),
        Binding::Buffer(&out),
        Binding::Uniform(bytes_of(&norm)),
        Binding::Buffer(&before),
        Binding::Buffer(&next),
    ];
    let grid = Workgroups::Linear(kernel.workgroups());
    let kernel = kernel.kernel().unwrap();
    run(&kernel, &bindings[..kernel.bindings.len()], grid);
    read(&out)
}

/// Compares the product with what the twins make of the input.
fn compare(types: &[TensorType], width: usize, kind: FusedInput, lanes: u32, rows: u32) {
    let mut noise = Noise::new((width + types.len()) as u64 + u64::from(lanes));
    let matrices: Vec<Weights> = types
        .iter()
        .zip([37, 8, 65, 5, 16, 7])
        .map(|(ty, height)| noise.matrix(*ty, height, width))
        .collect();
    let input = Input::stable(&mut noise, width, matrices.len());
    let mut expected = Vec::new();
    for (index, matrix) in matrices.iter().enumerate() {
        let mut x = input.prepared(kind, index);
        if matrix.encoding().has_integers() {
            twins::quantise(&mut x);
        }
        let mut product = vec![0.0; matrix.rows];
        twins::matmul(&matrix.twin(), &x, &mut product).unwrap();
        expected.push(product);
    }
    for shuffled in sums(lanes) {
        let kernel = FusedMatvec {
            matrices: matrices.iter().map(fused).collect(),
            spans: width as u32 / 32,
            input: kind,
            shuffled,
            lanes,
            rows,
            workgroup: 128,
            depth: 2,
            integers: true,
            rounds_output: false,
        };
        if kernel.workgroup_bytes() > context().limits().workgroup_bytes {
            continue;
        }
        let mut found = &product(&kernel, &matrices, &input)[..];
        for (matrix, expected) in matrices.iter().zip(&expected) {
            let own;
            (own, found) = found.split_at(matrix.rows);
            let ty = matrix.ty;
            let what = format!("{ty}, {width}, {kind:?}, {lanes} lanes, {shuffled} shuffled");
            assert_close(own, expected, TOLERANCE, &what);
        }
    }
}

/// By how many lanes in a subgroup sums over so many may be made: workgroup memory, a part of the lanes, all.
fn sums(lanes: u32) -> Vec<u32> {
    let [smallest, _] = context().adapter().subgroup_sizes;
    let mut sums = vec![0];
    if context().has(Feature::Subgroup) && smallest >= 4 {
        sums.push(4);
        sums.extend((smallest > 4).then_some(smallest.min(lanes)));
    }
    sums
}

const KINDS: [FusedInput; 4] = [
    FusedInput::Plain,
    FusedInput::Rounded,
    FusedInput::Norm,
    FusedInput::NormShift,
];

#[test]
fn every_encoding_with_rounded_inputs() {
    use TensorType::{F16, F32, Q4_K, Q5_K, Q6_K, Q8_0};
    for kind in KINDS {
        compare(&[Q4_K, Q5_K, Q6_K, Q8_0], 256, kind, 4, 2);
        compare(&[Q5_K], 768, kind, 8, 1);
        if kind != FusedInput::Rounded {
            compare(&[F16, Q4_K, F32, Q6_K, Q8_0, Q5_K], 1024, kind, 8, 1);
            compare(&[F16, Q4_K, F32, Q6_K], 512, kind, 8, 4);
            compare(&[Q4_K, F16], 256, kind, 64, 2);
        }
    }
    compare(&[Q4_K], 2560, FusedInput::Rounded, 64, 2);
    compare(&[Q8_0], 288, FusedInput::Rounded, 4, 4);
    compare(&[F32, Q8_0], 288, FusedInput::NormShift, 4, 1);
    compare(&[Q4_K, Q6_K], 2560, FusedInput::NormShift, 8, 2);
    compare(&[Q6_K, Q5_K, Q4_K], 2560, FusedInput::Plain, 8, 1);
    compare(&[Q4_K], 1280, FusedInput::Norm, 32, 1);
}

#[test]
fn results_are_rounded_for_the_next_kernel() {
    for (ty, rows, kind, [lanes, shared]) in [
        (TensorType::Q4_K, 96, FusedInput::NormShift, [8, 2]),
        (TensorType::Q6_K, 32, FusedInput::NormShift, [16, 4]),
        (TensorType::Q8_0, 64, FusedInput::Plain, [8, 1]),
        (TensorType::F16, 32, FusedInput::Plain, [8, 4]),
    ] {
        let mut noise = Noise::new(u64::from(lanes) + rows as u64);
        let matrices = [noise.matrix(ty, rows, 512)];
        let input = Input::stable(&mut noise, 512, 1);
        let mut x = input.prepared(kind, 0);
        if ty != TensorType::F16 {
            twins::quantise(&mut x);
        }
        let mut expected = vec![0.0; rows];
        twins::matmul(&matrices[0].twin(), &x, &mut expected).unwrap();
        twins::relu_squared(&mut expected);
        for shuffled in sums(lanes) {
            let kernel = FusedMatvec {
                matrices: matrices.iter().map(fused).collect(),
                spans: 16,
                input: kind,
                shuffled,
                lanes,
                rows: shared,
                workgroup: 128,
                depth: 1,
                integers: true,
                rounds_output: true,
            };
            assert!(kernel.can_round_output());
            let found = product(&kernel, &matrices, &input);
            let what = format!("{ty}, {kind:?}, {lanes} lanes, {shuffled} shuffled");
            assert_rounded(&found, &expected, &what);
        }
    }
}

#[test]
fn zeros_give_zero_and_what_is_not_a_number_shows() {
    let mut noise = Noise::new(3);
    let matrices = [noise.matrix(TensorType::Q4_K, 32, 256)];
    for rounds_output in [false, true] {
        let kernel = FusedMatvec {
            matrices: matrices.iter().map(fused).collect(),
            spans: 8,
            input: FusedInput::Plain,
            shuffled: 0,
            lanes: 8,
            rows: 1,
            workgroup: 128,
            depth: 2,
            integers: true,
            rounds_output,
        };
        let mut input = Input::any(&mut noise, 256, 1);
        input.x.fill(0.0);
        let found = product(&kernel, &matrices, &input);
        assert!(found.iter().all(|y| *y == 0.0), "{found:?}");
        input.x[100] = f32::NAN;
        let found = product(&kernel, &matrices, &input);
        // Of rounded results both steps.
        let numbers = match rounds_output {
            true => vec![found[8], found[10]],
            false => found,
        };
        assert!(numbers.iter().all(|y| y.is_nan()), "{numbers:?}");
    }
}
