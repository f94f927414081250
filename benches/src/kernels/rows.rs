//! What happens row by row: look-ups and norms.

use thalweg_gpu::{Work, Workgroups};
use thalweg_shaders::kernels::{
    Embedding, EmbeddingParams, LayerNorm, LayerNormParams, NormMix, NormMixParams, NormRows,
    Number, RowWorkgroup,
};
use thalweg_shaders::{Encoding, Error, VEC4_BYTES};

use super::{Case, Device, Input, Matrix, Shapes, bytes_of_numbers};

const EPSILON: f32 = 1e-5;

/// `embedding`: every encoding, one token and many.
pub(super) fn embedding(device: &Device, shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for encoding in Encoding::ALL {
        let table = Matrix {
            encoding,
            rows: shapes.vocab,
            columns: shapes.width,
        }
        .within_any_binding();
        let width = shapes.width as u32 / 4;
        for workgroup in row_workgroups(device, Embedding::pieces(width)) {
            let kernel = Embedding {
                encoding,
                width,
                workgroup,
            };
            for tokens in one_and_many(shapes) {
                cases.push(embedding_case(kernel, table, tokens)?);
            }
        }
    }
    Ok(cases)
}

fn embedding_case(kernel: Embedding, table: Matrix, tokens: usize) -> Result<Case, Error> {
    let width = table.columns;
    let row_bytes = table.encoding.row_bytes(width);
    let params = EmbeddingParams {
        first_token: 0,
        token_count: table.rows as u32,
        row_stride: (row_bytes / VEC4_BYTES) as u32,
        weight: 0,
        bias: kernel.width,
        epsilon: EPSILON,
    };
    Ok(Case {
        group: "embedding",
        name: format!(
            "{}/{width}/{tokens}/{}",
            table.encoding.name(),
            level(kernel.workgroup)
        ),
        kernel: kernel.kernel()?,
        inputs: vec![
            Input::Rows(tokens),
            Input::uniform(&params),
            Input::numbers(2 * width),
            Input::Tokens(tokens, table.rows),
            Input::Weights(vec![table]),
            Input::Room(4 * (tokens * width) as u64),
            Input::Room(4 * (tokens * width) as u64),
        ],
        workgroups: Workgroups::Grid(kernel.workgroups(tokens as u32)),
        work: Work {
            flops: (2.0 + NORM_FLOPS) * (tokens * width) as f64,
            bytes: (tokens * row_bytes) as f64 + bytes_of_numbers((2 * tokens + 2) * width),
        },
    })
}

/// `layer_norm`: of all rows and of picked ones in both numbers, one token and many.
pub(super) fn layer_norm(device: &Device, shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for (picked, output) in [
        (false, Number::F32),
        (true, Number::F32),
        (true, Number::F16),
    ] {
        for tokens in one_and_many(shapes) {
            for workgroup in row_workgroups(device, shapes.width as u32 / 4) {
                let kernel = LayerNorm {
                    picked,
                    output,
                    workgroup,
                };
                cases.push(layer_norm_case(kernel, shapes.width, tokens)?);
            }
        }
    }
    Ok(cases)
}

fn layer_norm_case(kernel: LayerNorm, width: usize, tokens: usize) -> Result<Case, Error> {
    let params = LayerNormParams {
        width: width as u32 / 4,
        weight: 0,
        bias: width as u32 / 4,
        epsilon: EPSILON,
    };
    let stored_bytes = stored_bytes(kernel.output, tokens * width);
    let mut inputs = vec![
        Input::Rows(tokens),
        Input::uniform(&params),
        Input::numbers(2 * width),
        Input::numbers(tokens * width),
        Input::Room(stored_bytes as u64),
    ];
    let rows = match kernel.picked {
        true => "picked",
        false => "all",
    };
    if kernel.picked {
        inputs.push(Input::Tokens(tokens, tokens)); // below the number of rows, like ids below that of a vocabulary
    }
    Ok(Case {
        group: "layer_norm",
        name: format!(
            "{width}/{tokens}/{rows}/{}/{}",
            kernel.output.name(),
            level(kernel.workgroup)
        ),
        kernel: kernel.kernel()?,
        inputs,
        workgroups: Workgroups::Grid(kernel.workgroups(tokens as u32)),
        work: Work {
            flops: NORM_FLOPS * (tokens * width) as f64,
            bytes: bytes_of_numbers((tokens + 2) * width) + stored_bytes as f64,
        },
    })
}

fn stored_bytes(number: Number, count: usize) -> usize {
    match number {
        Number::F32 => 4 * count,
        Number::F16 => 2 * count,
    }
}

/// Operations of a norm for each number: sum, difference, square, sum, scale, weight, bias.
const NORM_FLOPS: f64 = 7.0;

/// `norm_mix`: the mixtures of channel mixing and of time mixing, one token and many, in both numbers.
pub(super) fn norm_mix(device: &Device, shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for mixes in NormMix::MIXES {
        for output in [Number::F32, Number::F16] {
            for tokens in one_and_many(shapes) {
                for workgroup in row_workgroups(device, shapes.width as u32 / 4) {
                    let kernel = NormMix {
                        width: shapes.width as u32 / 4,
                        mixes,
                        output,
                        rows: NormRows::Any,
                        workgroup,
                    };
                    cases.push(norm_mix_case(kernel, shapes.width, tokens)?);
                }
            }
        }
    }
    Ok(cases)
}

fn norm_mix_case(kernel: NormMix, width: usize, tokens: usize) -> Result<Case, Error> {
    let (mixes, numbers) = (kernel.mixes as usize, tokens * width);
    let stored_bytes = stored_bytes(kernel.output, mixes * numbers);
    let params = NormMixParams {
        weight: 0,
        bias: width as u32 / 4,
        epsilon: EPSILON,
        mixes: width as u32 / 2,
        mix_stride: numbers as u32 / 4,
        shift: 0,
        slot_stride: width as u32 / 4,
        part_stride: 0,
        part_scale: 1.0,
        padding: [0; 3],
    };
    Ok(Case {
        group: "norm_mix",
        name: format!(
            "{mixes}x{width}/{tokens}/{}/{}",
            kernel.output.name(),
            level(kernel.workgroup)
        ),
        kernel: kernel.kernel()?,
        inputs: vec![
            Input::Rows(tokens),
            Input::uniform(&params),
            Input::numbers((2 + mixes) * width),
            Input::numbers(numbers),
            Input::Room(stored_bytes as u64),
            Input::numbers(width),
            Input::links_of_one(tokens),
        ],
        workgroups: Workgroups::Grid(kernel.workgroups(tokens as u32)),
        work: Work {
            flops: (NORM_FLOPS + 3.0 * mixes as f64) * numbers as f64,
            bytes: bytes_of_numbers(numbers + (4 + mixes) * width) + stored_bytes as f64,
        },
    })
}

fn one_and_many(shapes: &Shapes) -> impl Iterator<Item = usize> {
    [1].into_iter().chain(shapes.tokens.iter().copied())
}

/// As large as the device has them, with and without subgroup operations.
fn row_workgroups(device: &Device, pieces: u32) -> [RowWorkgroup; 2] {
    [false, true].map(|subgroup| RowWorkgroup::sharing(pieces, device.invocations, subgroup))
}

fn level(workgroup: RowWorkgroup) -> &'static str {
    match workgroup.subgroup {
        true => "subgroup",
        false => "plain",
    }
}
