//! `matvec.wgsl` and `matmul.wgsl`

use bytemuck::bytes_of;
use half::f16;
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Feature, Workgroups};
use thalweg_shaders::kernels::{
    CoopTile, Epilogue, HIDDEN_SCALE, Job, Kernel, Matmul, MatmulCoop, Matvec, NO_MIX, Number,
    pad_jobs,
};
use thalweg_shaders::{Encoding, SPAN, VEC4_BYTES, twins};

use crate::harness::{
    Noise, Weights, assert_close, buffer, context, halves, read, read_halves, rows, run, types,
};

const TOLERANCE: f32 = 2e-6;

/// A kernel for products, as it is for a number of tokens.
#[derive(Debug, Clone, Copy)]
enum Form {
    Matvec {
        columns: u32,
        lanes: u32,
    },
    Matmul {
        block_size: u32,
        operand: Number,
    },
    Coop(CoopTile),
    /// The first [`INTEGER_JOBS`] jobs have the encoding, further ones F16.
    CoopBesideHalves(CoopTile),
}

const INTEGER_JOBS: usize = 2;

impl Form {
    fn kernel(self, encoding: Encoding) -> Kernel {
        match self {
            Form::Matvec { columns, lanes } => Matvec {
                encoding,
                columns,
                lanes,
            }
            .kernel(),
            Form::Matmul {
                block_size,
                operand,
            } => matmul(encoding, block_size, operand).kernel(),
            Form::Coop(tile) => coop(encoding, tile, Number::F32).kernel(),
            Form::CoopBesideHalves(tile) => MatmulCoop {
                halves_from: Some(INTEGER_JOBS as u32),
                ..coop(encoding, tile, Number::F32)
            }
            .kernel(),
        }
        .unwrap()
    }

    fn workgroups(self, encoding: Encoding, jobs: u32, rows: u32, tokens: u32) -> [u32; 3] {
        match self {
            Form::Matvec { columns, lanes } => [
                Matvec {
                    encoding,
                    columns,
                    lanes,
                }
                .workgroups(rows),
                1,
                jobs,
            ],
            Form::Matmul {
                block_size,
                operand,
            } => matmul(encoding, block_size, operand).workgroups(jobs, rows, tokens),
            Form::Coop(tile) | Form::CoopBesideHalves(tile) => {
                coop(encoding, tile, Number::F32).workgroups(jobs, rows, tokens)
            }
        }
    }

    /// What its operands are rounded to.
    fn operand(self) -> Number {
        match self {
            Form::Matvec { .. } => Number::F32,
            Form::Matmul { operand, .. } => operand,
            Form::Coop(_) | Form::CoopBesideHalves(_) => Number::F16,
        }
    }

    /// How far it may be off: f16 has 11 bits.
    fn tolerance(self) -> f32 {
        match self.operand() {
            Number::F16 => 3e-3,
            Number::F32 => TOLERANCE,
        }
    }

    /// The forms that fit `tokens` tokens and run on this machine.
    fn all(tokens: usize) -> Vec<Form> {
        let lanes = if tokens == 1 { [8, 32] } else { [64, 128] };
        let matvecs = Matvec::COLUMNS
            .into_iter()
            .filter(|columns| tokens <= *columns as usize)
            .flat_map(|columns| lanes.map(|lanes| Form::Matvec { columns, lanes }));
        let matmuls = Matmul::BLOCK_SIZES
            .into_iter()
            .filter(|block_size| {
                block_size * block_size <= context().limits().workgroup_invocations
            })
            .map(|block_size| (block_size, Number::F32));
        let halves = context().has(Feature::F16);
        let halves = halves.then_some((Matmul::DEFAULT_BLOCK_SIZE, Number::F16));
        let matmuls = matmuls
            .chain(halves)
            .map(|(block_size, operand)| Form::Matmul {
                block_size,
                operand,
            });
        let coops = has_coop().then_some(CoopTile::ALL).into_iter().flatten();
        matvecs
            .chain(matmuls)
            .chain(coops.map(Form::Coop))
            .collect()
    }
}

