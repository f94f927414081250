//! `fused_matvec.wgsl`

use bytemuck::{Zeroable, bytes_of};
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Feature, Workgroups};
use thalweg_shaders::kernels::{
    Epilogue, FusedInput, FusedMatrix, FusedMatvec, Job, NO_MIX, NormParams, pad_jobs,
};
use thalweg_shaders::{SPAN, VEC4_BYTES, twins};

use crate::harness::{Noise, Weights, assert_close, buffer, context, read, rows, run, types};

const EPSILON: f32 = 1e-5;
/// The norm's own rounding comes on top of the product's.
const TOLERANCE: f32 = 4e-6;

const INPUTS: [FusedInput; 3] = [FusedInput::Plain, FusedInput::Norm, FusedInput::NormShift];

/// A dispatch: matrices of any encodings and heights that share their columns, each with an epilogue.
struct Case {
    columns: usize,
    matrices: Vec<(Weights, Epilogue)>,
    /// Residual stream, predecessor's normed row.
    x: Vec<f32>,
    shift: Vec<f32>,
    /// The norm's weight and bias, then a mix for each matrix.
    vectors: Vec<f32>,
    /// What the output holds before.
    old: Vec<f32>,
}

/// What a dispatch leaves behind.
struct Outcome {
    out: Vec<f32>,
    next_shift: Vec<f32>,
}

impl Case {
    fn new(columns: usize, matrices: &[(TensorType, usize, Epilogue)]) -> Case {
        let mut noise = Noise::new((columns + matrices.len()) as u64);
        let made: Vec<_> = matrices
            .iter()
            .map(|(ty, rows, epilogue)| (noise.matrix(*ty, *rows, columns), *epilogue))
            .collect();
        let rows = made.iter().map(|(matrix, _)| matrix.rows).sum();
        Case {
            columns,
            x: noise.between(-3.0, 5.0, columns),
            shift: noise.numbers(columns),
            vectors: noise.numbers((2 + made.len()) * columns),
            old: noise.numbers(rows),
            matrices: made,
        }
    }

    fn vector(&self, index: usize) -> &[f32] {
        &self.vectors[index * self.columns..][..self.columns]
    }

    fn expected(&self, input: FusedInput) -> Outcome {
        let mut normed = self.x.clone();
        if input != FusedInput::Plain {
            twins::layer_norm(
                &self.x,
                self.vector(0),
                self.vector(1),
                EPSILON,
                &mut normed,
            );
        }
        let mut out = self.old.clone();
        let mut rest = &mut out[..];
        for (index, (matrix, epilogue)) in self.matrices.iter().enumerate() {
            let mut mixed = normed.clone();
            if input == FusedInput::NormShift {
                twins::token_shift(&normed, &self.shift, self.vector(2 + index), &mut mixed);
            }
            let (old, others) = rest.split_at_mut(matrix.rows);
            rest = others;
            let mut product = vec![0.0; matrix.rows];
            twins::matmul(&matrix.twin(), &mixed, &mut product).unwrap();
            match epilogue {
                Epilogue::Tanh => twins::tanh(&mut product),
                Epilogue::Sigmoid => twins::sigmoid(&mut product),
                Epilogue::ReluSquared => twins::relu_squared(&mut product),
                Epilogue::Add => twins::residual(&mut product, old),
                _ => {}
            }
            old.copy_from_slice(&product);
        }
        Outcome {
            out,
            next_shift: normed,
        }
    }

    /// Runs the kernel with a `form`, the input being the second row of its buffer where it is only normed.
    fn run(&self, input: FusedInput, [shuffled, lanes, rows_per_group]: Form) -> Outcome {
        let kernel = FusedMatvec {
            matrices: self
                .matrices
                .iter()
                .map(|(matrix, _)| fused(matrix))
                .collect(),
            spans: self.columns.div_ceil(SPAN) as u32,
            input,
            shuffled,
            lanes,
            rows: rows_per_group,
            workgroup: 128,
            depth: 2,
            integers: false,
            rounds_output: false,
        };
        let quarter = self.columns as u32 / 4;
        let (mut jobs, mut encoded, mut output) = (vec![], vec![], 0);
        for (index, (matrix, epilogue)) in self.matrices.iter().enumerate() {
            let encoding = matrix.encoding();
            jobs.push(Job {
                weights: (encoded.len() / VEC4_BYTES) as u32,
                weights_stride: (encoding.row_bytes(self.columns) / VEC4_BYTES) as u32,
                rows: matrix.rows as u32,
                spans: kernel.spans,
                mix: match input {
                    FusedInput::NormShift => (2 + index as u32) * quarter,
                    _ => NO_MIX,
                },
                output,
                epilogue: *epilogue as u32,
                ..Job::zeroed()
            });
            encoded.extend(matrix.encoded());
            output += matrix.rows as u32;
        }
        let jobs = pad_jobs(&jobs);
        let norm = NormParams {
            weight: 0,
            bias: quarter,
            epsilon: EPSILON,
            padding: 0,
        };
        let (first, x) = match input {
            FusedInput::Norm => (1, [vec![f32::NAN; self.columns], self.x.clone()].concat()),
            _ => (0, self.padded_x()),
        };
        let (out, next_shift) = (buffer(&self.old), buffer(&vec![f32::NAN; self.columns]));
        let (count, vectors, weights, x, shift) = (
            rows(1, first),
            buffer(&self.vectors),
            buffer(&encoded),
            buffer(&x),
            buffer(&self.shift),
        );
        let mut bindings = vec![
            Binding::Buffer(&count),
            Binding::Uniform(bytes_of(&jobs)),
            Binding::Buffer(&vectors),
            Binding::Buffer(&weights),
            Binding::Buffer(&x),
            Binding::Buffer(&out),
        ];
        if input != FusedInput::Plain {
            bindings.push(Binding::Uniform(bytes_of(&norm)));
        }
        if input == FusedInput::NormShift {
            bindings.extend([Binding::Buffer(&shift), Binding::Buffer(&next_shift)]);
        }
        // Folded, and with workgroups beyond the last job's.
        let grid = Workgroups::Grid([kernel.workgroups().div_ceil(2), 2, 1]);
        run(&kernel.kernel().unwrap(), &bindings, grid);
        Outcome {
            out: read(&out),
            next_shift: read(&next_shift),
        }
    }

