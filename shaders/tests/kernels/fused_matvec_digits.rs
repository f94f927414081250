//! `fused_matvec.wgsl` with inputs rounded to integers.

use bytemuck::{Zeroable, bytes_of};
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Feature, Workgroups};
use thalweg_shaders::kernels::{FusedInput, FusedMatvec, Job, NO_MIX, NormParams, pad_jobs};

use crate::fused_matvec::fused;
use thalweg_shaders::{VEC4_BYTES, twins};

use crate::harness::{Noise, Weights, assert_close, buffer, context, read, rows, run};

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

    /// Numbers that stay far from where rounding to one digit changes, whatever their last bits: whole steps, with the
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
        if kind == FusedInput::Plain {
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

/// Runs the kernel with a job for each matrix; the results lie one after the other.
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
    let (out, next) = (
        buffer(&vec![f32::NAN; results as usize]),
        buffer(&vec![f32::NAN; width]),
    );
    let (rows, jobs) = (rows(1, 0), pad_jobs(&jobs));
    let (vectors, encoded) = (buffer(&vectors), buffer(&encoded));
    let (x, before) = (buffer(&input.x), buffer(&input.before));
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

/// Compares one digit with the product with what the twin makes of the input, three digits with the product itself.
fn compare(types: &[TensorType], width: usize, kind: FusedInput, lanes: u32, rows: u32) {
    let mut noise = Noise::new((width + types.len()) as u64 + u64::from(lanes));
    let matrices: Vec<Weights> = types
        .iter()
        .zip([37, 8, 65, 5, 16, 7])
        .map(|(ty, height)| noise.matrix(*ty, height, width))
        .collect();
    for digits in [1, 3] {
        let input = match digits {
            1 => Input::stable(&mut noise, width, matrices.len()),
            _ => Input::any(&mut noise, width, matrices.len()),
        };
        let mut expected = Vec::new();
        for (index, matrix) in matrices.iter().enumerate() {
            let mut x = input.prepared(kind, index);
            if digits == 1 && matrix.encoding().has_integers() {
                twins::quantise(&mut x, digits);
            }
            let mut product = vec![0.0; matrix.rows];
            twins::matmul(&matrix.twin(), &x, &mut product).unwrap();
            expected.push(product);
        }
        let [smallest, _] = context().adapter().subgroup_sizes;
        for subgroup in [false, true] {
            if subgroup && !(context().has(Feature::Subgroup) && smallest >= lanes) {
                continue;
            }
            let kernel = FusedMatvec {
                matrices: matrices.iter().map(fused).collect(),
                spans: width as u32 / 32,
                input: kind,
                shuffled: if subgroup { smallest.min(lanes) } else { 0 },
                lanes,
                rows,
                workgroup: 128,
                depth: 2,
                digits,
            };
            if kernel.workgroup_bytes() > context().limits().workgroup_bytes {
                continue;
            }
            let mut found = &product(&kernel, &matrices, &input)[..];
            for (matrix, expected) in matrices.iter().zip(&expected) {
                let own;
                (own, found) = found.split_at(matrix.rows);
                let ty = matrix.ty;
                let what =
                    format!("{ty}, {width}, {kind:?}, {lanes} lanes, {digits} digits, {subgroup}");
                assert_close(own, expected, TOLERANCE, &what);
            }
        }
    }
}

const KINDS: [FusedInput; 3] = [FusedInput::Plain, FusedInput::Norm, FusedInput::NormShift];

#[test]
fn every_encoding_with_rounded_inputs() {
    use TensorType::{F16, F32, Q4_K, Q5_K, Q6_K, Q8_0};
    for kind in KINDS {
        compare(&[Q4_K, Q5_K, Q6_K, Q8_0], 256, kind, 4, 2);
        compare(&[F16, Q4_K, F32, Q6_K, Q8_0, Q5_K], 1024, kind, 8, 1);
        compare(&[Q5_K], 768, kind, 8, 1);
    }
    compare(&[F32, Q8_0], 288, FusedInput::NormShift, 4, 1);
    compare(&[Q4_K, Q6_K], 2560, FusedInput::NormShift, 8, 2);
    compare(&[Q6_K, Q5_K, Q4_K], 2560, FusedInput::Plain, 8, 1);
    compare(&[Q4_K], 1280, FusedInput::Norm, 32, 1);
}

#[test]
fn zeros_give_zero_and_what_is_not_a_number_shows() {
    let mut noise = Noise::new(3);
    let matrices = [noise.matrix(TensorType::Q4_K, 9, 256)];
    let kernel = FusedMatvec {
        matrices: matrices.iter().map(fused).collect(),
        spans: 8,
        input: FusedInput::Plain,
        shuffled: 0,
        lanes: 8,
        rows: 1,
        workgroup: 128,
        depth: 2,
        digits: 3,
    };
    let mut input = Input::any(&mut noise, 256, 1);
    input.x.fill(0.0);
    assert_eq!(product(&kernel, &matrices, &input), [0.0; 9]);
    input.x[100] = f32::NAN;
    assert!(
        product(&kernel, &matrices, &input)
            .iter()
            .all(|y| y.is_nan())
    );
}
