//! `layer_norm.wgsl`

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{LayerNorm, LayerNormParams};
use thalweg_shaders::twins;

use crate::harness::{Noise, assert_close, buffer, read, rows, run};

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
        let kernel = LayerNorm { shift: false };
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
fn shifted_layer_norm_hands_the_last_row_on() {
    for (count, width) in SHAPES {
        let mut noise = Noise::new(width as u64 + 1);
        let (x, vectors) = (
            noise.between(-3.0, 5.0, count * width),
            vectors(&mut noise, width),
        );
        let before = noise.numbers(width);
        let mut expected = before.clone();
        expected.resize((1 + count) * width, 0.0);
        let (weight, bias) = vectors[8..].split_at(width);
        twins::layer_norm(&x, weight, bias, EPSILON, &mut expected[width..]);

        let (out, shift) = (
            buffer(&vec![f32::NAN; (1 + count) * width]),
            buffer(&before),
        );
        let params = params(width);
        let bindings = [
            Binding::Buffer(&rows(count, 0)),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&buffer(&vectors)),
            Binding::Buffer(&buffer(&x)),
            Binding::Buffer(&out),
            Binding::Buffer(&shift),
        ];
        let kernel = LayerNorm { shift: true };
        run(
            &kernel.kernel().unwrap(),
            &bindings,
            Workgroups::Grid(kernel.workgroups(count as u32 + 5)),
        );
        let what = format!("shifted layer norm [{count}, {width}]");
        assert_close(&read(&out), &expected, 1e-6, &what);
        assert_eq!(read(&shift), read(&out)[count * width..], "{what}");
    }
}
