//! `embedding.wgsl`, and with it the decoders, which it shows bare.

use bytemuck::bytes_of;
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::VEC4_BYTES;
use thalweg_shaders::kernels::{Embedding, EmbeddingParams};

use crate::harness::{Noise, Weights, buffer, read, rows, run, types};

/// Looks `tokens` up in a table that is divided into parts of at most `part_rows` rows.
fn look_up(table: &Weights, tokens: &[u32], part_rows: usize) -> Vec<f32> {
    look_up_with(table, tokens, part_rows, vec![])
}

/// The same with values for constants that the device would have chosen.
fn look_up_with(
    table: &Weights,
    tokens: &[u32],
    part_rows: usize,
    constants: Vec<(&'static str, f64)>,
) -> Vec<f32> {
    let embedding = Embedding {
        encoding: table.encoding(),
    };
    let mut kernel = embedding.kernel().unwrap();
    kernel.constants.extend(constants);
    let row_bytes = table.encoding().row_bytes(table.columns);
    let spans = table.encoding().spans(table.columns) as u32;
    let (count, ids) = (rows(tokens.len(), 0), buffer(tokens));
    let out = buffer(&vec![f32::NAN; tokens.len() * table.columns]);
    for (part, encoded) in table.encoded().chunks(part_rows * row_bytes).enumerate() {
        let params = EmbeddingParams {
            first_token: (part * part_rows) as u32,
            token_count: (encoded.len() / row_bytes) as u32,
            row_stride: (row_bytes / VEC4_BYTES) as u32,
            spans,
            weights: 0,
            width: table.columns as u32 / 4,
        };
        let weights = buffer(encoded);
        let bindings = [
            Binding::Buffer(&count),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&ids),
            Binding::Buffer(&weights),
            Binding::Buffer(&out),
        ];
        let workgroups = embedding.workgroups(spans, tokens.len() as u32 + 3);
        run(&kernel, &bindings, Workgroups::Grid(workgroups));
    }
    read(&out)
}

#[test]
fn every_type_decodes_to_the_same_bits_as_on_the_cpu() {
    for ty in types() {
        for columns in [256, 768] {
            let table = Noise::new(columns as u64).matrix(ty, 40, columns);
            let tokens: Vec<u32> = (0..40).rev().collect();
            let expected: Vec<f32> = table
                .decoded()
                .chunks(columns)
                .rev()
                .flatten()
                .copied()
                .collect();
            for (found, expected) in look_up(&table, &tokens, 40).into_iter().zip(expected) {
                // A driver may give zero either sign.
                assert!(
                    found == expected,
                    "{ty} [{columns}]: {found:e} instead of {expected:e}"
                );
            }
        }
    }
}

/// As on a driver that flushes subnormal halves when it unpacks them, where they are built from their integers.
#[test]
fn halves_are_right_without_trust_in_the_driver() {
    let rows: Vec<u32> = (0..12).collect();
    for ty in [TensorType::F16, TensorType::Q4_K, TensorType::Q6_K] {
        let table = Noise::new(5).matrix(ty, 12, 256);
        let found = look_up_with(&table, &rows, 12, vec![("SUBNORMAL_HALVES", 0.0)]);
        assert_eq!(found, table.decoded(), "{ty}");
    }
    let subnormal: Vec<u8> = (0..256u16)
        .flat_map(|i| (4 * i + 1).to_le_bytes())
        .collect();
    let table = Weights {
        ty: TensorType::F16,
        rows: 1,
        columns: 256,
        bytes: subnormal,
    };
    for constants in [vec![], vec![("SUBNORMAL_HALVES", 0.0)]] {
        assert_eq!(look_up_with(&table, &[0], 1, constants), table.decoded());
    }
}

#[test]
fn narrow_rows_and_tables_in_parts() {
    for (ty, columns) in [
        (TensorType::F32, 64),
        (TensorType::F16, 192),
        (TensorType::Q8_0, 320),
        (TensorType::F32, 40),
    ] {
        let table = Noise::new(7).matrix(ty, 23, columns);
        let tokens = [0, 22, 9, 10, 9];
        let decoded = table.decoded();
        let expected: Vec<f32> = tokens
            .iter()
            .flat_map(|token| &decoded[*token as usize * columns..][..columns])
            .copied()
            .collect();
        assert_eq!(look_up(&table, &tokens, 10), expected, "{ty} [{columns}]");
    }
}