    /// x with what fills its last span, which must not matter.
    fn padded_x(&self) -> Vec<f32> {
        let mut x = self.x.clone();
        x.resize(self.columns.next_multiple_of(SPAN), 1e3);
        x
    }

    fn compare(&self, input: FusedInput, what: &str) {
        let expected = self.expected(input);
        for form in forms() {
            let what = format!("{what}, {input:?}, {form:?}");
            let found = self.run(input, form);
            let mut first = 0;
            for (matrix, _) in &self.matrices {
                let range = first..first + matrix.rows;
                assert_close(
                    &found.out[range.clone()],
                    &expected.out[range],
                    TOLERANCE,
                    &what,
                );
                first += matrix.rows;
            }
            if input == FusedInput::NormShift {
                assert_close(&found.next_shift, &expected.next_shift, 1e-6, &what);
            }
        }
    }
}

/// What the kernel has to know of a matrix.
pub(crate) fn fused(matrix: &Weights) -> FusedMatrix {
    FusedMatrix {
        encoding: matrix.encoding(),
        rows: matrix.rows as u32,
    }
}

/// Lanes that add up in a subgroup or 0, lanes, rows.
type Form = [u32; 3];

fn forms() -> Vec<Form> {
    let mut forms = vec![[0, 16, 2], [0, 32, 1]];
    let [smallest, _] = context().adapter().subgroup_sizes;
    if context().has(Feature::Subgroup) && smallest >= 4 {
        let shuffled = smallest.min(32);
        forms.extend([[4, 4, 2], [shuffled, shuffled, 1], [4, 64, 4], [4, 128, 2]]);
    }
    forms
}

#[test]
fn every_type_with_every_input() {
    for ty in types() {
        for input in INPUTS {
            let case = Case::new(512, &[(ty, 37, Epilogue::Store)]);
            case.compare(input, ty.name());
        }
    }
}

#[test]
fn odd_shapes_and_epilogues() {
    for (ty, rows, columns, epilogue) in [
        (TensorType::F32, 1, 64, Epilogue::Sigmoid),
        (TensorType::Q8_0, 131, 192, Epilogue::Tanh),
        (TensorType::F16, 70, 320, Epilogue::ReluSquared),
        (TensorType::Q4_K, 257, 2560, Epilogue::Add),
        (TensorType::Q6_K, 33, 768, Epilogue::Add),
    ] {
        for input in INPUTS {
            let case = Case::new(columns, &[(ty, rows, epilogue)]);
            case.compare(input, &format!("{ty} [{rows}, {columns}], {epilogue:?}"));
        }
    }
    let padded = Case::new(40, &[(TensorType::F16, 20, Epilogue::Add)]);
    padded.compare(FusedInput::Plain, "rows that are padded");
}

/// As in a layer: three large matrices of two encodings, four small ones of two more.
#[test]
fn matrices_of_several_encodings_share_a_dispatch() {
    use Epilogue::{Sigmoid, Store, Tanh};
    let case = Case::new(
        256,
        &[
            (TensorType::Q4_K, 256, Store),
            (TensorType::Q4_K, 256, Store),
            (TensorType::Q6_K, 256, Store),
            (TensorType::F16, 24, Tanh),
            (TensorType::F32, 7, Store),
            (TensorType::F16, 64, Store),
            (TensorType::F16, 96, Sigmoid),
        ],
    );
    for input in INPUTS {
        case.compare(input, "several encodings");
    }
}

/// Not a number must come out where it goes in, for the guard on the logits to see it.
#[test]
fn not_a_number_goes_through() {
    for input in INPUTS {
        for epilogue in [Epilogue::Store, Epilogue::Add, Epilogue::ReluSquared] {
            let mut case = Case::new(256, &[(TensorType::Q4_K, 64, epilogue)]);
            case.x[77] = f32::NAN;
            for form in forms() {
                let found = case.run(input, form);
                let what = format!("{input:?}, {epilogue:?}, {form:?}");
                assert!(found.out.iter().all(|value| value.is_nan()), "{what}");
            }
        }
    }
}