/// Whether the device multiplies matrices of the size that the kernels of the registry are for.
fn has_coop() -> bool {
    let adapter = context().adapter();
    context().has(Feature::Coop)
        && adapter.coop_size == Some(16)
        && adapter.subgroup_sizes == [32; 2]
}

fn matmul(encoding: Encoding, block_size: u32, operand: Number) -> Matmul {
    Matmul {
        encoding,
        block_size,
        operand,
        output: Number::F32,
    }
}

fn coop(encoding: Encoding, tile: CoopTile, output: Number) -> MatmulCoop {
    MatmulCoop {
        encoding,
        halves_from: None,
        size: 16,
        subgroup: 32,
        tile,
        output,
    }
}

/// Rows of `columns` numbers, each padded to whole spans with numbers that must not matter.
fn padded(rows: &[f32], columns: usize) -> Vec<f32> {
    let stride = columns.next_multiple_of(SPAN);
    rows.chunks(columns)
        .flat_map(|row| {
            row.iter()
                .copied()
                .chain(std::iter::repeat_n(1e3, stride - columns))
        })
        .collect()
}

/// The product with a matrix that lies at the beginning of the weights.
pub(crate) fn job(weights: &Weights) -> Job {
    let (encoding, columns) = (weights.encoding(), weights.columns);
    Job {
        weights: 0,
        weights_stride: (encoding.row_bytes(columns) / VEC4_BYTES) as u32,
        rows: weights.rows as u32,
        spans: encoding.spans(columns) as u32,
        input: 0,
        input_stride: (columns.next_multiple_of(SPAN) / 4) as u32,
        mix: NO_MIX,
        output: 0,
        output_stride: weights.rows as u32,
        epilogue: Epilogue::Store as u32,
        bias: 0,
        first_value: 0,
    }
}

/// Runs jobs whose matrices lie in `weights`. The grid is for more tokens and rows than there are.
fn product(
    form: Form,
    encoding: Encoding,
    jobs: &[Job],
    tokens: usize,
    data: [&[f32]; 3],
    weights: &[u8],
) -> Vec<f32> {
    let [vectors, input, out] = data;
    let (out, jobs_data) = (buffer(out), pad_jobs(jobs));
    let input = match form.operand() {
        Number::F16 => buffer(&halves(input)),
        Number::F32 => buffer(input),
    };
    let bindings = [
        Binding::Buffer(&rows(tokens, 0)),
        Binding::Uniform(bytes_of(&jobs_data)),
        Binding::Buffer(&buffer(vectors)),
        Binding::Buffer(&buffer(weights)),
        Binding::Buffer(&input),
        Binding::Buffer(&out),
    ];
    let largest = jobs.iter().map(|job| job.rows).max().unwrap();
    let workgroups = form.workgroups(
        encoding,
        jobs.len() as u32,
        largest + 200,
        tokens as u32 + 200,
    );
    run(
        &form.kernel(encoding),
        &bindings,
        Workgroups::Grid(workgroups),
    );
    read(&out)
}

fn compare(ty: TensorType, matrix_rows: usize, columns: usize, tokens: usize) {
    let mut noise = Noise::new((matrix_rows * columns + tokens) as u64);
    let (weights, x) = (
        noise.matrix(ty, matrix_rows, columns),
        noise.numbers(tokens * columns),
    );
    let mut expected = vec![0.0; tokens * matrix_rows];
    twins::matmul(&weights.twin(), &x, &mut expected).unwrap();
    for form in Form::all(tokens) {
        let out = vec![f32::NAN; expected.len()];
        let data = [&[0.0; 4][..], &padded(&x, columns), &out];
        let found = product(
            form,
            weights.encoding(),
            &[job(&weights)],
            tokens,
            data,
            &weights.encoded(),
        );
        assert_close(
            &found,
            &expected,
            form.tolerance(),
            &format!("{ty} [{matrix_rows}, {columns}], {tokens} tokens, {form:?}"),
        );
    }
}

