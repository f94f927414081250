//! `layer_norm.wgsl`

use bytemuck::bytes_of;
use half::f16;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{LayerNorm, LayerNormParams, NormMix, NormMixParams, Number};
use thalweg_shaders::twins;

use crate::harness::{Noise, assert_close, buffer, read, read_halves, rows, run};

const EPSILON: f32 = 1e-5;
const SHAPES: [(usize, usize); 6] = [(1, 64), (1, 2560), (3, 192), (7, 320), (65, 256), (2, 1088)];

/// The vectors begin at element 8, the weight before the bias.
fn params(width: usize) -> LayerNormParams {
    let width = width as u32 / 4;
    LayerNormParams {
        width,
        weight: 2,
        bias: 2 + width,
        epsilon: EPSILON,
    }
}

fn vectors(noise: &mut Noise, width: usize) -> Vec<f32> {
    noise.numbers(8 + 2 * width)
}

#[test]
fn layer_norm_is_its_twin() {
    for (count, width) in SHAPES {
        let mut noise = Noise::new(width as u64);
        let (x, vectors) = (
            noise.between(-3.0, 5.0, (count + 2) * width),
            vectors(&mut noise, width),
        );
        let mut expected = vec![0.0; count * width];
        let (weight, bias) = vectors[8..].split_at(width);
        twins::layer_norm(&x[2 * width..], weight, bias, EPSILON, &mut expected);

        let out = buffer(&vec![f32::NAN; count * width]);
        let params = params(width);
        let bindings = [
            Binding::Buffer(&rows(count, 2)),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&buffer(&vectors)),
            Binding::Buffer(&buffer(&x)),
            Binding::Buffer(&out),
        ];
        let kernel = LayerNorm;
        run(
            &kernel.kernel().unwrap(),
            &bindings,
            Workgroups::Grid(kernel.workgroups(count as u32 + 1)),
        );
        assert_close(
            &read(&out),
            &expected,
            1e-6,
            &format!("layer norm [{count}, {width}]"),
        );
    }
}

#[test]
fn norm_mix_is_its_twins_and_hands_the_last_row_on() {
    for (count, width) in SHAPES {
        for (mixes, output) in [(1, Number::F32), (6, Number::F32), (6, Number::F16)] {
            norm_mix(count, width, NormMix { mixes, output });
        }
    }
}

fn norm_mix(count: usize, width: usize, kernel: NormMix) {
    let mut noise = Noise::new(width as u64 + 1);
    let (x, vectors) = (
        noise.between(-3.0, 5.0, count * width),
        vectors(&mut noise, width),
    );
    let (mixes, before) = (
        noise.between(0.0, 1.0, kernel.mixes as usize * width),
        noise.numbers(width),
    );
    let mut normed = vec![0.0; count * width];
    let (weight, bias) = vectors[8..].split_at(width);
    twins::layer_norm(&x, weight, bias, EPSILON, &mut normed);
    let capacity = count + 2;
    let numbers = kernel.mixes as usize * capacity * width;
    let (out, shift) = match kernel.output {
        Number::F32 => (buffer(&vec![f32::NAN; numbers]), buffer(&before)),
        Number::F16 => (buffer(&vec![f16::NAN; numbers]), buffer(&before)),
    };
    let quarter = width as u32 / 4;
    let params = NormMixParams {
        width: quarter,
        weight: 2,
        bias: 2 + quarter,
        epsilon: EPSILON,
        mixes: 2 + 2 * quarter,
        mix_stride: capacity as u32 * quarter,
    };
    let bindings = [
        Binding::Buffer(&rows(count, 0)),
        Binding::Uniform(bytes_of(&params)),
        Binding::Buffer(&buffer(&[vectors, mixes.clone()].concat())),
        Binding::Buffer(&buffer(&x)),
        Binding::Buffer(&out),
        Binding::Buffer(&shift),
    ];
    run(
        &kernel.kernel().unwrap(),
        &bindings,
        Workgroups::Grid(kernel.workgroups(count as u32 + 5)),
    );
    let what = format!("{kernel:?} [{count}, {width}]");
    let (found, tolerance) = match kernel.output {
        Number::F32 => (read(&out), 1e-6),
        Number::F16 => (read_halves(&out), 6e-4),
    };
    for (index, mix) in mixes.chunks_exact(width).enumerate() {
        let mut expected = vec![0.0; count * width];
        twins::token_shift(&normed, &before, mix, &mut expected);
        let found = &found[index * capacity * width..][..count * width];
        assert_close(found, &expected, tolerance, &what);
    }
    assert_close(&read(&shift), &normed[(count - 1) * width..], 1e-6, &what);
}
