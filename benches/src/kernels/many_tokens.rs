//! Matrix times many tokens: bound by arithmetic.

use bytemuck::Zeroable;
use thalweg_gpu::{Work, Workgroups};
use thalweg_shaders::kernels::{
    AddParts, AddPartsParams, CoopTile, Job, Matmul, MatmulCoop, MatmulDot4, Number, pad_jobs,
};
use thalweg_shaders::{Encoding, Error};

use super::few_tokens::{job, product_work};
use super::{Case, Device, Input, Matrix, Shapes, bytes_of_numbers};

/// `matmul`: every encoding, shape and block size, in 32-bit floats and in tiles of 16-bit ones.
pub(super) fn matmul(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for (matrix, tokens) in products(shapes) {
        for block_size in Matmul::BLOCK_SIZES {
            for operand in [Number::F32, Number::F16] {
                let matmul = Matmul {
                    encoding: matrix.encoding,
                    block_size,
                    operand,
                    output: Number::F32,
                };
                let name = format!(
                    "{}/block {block_size}/{}",
                    name(&matrix, tokens),
                    operand.name()
                );
                let grid = matmul.workgroups(1, matrix.rows as u32, tokens as u32);
                cases.push(Case {
                    group: "matmul",
                    name,
                    kernel: matmul.kernel()?,
                    inputs: inputs(&matrix, tokens, operand),
                    workgroups: Workgroups::Grid(grid),
                    work: product_work(&matrix, tokens),
                });
            }
        }
    }
    Ok(cases)
}

/// `matmul_dot4`: every encoding of integers, shape and block size, on inputs of both sizes.
pub(super) fn matmul_dot4(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for (matrix, tokens) in products(shapes) {
        if !matrix.encoding.has_integers() {
            continue;
        }
        for block_size in Matmul::BLOCK_SIZES {
            for input in [Number::F32, Number::F16] {
                let matmul = MatmulDot4 {
                    encoding: matrix.encoding,
                    block_size,
                    input,
                    output: Number::F32,
                };
                let name = format!(
                    "{}/block {block_size}/{}",
                    name(&matrix, tokens),
                    input.name()
                );
                let grid = matmul.workgroups(1, matrix.rows as u32, tokens as u32);
                cases.push(Case {
                    group: "matmul_dot4",
                    name,
                    kernel: matmul.kernel()?,
                    inputs: inputs(&matrix, tokens, input),
                    workgroups: Workgroups::Grid(grid),
                    work: product_work(&matrix, tokens),
                });
            }
        }
    }
    Ok(cases)
}

/// `matmul_coop`: every encoding, shape and tile, on cooperative matrices.
pub(super) fn matmul_coop(device: &Device, shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let Some([size, subgroup]) = device.coop else {
        return Ok(Vec::new());
    };
    let mut cases = Vec::new();
    for (matrix, tokens) in products(shapes) {
        for tile in CoopTile::ALL {
            let matmul = MatmulCoop {
                encoding: matrix.encoding,
                size,
                subgroup,
                tile,
                output: Number::F32,
            };
            let [tile_rows, tile_tokens] = tile.extent(size);
            cases.push(Case {
                group: "matmul_coop",
                name: format!("{}/tile {tile_rows}x{tile_tokens}", name(&matrix, tokens)),
                kernel: matmul.kernel()?,
                inputs: inputs(&matrix, tokens, Number::F16),
                workgroups: Workgroups::Grid(matmul.workgroups(
                    1,
                    matrix.rows as u32,
                    tokens as u32,
                )),
                work: product_work(&matrix, tokens),
            });
        }
    }
    Ok(cases)
}

/// `add_parts`: products of the model's width in four parts.
pub(super) fn add_parts(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    const PARTS: usize = 4;
    let rows = shapes.width;
    let mut cases = Vec::new();
    for &tokens in shapes.tokens {
        for output in [Number::F32, Number::F16] {
            let kernel = AddParts {
                parts: PARTS as u32,
                output,
            };
            let job = Job {
                rows: rows as u32,
                input_stride: rows as u32,
                output_stride: rows as u32,
                ..Job::zeroed()
            };
            let params = AddPartsParams {
                part_stride: (tokens * rows) as u32,
                padding: [0; 3],
            };
            cases.push(Case {
                group: "add_parts",
                name: format!("{rows}/{tokens}/{}", output.name()),
                kernel: kernel.kernel()?,
                inputs: vec![
                    Input::Rows(tokens),
                    Input::uniform(&pad_jobs(&[job])),
                    Input::numbers(4), // no vectors are needed
                    Input::uniform(&params),
                    Input::numbers(PARTS * tokens * rows),
                    Input::Room(4 * (tokens * rows) as u64),
                ],
                workgroups: Workgroups::Grid(kernel.workgroups(1, rows as u32, tokens as u32)),
                work: Work {
                    flops: (PARTS * tokens * rows) as f64,
                    bytes: bytes_of_numbers((PARTS + 1) * tokens * rows),
                },
            });
        }
    }
    Ok(cases)
}

fn products(shapes: &Shapes) -> impl Iterator<Item = (Matrix, usize)> {
    let with_tokens = move |matrix| shapes.tokens.iter().map(move |tokens| (matrix, *tokens));
    let matrices = move |encoding| {
        shapes.matrices().map(|[rows, columns]| Matrix {
            encoding,
            rows,
            columns,
        })
    };
    Encoding::ALL
        .into_iter()
        .flat_map(matrices)
        .flat_map(with_tokens)
}

fn name(matrix: &Matrix, tokens: usize) -> String {
    let Matrix {
        encoding,
        rows,
        columns,
    } = matrix;
    format!("{}/{rows}x{columns}/{tokens}", encoding.name())
}

fn inputs(matrix: &Matrix, tokens: usize, input: Number) -> Vec<Input> {
    vec![
        Input::Rows(tokens),
        Input::uniform(&pad_jobs(&[job(matrix)])),
        Input::numbers(4), // no vectors are needed
        Input::Weights(vec![*matrix]),
        match input {
            Number::F32 => Input::numbers(tokens * matrix.columns),
            Number::F16 => Input::Halves(tokens * matrix.columns),
        },
        Input::Room(4 * (tokens * matrix.rows) as u64),
    ]
}