#[test]
fn every_type_in_every_form() {
    for ty in types() {
        for tokens in [1, 3, 65] {
            compare(ty, 70, 512, tokens);
        }
    }
}

/// Every number of tokens that a matvec can take, those between its numbers of columns too.
#[test]
fn few_tokens_of_any_number() {
    let most = Matvec::COLUMNS.into_iter().max().unwrap();
    for tokens in 1..=most as usize {
        for ty in [TensorType::Q5_K, TensorType::Q8_0, TensorType::F16] {
            compare(ty, 45, 256, tokens);
        }
    }
}

#[test]
fn odd_shapes() {
    for (ty, matrix_rows, columns, tokens) in [
        (TensorType::Q4_K, 1, 256, 1),
        (TensorType::Q4_K, 257, 2560, 2),
        (TensorType::Q6_K, 129, 768, 4),
        (TensorType::Q8_0, 192, 320, 1),
        (TensorType::Q8_0, 33, 192, 31),
        (TensorType::F32, 96, 2560, 1),
        (TensorType::F16, 2560, 96, 1),
        (TensorType::F16, 320, 40, 5), // rows are padded
        (TensorType::F32, 100, 8, 130),
        (TensorType::F16, 64, 64, 64),
    ] {
        compare(ty, matrix_rows, columns, tokens);
    }
}

/// Three matrices in one dispatch, each with its own input, output and number of rows.
#[test]
fn jobs_share_a_dispatch() {
    let (width, heights) = (192, [192, 64, 7]);
    for tokens in [1, 4, 6, 67] {
        let mut noise = Noise::new(tokens as u64);
        let x = noise.numbers(3 * tokens * width);
        let matrices = heights.map(|height| noise.matrix(TensorType::Q8_0, height, width));
        let (mut jobs, mut encoded, mut expected) = (vec![], vec![], vec![]);
        for (index, matrix) in matrices.iter().enumerate() {
            let output = expected.len();
            expected.resize(output + tokens * matrix.rows, 0.0);
            let input = index * tokens * width;
            let own = &x[input..][..tokens * width];
            twins::matmul(&matrix.twin(), own, &mut expected[output..]).unwrap();
            jobs.push(Job {
                weights: (encoded.len() / VEC4_BYTES) as u32,
                input: input as u32 / 4,
                output: output as u32,
                ..job(matrix)
            });
            encoded.extend(matrix.encoded());
        }
        for form in Form::all(tokens) {
            let data = [&[0.0; 4][..], &x, &vec![f32::NAN; expected.len()]];
            let found = product(form, Encoding::Q8_0, &jobs, tokens, data, &encoded);
            assert_close(
                &found,
                &expected,
                form.tolerance(),
                &format!("jobs, {tokens} tokens, {form:?}"),
            );
        }
    }
}

/// Matrices of integers, then of F16, in one dispatch on cooperative matrices, which no software driver has.
#[test]
fn halves_beside_integers() {
    if !has_coop() {
        eprintln!("not run: this device has no cooperative matrices of 16x16");
        return;
    }
    let integers = [
        TensorType::Q4_K,
        TensorType::Q5_K,
        TensorType::Q6_K,
        TensorType::Q8_0,
    ];
    let (width, heights) = (512, [130, 64, 70, 33]);
    for (ty, tokens) in integers.into_iter().flat_map(|ty| [(ty, 8), (ty, 67)]) {
        let mut noise = Noise::new(tokens as u64);
        let x = noise.numbers(tokens * width);
        let (mut jobs, mut encoded, mut expected) = (vec![], vec![], vec![]);
        for (index, height) in heights.into_iter().enumerate() {
            let ty = if index < INTEGER_JOBS {
                ty
            } else {
                TensorType::F16
            };
            let matrix = noise.matrix(ty, height, width);
            let output = expected.len();
            expected.resize(output + tokens * height, 0.0);
            twins::matmul(&matrix.twin(), &x, &mut expected[output..]).unwrap();
            jobs.push(Job {
                weights: (encoded.len() / VEC4_BYTES) as u32,
                output: output as u32,
                ..job(&matrix)
            });
            encoded.extend(matrix.encoded());
        }
        let encoding = noise.matrix(ty, 1, width).encoding();
        for tile in CoopTile::ALL {
            let form = Form::CoopBesideHalves(tile);
            let data = [&[0.0; 4][..], &x, &vec![f32::NAN; expected.len()]];
            let found = product(form, encoding, &jobs, tokens, data, &encoded);
            let what = format!("{ty} and F16, {tokens} tokens, {tile:?}");
            assert_close(&found, &expected, form.tolerance(), &what);
        }
    }
}

