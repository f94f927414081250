//! `matmul_dot4.wgsl`

use bytemuck::bytes_of;
use half::f16;
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{Matmul, MatmulDot4, Number, pad_jobs};
use thalweg_shaders::twins;

use crate::harness::{Noise, Weights, assert_close, buffer, context, read, rows, run};
use crate::product::job;

const TOLERANCE: f32 = 3e-6;

/// Numbers that stay far from where rounding changes, whatever the last bits of a division: each 16 are whole multiples of
/// a step of their own, the largest 127, and a little more.
fn stable(noise: &mut Noise, count: usize) -> Vec<f32> {
    let mut numbers = noise.numbers(count);
    for block in numbers.chunks_mut(16) {
        let step = 0.003 * (1.5 + noise.number());
        for x in &mut *block {
            *x = step * ((126.0 * *x).round() + 0.3 * noise.number());
        }
        block[noise.bits() as usize % 16] = step * 127.0;
    }
    numbers
}

fn product(kernel: MatmulDot4, weights: &Weights, x: &[f32]) -> Vec<f32> {
    let columns = weights.columns;
    let tokens = x.len() / columns;
    let jobs = pad_jobs(&[job(weights)]);
    let out = buffer(&vec![f32::NAN; tokens * weights.rows]);
    let input = match kernel.input {
        Number::F32 => buffer(x),
        Number::F16 => buffer(&x.iter().copied().map(f16::from_f32).collect::<Vec<_>>()),
    };
    let bindings = [
        Binding::Buffer(&rows(tokens, 0)),
        Binding::Uniform(bytes_of(&jobs)),
        Binding::Buffer(&buffer(&[0.0f32; 4])),
        Binding::Buffer(&buffer(&weights.encoded())),
        Binding::Buffer(&input),
        Binding::Buffer(&out),
    ];
    // The grid is for more rows and tokens than there are.
    let grid = kernel.workgroups(1, weights.rows as u32 + 200, tokens as u32 + 200);
    run(&kernel.kernel().unwrap(), &bindings, Workgroups::Grid(grid));
    read(&out)
}

fn kernel(weights: &Weights, block_size: u32, input: Number) -> MatmulDot4 {
    MatmulDot4 {
        encoding: weights.encoding(),
        block_size,
        input,
        output: Number::F32,
    }
}

fn compare(ty: TensorType, [height, columns, tokens]: [usize; 3], block_size: u32, input: Number) {
    let mut noise = Noise::new((height * columns + tokens) as u64);
    let weights = noise.matrix(ty, height, columns);
    let mut x = stable(&mut noise, tokens * columns);
    if input == Number::F16 {
        x.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32());
    }
    let found = product(kernel(&weights, block_size, input), &weights, &x);
    let mut expected = vec![0.0; tokens * height];
    twins::quantise(&mut x);
    twins::matmul(&weights.twin(), &x, &mut expected).unwrap();
    let what = format!("{ty} [{height}, {columns}], {tokens} tokens, {block_size}, {input:?}");
    assert_close(&found, &expected, TOLERANCE, &what);
}

#[test]
fn every_encoding_in_odd_shapes() {
    use TensorType::{Q4_0, Q4_K, Q5_K, Q6_K, Q8_0};
    for (ty, shape, block_size) in [
        (Q4_K, [1, 256, 1], 16),
        (Q4_K, [257, 2560, 2], 16),
        (Q4_K, [70, 512, 65], 8),
        (Q5_K, [129, 768, 5], 16),
        (Q6_K, [130, 1024, 67], 16),
        (Q8_0, [33, 192, 31], 8),
        (Q8_0, [192, 320, 1], 16),
        (Q4_0, [131, 96, 70], 16),
    ] {
        compare(ty, shape, block_size, Number::F32);
    }
}

#[test]
fn large_workgroups_and_halves_where_the_device_has_them() {
    if context().limits().workgroup_invocations >= 1024 {
        compare(TensorType::Q5_K, [130, 512, 65], 32, Number::F32);
    }
    if context().has(thalweg_gpu::Feature::F16) {
        compare(TensorType::Q6_K, [70, 512, 65], 16, Number::F16);
    }
}

/// Not a number and infinity must come out where they go in, for the guard on the logits to see them.
#[test]
fn zeros_give_zero_and_what_is_not_finite_shows() {
    let mut noise = Noise::new(3);
    let weights = noise.matrix(TensorType::Q4_K, 64, 256);
    let mut x = noise.numbers(4 * 256);
    x[256..512].fill(0.0);
    x[512 + 77] = f32::NAN;
    x[768 + 200] = f32::INFINITY;
    let kernel = kernel(&weights, Matmul::DEFAULT_BLOCK_SIZE, Number::F32);
    let found = product(kernel, &weights, &x);
    let tokens: Vec<&[f32]> = found.chunks(64).collect();
    assert!(tokens[0].iter().all(|value| value.is_finite()));
    assert!(tokens[1].iter().all(|value| *value == 0.0));
    assert!(tokens[2].iter().all(|value| value.is_nan()));
    assert!(tokens[3].iter().all(|value| !value.is_finite()));
}
