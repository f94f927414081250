//! Matrix times many tokens: bound by arithmetic.

use bytemuck::Zeroable;
use thalweg_gpu::{Work, Workgroups};
use thalweg_shaders::kernels::{
    AddParts, AddPartsParams, CoopTile, Job, Kernel, Matmul, MatmulCoop, MatmulDot4, Number,
    pad_jobs,
};
use thalweg_shaders::{Encoding, Error, VEC4_BYTES};

use super::few_tokens::{job, product_work};
use super::{Case, Device, Input, Matrix, Shapes, bytes_of_numbers};

/// `matmul`: every encoding, shape and block size, in 32-bit floats and in tiles of 16-bit ones.
pub(super) fn matmul(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    in_blocks(shapes, "matmul", |encoding, block_size, operand| {
        let matmul = Matmul {
            encoding,
            block_size,
            operand,
            output: Number::F32,
        };
        matmul.kernel().map(Some)
    })
}

/// `matmul_dot4`: every encoding of integers, shape and block size, on inputs of both sizes.
pub(super) fn matmul_dot4(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    in_blocks(shapes, "matmul_dot4", |encoding, block_size, input| {
        if !encoding.has_integers() {
            return Ok(None);
        }
        let matmul = MatmulDot4 {
            encoding,
            block_size,
            input,
            output: Number::F32,
        };
        matmul.kernel().map(Some)
    })
}

/// Cases of a kernel, where there is one, for every encoding, shape and block size and for inputs of both sizes.
fn in_blocks(
    shapes: &Shapes,
    group: &'static str,
    kernel: impl Fn(Encoding, u32, Number) -> Result<Option<Kernel>, Error>,
) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for (matrix, tokens) in products(shapes) {
        for block_size in Matmul::BLOCK_SIZES {
            let [tile_rows, tile_tokens] = Matmul::tile(block_size);
            let row_tiles = (matrix.rows as u32).div_ceil(tile_rows);
            let token_tiles = (tokens as u32).div_ceil(tile_tokens);
            for input in [Number::F32, Number::F16] {
                let Some(kernel) = kernel(matrix.encoding, block_size, input)? else {
                    continue;
                };
                let shape = name(&matrix, tokens);
                cases.push(Case {
                    group,
                    name: format!("{shape}/block {block_size}/{}", input.name()),
                    kernel,
                    inputs: inputs(&matrix, tokens, input),
                    workgroups: Workgroups::Grid([row_tiles, token_tiles, 1]),
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
                halves_from: None,
                encoding: matrix.encoding,
                size,
                subgroup,
                tile,
                output: Number::F32,
            };
            let [tile_rows, tile_tokens] = tile.extent(size);
            let subgroups = tile.subgroup_rows * tile.subgroup_tokens;
            cases.push(Case {
                group: "matmul_coop",
                name: format!(
                    "{}/tile {tile_rows}x{tile_tokens} by {subgroups}",
                    name(&matrix, tokens)
                ),
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

/// `matmul_coop` with matrices in F16 beside three of integers, as where time mixing begins.
pub(super) fn matmul_coop_beside(device: &Device, shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let Some([size, subgroup]) = device.coop else {
        return Ok(Vec::new());
    };
    let width = shapes.width;
    let integers = Encoding::ALL.into_iter().filter(|e| e.has_integers());
    let mut cases = Vec::new();
    for (encoding, &tokens) in integers.flat_map(|e| shapes.tokens.iter().map(move |t| (e, t))) {
        let square = Matrix {
            encoding,
            rows: width,
            columns: width,
        };
        let halves = Matrix {
            encoding: Encoding::F16,
            rows: width / 4,
            columns: width,
        };
        let matrices = [square, square, square, halves];
        let matmul = MatmulCoop {
            encoding,
            halves_from: Some(3),
            size,
            subgroup,
            tile: CoopTile::NARROW,
            output: Number::F32,
        };
        let (mut jobs, mut weights, mut output) = (Vec::new(), 0, 0);
        for matrix in &matrices {
            jobs.push(Job {
                weights: (weights / VEC4_BYTES) as u32,
                output: output as u32,
                ..job(matrix)
            });
            weights += matrix.bytes();
            output += tokens * matrix.rows;
        }
        let works = matrices.map(|matrix| product_work(&matrix, tokens));
        cases.push(Case {
            group: "matmul_coop",
            name: format!("{} and f16/{width}/{tokens}", encoding.name()),
            kernel: matmul.kernel()?,
            inputs: vec![
                Input::Rows(tokens),
                Input::uniform(&pad_jobs(&jobs)),
                Input::numbers(4), // no vectors are needed
                Input::Weights(matrices.to_vec()),
                Input::Halves(tokens * width),
                Input::Room(4 * output as u64),
            ],
            workgroups: Workgroups::Grid(matmul.workgroups(4, width as u32, tokens as u32)),
            work: works
                .into_iter()
                .fold(Work::default(), |sum, work| sum + work),
        });
    }
    Ok(cases)
}

/// `add_parts`: products of the model's width in four parts, alone or with as many beside them.
pub(super) fn add_parts(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    const PARTS: usize = 4;
    let rows = shapes.width;
    let mut cases = Vec::new();
    for &tokens in shapes.tokens {
        for (output, beside) in [
            (Number::F32, None),
            (Number::F16, None),
            (Number::F32, Some(Number::F16)),
        ] {
            let kernel = AddParts {
                parts: PARTS as u32,
                output,
                beside,
            };
            let products = 1 + beside.iter().len();
            let numbers = products * tokens * rows;
            let job = |index: usize| Job {
                rows: rows as u32,
                input: (index * tokens * rows) as u32,
                input_stride: rows as u32,
                output_stride: rows as u32,
                ..Job::zeroed()
            };
            let jobs: Vec<Job> = (0..products).map(job).collect();
            let params = AddPartsParams {
                part_stride: numbers as u32,
                first_beside: 1,
                padding: [0; 2],
            };
            let room = || Input::Room(4 * (tokens * rows) as u64);
            let mut inputs = vec![
                Input::Rows(tokens),
                Input::uniform(&pad_jobs(&jobs)),
                Input::numbers(4), // no vectors are needed
                Input::uniform(&params),
                Input::numbers(PARTS * numbers),
                room(),
            ];
            inputs.extend(beside.map(|_| room()));
            let beside = beside.map_or(String::new(), |number| format!(" and {}", number.name()));
            let grid = kernel.workgroups(products as u32, rows as u32, tokens as u32);
            cases.push(Case {
                group: "add_parts",
                name: format!("{rows}/{tokens}/{}{beside}", output.name()),
                kernel: kernel.kernel()?,
                inputs,
                workgroups: Workgroups::Grid(grid),
                work: Work {
                    flops: (PARTS * numbers) as f64,
                    bytes: bytes_of_numbers((PARTS + 1) * numbers),
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