/// What the epilogues meet besides the product: biases `[rows]`, the others `[tokens, rows]`.
#[derive(Clone, Copy)]
pub(crate) struct Held<'a> {
    pub(crate) bias: &'a [f32],
    pub(crate) old: &'a [f32],
    pub(crate) first_values: &'a [f32],
}

/// What the twins make of a product `[tokens, rows]`.
pub(crate) fn finished(epilogue: Epilogue, mut product: Vec<f32>, held: Held<'_>) -> Vec<f32> {
    match epilogue {
        Epilogue::Store => {}
        Epilogue::Tanh => twins::tanh(&mut product),
        Epilogue::Sigmoid => twins::sigmoid(&mut product),
        Epilogue::Iclr => twins::iclr(&mut product, held.bias),
        Epilogue::Decay => twins::decay(&mut product, held.bias),
        Epilogue::ValueResidual => {
            let mut value = held.old.to_vec();
            twins::value_residual(&mut value, held.first_values, &product, held.bias);
            return value;
        }
        Epilogue::ReluSquared => twins::relu_squared(&mut product),
        Epilogue::Add => twins::residual(&mut product, held.old),
        Epilogue::AddUnscaled => {
            product.iter_mut().for_each(|x| *x /= HIDDEN_SCALE);
            twins::residual(&mut product, held.old);
        }
    }
    product
}

#[test]
fn epilogues_are_their_twins() {
    let (matrix_rows, columns, tokens) = (65, 64, 3);
    let mut noise = Noise::new(5);
    let weights = noise.matrix(TensorType::F32, matrix_rows, columns);
    let mut x = noise.numbers(tokens * columns);
    x[..columns].iter_mut().for_each(|x| *x *= 100.0); // far into the flat parts
    let vectors = noise.numbers(4 + matrix_rows + 3);
    let bias = &vectors[4..4 + matrix_rows];
    let before = noise.numbers(2 * tokens * matrix_rows); // what the output holds, then the first layer's values
    let (old, first_values) = before.split_at(tokens * matrix_rows);
    let mut raw = vec![0.0; old.len()];
    twins::matmul(&weights.twin(), &x, &mut raw).unwrap();

    for epilogue in Epilogue::ALL {
        let held = Held {
            bias,
            old,
            first_values,
        };
        let expected = finished(epilogue, raw.clone(), held);
        let job = Job {
            epilogue: epilogue as u32,
            bias: 4,
            first_value: old.len() as u32,
            ..job(&weights)
        };
        for form in Form::all(tokens) {
            let found = product(
                form,
                Encoding::F32,
                &[job],
                tokens,
                [&vectors, &x, &before],
                &weights.encoded(),
            );
            let what = format!("{epilogue:?}, {form:?}");
            assert_close(&found[..old.len()], &expected, form.tolerance(), &what);
            assert_eq!(found[old.len()..], *first_values, "{what}");
        }
    }
}

