//! Matrix times one or a few tokens: bound by the bytes of the weights.

use bytemuck::Zeroable;
use thalweg_gpu::{Work, Workgroups};
use thalweg_rwkv::{Activations, Tuning};
use thalweg_shaders::kernels::{
    FusedInput, FusedMatrix, FusedMatvec, Job, Matvec, NO_MIX, NormParams, pad_jobs,
};
use thalweg_shaders::{Encoding, Error, VEC4_BYTES};

use super::{Case, Device, Input, Matrix, Shapes, bytes_of_numbers};

/// `matvec`: every encoding, shape and number of columns.
pub(super) fn matvec(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for encoding in Encoding::ALL {
        for [rows, columns] in shapes.matrices() {
            for tokens in Matvec::COLUMNS {
                let matvec = Matvec {
                    encoding,
                    columns: tokens,
                    lanes: Matvec::DEFAULT_LANES,
                };
                let (matrix, tokens) = (
                    Matrix {
                        encoding,
                        rows,
                        columns,
                    },
                    tokens as usize,
                );
                cases.push(Case {
                    group: "matvec",
                    name: format!("{}/{rows}x{columns}/{tokens}", encoding.name()),
                    kernel: matvec.kernel()?,
                    inputs: vec![
                        Input::Rows(tokens),
                        Input::uniform(&pad_jobs(&[job(&matrix)])),
                        Input::numbers(4), // no vectors are needed
                        Input::Weights(vec![matrix]),
                        Input::numbers(tokens * columns),
                        Input::Room(4 * (tokens * rows) as u64),
                    ],
                    workgroups: Workgroups::Linear(matvec.workgroups(rows as u32)),
                    work: product_work(&matrix, tokens),
                });
            }
        }
    }
    Ok(cases)
}

/// `fused_matvec`: every encoding, kind of input and number, with and without subgroups.
pub(super) fn fused_matvec(device: &Device, shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for encoding in Encoding::ALL {
        for [rows, columns] in shapes.matrices() {
            let matrix = Matrix {
                encoding,
                rows,
                columns,
            };
            cases.extend(fused_cases(device, matrix, FusedInput::Plain)?);
        }
        let [rows, columns] = [shapes.ffn, shapes.width];
        let first = Matrix {
            encoding,
            rows,
            columns,
        };
        cases.extend(fused_cases(device, first, FusedInput::NormShift)?);
        let head = Matrix {
            rows: shapes.vocab,
            ..first
        }
        .within_any_binding();
        cases.extend(fused_cases(device, head, FusedInput::Norm)?);
    }
    Ok(cases)
}

fn fused_cases(device: &Device, matrix: Matrix, input: FusedInput) -> Result<Vec<Case>, Error> {
    let numbers = match matrix.encoding.has_integers() {
        true => &[
            (false, "f32", Activations::F32),
            (true, "q8", Activations::Q8),
        ][..],
        false => &[(false, "f32", Activations::F32)],
    };
    let mut cases = Vec::new();
    for &(integers, number, activations) in numbers {
        let tuning = Tuning::of(activations);
        let sharing = match input {
            FusedInput::Norm => tuning.head,
            FusedInput::NormShift => tuning.ffn_key,
            FusedInput::Plain if matrix.rows == matrix.columns => tuning.output,
            _ => tuning.ffn_value,
        };
        let input = match input {
            // The kernel before rounds what it can.
            FusedInput::Plain if integers => FusedInput::Rounded,
            input => input,
        };
        for (shuffled, level) in [(0, "plain"), (device.subgroup.clamp(1, 32), "subgroup")] {
            let matvec = FusedMatvec {
                matrices: vec![FusedMatrix {
                    encoding: matrix.encoding,
                    rows: matrix.rows as u32,
                }],
                spans: matrix.encoding.spans(matrix.columns) as u32,
                input,
                shuffled,
                lanes: sharing.lanes,
                rows: sharing.rows,
                workgroup: sharing.workgroup,
                depth: sharing.depth,
                integers,
                rounds_output: false,
            };
            cases.push(fused_case(&matvec, matrix, &format!("{number}/{level}"))?);
        }
    }
    Ok(cases)
}

fn fused_case(matvec: &FusedMatvec, matrix: Matrix, form: &str) -> Result<Case, Error> {
    let Matrix {
        encoding,
        rows,
        columns,
    } = matrix;
    let width = columns as u32 / 4;
    let norm = NormParams {
        weight: 0,
        bias: width,
        epsilon: 1e-5,
        padding: 0,
    };
    let (before, mix) = match matvec.input {
        FusedInput::Plain | FusedInput::Rounded => ("product", NO_MIX),
        FusedInput::Norm => ("norm", NO_MIX),
        FusedInput::NormShift => ("norm+shift", 2 * width),
    };
    let job = Job {
        mix,
        ..job(&matrix)
    };
    let mut inputs = vec![
        Input::Rows(1),
        Input::uniform(&pad_jobs(&[job])),
        Input::numbers(3 * columns), // the norm's weight and bias, the mix
        Input::Weights(vec![matrix]),
        Input::numbers(columns),
        Input::Room(4 * rows as u64),
    ];
    if matches!(matvec.input, FusedInput::Norm | FusedInput::NormShift) {
        inputs.push(Input::uniform(&norm));
    }
    if matvec.input == FusedInput::NormShift {
        inputs.extend([Input::numbers(columns), Input::Room(4 * columns as u64)]);
    }
    Ok(Case {
        group: "fused_matvec",
        name: format!("{}/{rows}x{columns}/{before}/{form}", encoding.name()),
        kernel: matvec.kernel()?,
        inputs,
        workgroups: Workgroups::Linear(matvec.workgroups()),
        work: product_work(&matrix, 1),
    })
}

/// A product with one matrix, the first of its buffer.
pub(super) fn job(matrix: &Matrix) -> Job {
    let Matrix {
        encoding,
        rows,
        columns,
    } = *matrix;
    Job {
        weights_stride: (encoding.row_bytes(columns) / VEC4_BYTES) as u32,
        rows: rows as u32,
        spans: encoding.spans(columns) as u32,
        input_stride: columns as u32 / 4,
        mix: NO_MIX,
        output_stride: rows as u32,
        ..Job::zeroed()
    }
}

/// The work of a product, whose activations are 32-bit floats.
pub(super) fn product_work(matrix: &Matrix, tokens: usize) -> Work {
    Work {
        flops: matrix.flops(tokens),
        bytes: matrix.bytes() as f64 + bytes_of_numbers(tokens * (matrix.rows + matrix.columns)),
    }
}
