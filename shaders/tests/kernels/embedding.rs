//! `embedding.wgsl`

use bytemuck::bytes_of;
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{Embedding, EmbeddingParams, RowWorkgroup};
use thalweg_shaders::{NO_TOKEN, VEC4_BYTES, twins};

use crate::harness::{
    Noise, Weights, assert_close, buffer, read, row_workgroups, rows, run, types,
};

const EPSILON: f32 = 1e-5;
/// Rows of the grid that a run may lack.
const ROOM: usize = 3;
/// What no norm gives.
const UNTOUCHED: f32 = 1e6;
/// What the rows are said to have been in the step before.
const BEFORE: f32 = 2e6;

/// Tokens of a table, and the norm's weight and bias.
struct Case {
    table: Weights,
    tokens: Vec<u32>,
    vectors: Vec<f32>,
}

impl Case {
    fn new(ty: TensorType, columns: usize, tokens: &[u32]) -> Case {
        let mut noise = Noise::new(columns as u64);
        let most = tokens.iter().max().unwrap();
        Case {
            table: noise.matrix(ty, *most as usize + 1, columns),
            tokens: tokens.to_vec(),
            vectors: noise.numbers(2 * columns),
        }
    }

    /// The workgroups that may share a row.
    fn workgroups(&self) -> impl Iterator<Item = RowWorkgroup> {
        row_workgroups(Embedding::pieces(self.table.columns as u32 / 4) as usize)
    }

    /// What the dispatches of these parts of the table put out, each from a row to another.
    fn run(&self, workgroup: RowWorkgroup, parts: &[[usize; 2]]) -> Vec<f32> {
        let (encoding, columns) = (self.table.encoding(), self.table.columns);
        let width = columns as u32 / 4;
        let kernel = Embedding {
            encoding,
            width,
            workgroup,
        };
        let grid = self.tokens.len() + ROOM;
        let mut tokens = self.tokens.clone();
        tokens.resize(grid, 0);
        // The vectors begin at element 8, the weight before the bias.
        let vectors = [&[0.0; 8], &self.vectors[..]].concat();
        let inputs = [rows(self.tokens.len(), 0), buffer(&vectors)];
        let (tokens, out) = (buffer(&tokens), buffer(&vec![UNTOUCHED; grid * columns]));
        let embedded = buffer(&vec![BEFORE; grid * columns]);
        let (encoded, row_bytes) = (self.table.encoded(), encoding.row_bytes(columns));
        for &[first, end] in parts {
            let params = EmbeddingParams {
                first_token: first as u32,
                token_count: (end - first) as u32,
                row_stride: (row_bytes / VEC4_BYTES) as u32,
                weight: 2,
                bias: 2 + width,
                epsilon: EPSILON,
            };
            let weights = buffer(&encoded[first * row_bytes..end * row_bytes]);
            let bindings = [
                Binding::Buffer(&inputs[0]),
                Binding::Uniform(bytes_of(&params)),
                Binding::Buffer(&inputs[1]),
                Binding::Buffer(&tokens),
                Binding::Buffer(&weights),
                Binding::Buffer(&out),
                Binding::Buffer(&embedded),
            ];
            let workgroups = Workgroups::Grid(kernel.workgroups(grid as u32));
            run(&kernel.kernel().unwrap(), &bindings, workgroups);
        }
        let mut out = read(&out);
        for (out, embedded) in out.iter().zip(read(&embedded)) {
            assert!(*out == embedded || *out == UNTOUCHED && embedded == BEFORE);
        }
        let beyond = out.split_off(self.tokens.len() * columns);
        assert!(beyond.iter().all(|number| *number == UNTOUCHED));
        out
    }

    fn expected(&self) -> Vec<f32> {
        let columns = self.table.columns;
        let mut embedded = vec![0.0; self.tokens.len() * columns];
        let mut normed = embedded.clone();
        twins::embedding(&self.table.twin(), &self.tokens, &mut embedded).unwrap();
        let (weight, bias) = self.vectors.split_at(columns);
        twins::layer_norm(&embedded, weight, bias, EPSILON, &mut normed);
        normed
    }

    fn compare(&self, parts: &[[usize; 2]]) {
        for workgroup in self.workgroups() {
            let Weights { ty, columns, .. } = self.table;
            let what = format!("{ty} [{columns}], {workgroup:?}");
            assert_close(&self.run(workgroup, parts), &self.expected(), 1e-6, &what);
        }
    }
}

#[test]
fn every_type_is_embedded_and_normed() {
    for ty in types() {
        for columns in [256, 2560] {
            let case = Case::new(ty, columns, &[3, 0, 1, 3]);
            case.compare(&[[0, 4]]);
        }
    }
}

/// Rows end within a span, within a half, and take a workgroup several steps.
#[test]
fn rows_of_any_width() {
    for (ty, columns) in [
        (TensorType::F32, 4),
        (TensorType::F16, 12),
        (TensorType::F32, 40),
        (TensorType::F16, 192),
        (TensorType::F32, 260),
        (TensorType::Q8_0, 320),
        (TensorType::F16, 1580),
        (TensorType::Q4_K, 5120),
    ] {
        Case::new(ty, columns, &[2, 1]).compare(&[[0, 3]]);
    }
}

#[test]
fn parts_of_a_table_pass_over_the_tokens_of_the_others() {
    for (ty, columns) in [(TensorType::F32, 40), (TensorType::Q4_K, 512)] {
        let case = Case::new(ty, columns, &[0, 22, 9, 10, 9]);
        case.compare(&[[0, 10], [10, 20], [20, 23]]);
        for workgroup in case.workgroups() {
            let found = case.run(workgroup, &[[10, 20]]);
            let is_touched = |row: &[f32]| row.iter().all(|number| *number != UNTOUCHED);
            let touched: Vec<bool> = found.chunks(columns).map(is_touched).collect();
            assert_eq!(touched, [false, false, false, true, false]);
        }
    }
}

#[test]
fn a_row_without_a_token_stays_what_it_was() {
    let columns = 40;
    let mut case = Case::new(TensorType::F32, columns, &[1, 0]);
    let expected = case.expected();
    case.tokens[1] = NO_TOKEN;
    for workgroup in case.workgroups() {
        let found = case.run(workgroup, &[[0, 1], [1, 2]]);
        let (first, second) = found.split_at(columns);
        assert_close(first, &expected[..columns], 1e-6, &format!("{workgroup:?}"));
        assert_eq!(second, [BEFORE; 40]);
    }
}
