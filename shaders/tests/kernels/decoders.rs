//! `encodings/*.wgsl`: the decoders, shown bare by a product with ones and zeros.

use bytemuck::bytes_of;
use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{Matmul, Number, pad_jobs};

use crate::harness::{Noise, Weights, buffer, read, rows, run, types};
use crate::product::job;

/// The numbers of a matrix as the device decodes them, with values for constants that it would have chosen: the products with as
/// many tokens as there are columns, each of which has a one in its column.
fn decoded(matrix: &Weights, constants: Vec<(&'static str, f64)>) -> Vec<f32> {
    let (encoding, columns) = (matrix.encoding(), matrix.columns);
    let matmul = Matmul {
        encoding,
        block_size: Matmul::DEFAULT_BLOCK_SIZE,
        operand: Number::F32,
        output: Number::F32,
    };
    let mut kernel = matmul.kernel().unwrap();
    kernel.constants.extend(constants);
    let mut ones = vec![0.0f32; columns * columns];
    ones.iter_mut()
        .step_by(columns + 1)
        .for_each(|number| *number = 1.0);
    let jobs = pad_jobs(&[job(matrix)]);
    let out = buffer(&vec![f32::NAN; columns * matrix.rows]);
    let bindings = [
        Binding::Buffer(&rows(columns, 0)),
        Binding::Uniform(bytes_of(&jobs)),
        Binding::Buffer(&buffer(&[0.0f32; 4])),
        Binding::Buffer(&buffer(&matrix.encoded())),
        Binding::Buffer(&buffer(&ones)),
        Binding::Buffer(&out),
    ];
    let grid = matmul.workgroups(1, matrix.rows as u32, columns as u32);
    run(&kernel, &bindings, Workgroups::Grid(grid));
    let products = read(&out);
    let row = |row| products.iter().skip(row).step_by(matrix.rows);
    (0..matrix.rows).flat_map(row).copied().collect()
}

#[test]
fn every_type_decodes_to_the_same_bits_as_on_the_cpu() {
    for ty in types() {
        for columns in [256, 768] {
            let matrix = Noise::new(columns as u64).matrix(ty, 40, columns);
            for (found, expected) in decoded(&matrix, vec![]).into_iter().zip(matrix.decoded()) {
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
    for ty in [TensorType::F16, TensorType::Q4_K, TensorType::Q6_K] {
        let matrix = Noise::new(5).matrix(ty, 12, 256);
        let found = decoded(&matrix, vec![("SUBNORMAL_HALVES", 0.0)]);
        assert!(found == matrix.decoded(), "{ty}");
    }
    let subnormal: Vec<u8> = (0..256u16)
        .flat_map(|i| (4 * i + 1).to_le_bytes())
        .collect();
    let matrix = Weights {
        ty: TensorType::F16,
        rows: 1,
        columns: 256,
        bytes: subnormal,
    };
    for constants in [vec![], vec![("SUBNORMAL_HALVES", 0.0)]] {
        assert_eq!(decoded(&matrix, constants), matrix.decoded());
    }
}