/// Squared relus stored as f16 are scaled, and bounded where that is not enough.
#[test]
fn squared_relus_stay_in_the_range_of_f16() {
    let (matrix_rows, columns, tokens) = (64, 64, 16);
    let mut noise = Noise::new(6);
    let weights = noise.matrix(TensorType::F32, matrix_rows, columns);
    let mut x = noise.numbers(tokens * columns);
    x[..columns].iter_mut().for_each(|x| *x *= 1000.0);
    let mut expected = vec![0.0; tokens * matrix_rows];
    twins::matmul(&weights.twin(), &x, &mut expected).unwrap();
    twins::relu_squared(&mut expected);
    expected
        .iter_mut()
        .for_each(|x| *x = (*x * HIDDEN_SCALE).min(65504.0));
    let job = Job {
        epilogue: Epilogue::ReluSquared as u32,
        ..job(&weights)
    };
    let (height, count) = (matrix_rows as u32, tokens as u32);
    let mut kernels = Vec::new();
    if context().has(Feature::F16) {
        let halves = Matmul {
            output: Number::F16,
            ..matmul(Encoding::F32, 16, Number::F16)
        };
        kernels.push((halves.kernel(), halves.workgroups(1, height, count)));
    }
    if has_coop() {
        let coop = coop(Encoding::F32, CoopTile::SMALL, Number::F16);
        kernels.push((coop.kernel(), coop.workgroups(1, height, count)));
    }
    for (kernel, grid) in kernels {
        let (jobs, out) = (
            pad_jobs(&[job]),
            buffer(&vec![f16::NAN; tokens * matrix_rows]),
        );
        let bindings = [
            Binding::Buffer(&rows(tokens, 0)),
            Binding::Uniform(bytes_of(&jobs)),
            Binding::Buffer(&buffer(&[0.0f32; 4])),
            Binding::Buffer(&buffer(&weights.encoded())),
            Binding::Buffer(&buffer(&halves(&x))),
            Binding::Buffer(&out),
        ];
        run(&kernel.unwrap(), &bindings, Workgroups::Grid(grid));
        let found = read_halves(&out);
        let (first, rest) = found.split_at(matrix_rows);
        assert!(first.contains(&65504.0));
        assert_close(first, &expected[..matrix_rows], 4e-3, "beyond the range");
        assert_close(rest, &expected[matrix_rows..], 4e-3, "squared relus");
    }
}

/// Rows beyond the run's tokens may hold anything; they must not reach the results.
#[test]
fn rows_of_an_earlier_run_do_not_matter() {
    let mut noise = Noise::new(3);
    let (weights, mut x) = (
        noise.matrix(TensorType::Q4_K, 64, 256),
        noise.numbers(5 * 256),
    );
    let mut expected = vec![0.0; 5 * 64];
    twins::matmul(&weights.twin(), &x, &mut expected).unwrap();
    x[2 * 256..].fill(f32::NAN);
    expected[2 * 64..].fill(-1.0);
    for form in Form::all(2) {
        let out = vec![-1.0; 5 * 64];
        let found = product(
            form,
            Encoding::Q4_K,
            &[job(&weights)],
            2,
            [&[0.0; 4], &x, &out],
            &weights.encoded(),
        );
        assert_close(&found, &expected, form.tolerance(), &format!("{form:?}"));
    }
}

/// Not a number must come out where it goes in, for the guard on the logits to see it.
#[test]
fn not_a_number_goes_through() {
    let mut noise = Noise::new(3);
    let (weights, mut x) = (
        noise.matrix(TensorType::Q4_K, 64, 256),
        noise.numbers(2 * 256),
    );
    x[256 + 77] = f32::NAN;
    for form in Form::all(2) {
        let out = vec![0.0; 2 * 64];
        let found = product(
            form,
            Encoding::Q4_K,
            &[job(&weights)],
            2,
            [&[0.0; 4], &x, &out],
            &weights.encoded(),
        );
        assert!(
            found[..64].iter().all(|value| value.is_finite()),
            "{form:?}"
        );
        assert!(found[64..].iter().all(|value| value.is_nan()), "{form:?}");
    }
}
