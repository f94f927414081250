//! Runs single kernels on whatever adapter there is, software adapters included. Without one the tests fail.

use std::sync::LazyLock;

use thalweg_gguf::TensorType;
use thalweg_gpu::{Binding, Buffer, Context, Feature, PlanBuilder, Work, Workgroups};
use thalweg_shaders::kernels::{Kernel, RowWorkgroup, Rows};
use thalweg_shaders::{Encoding, encode_rows, twins};

pub(crate) fn context() -> &'static Context {
    static CONTEXT: LazyLock<Context> = LazyLock::new(|| Context::of_any_kind().unwrap());
    &CONTEXT
}

/// Runs `kernel` once.
pub(crate) fn run(kernel: &Kernel, bindings: &[Binding<'_>], workgroups: Workgroups) {
    // SAFETY: the tests bind what the kernel's documentation asks for.
    let pipeline = unsafe { context().pipeline(kernel) }.unwrap();
    let mut plan = PlanBuilder::new(context(), &kernel.name);
    plan.dispatch(&pipeline, bindings, workgroups, Work::default())
        .unwrap();
    plan.build().unwrap().run(context()).unwrap();
}

/// A buffer holding `values`, which may be none.
pub(crate) fn buffer<T: bytemuck::Pod>(values: &[T]) -> Buffer {
    context().buffer_with("test data", values).unwrap()
}

pub(crate) fn rows(count: usize, first: usize) -> Buffer {
    buffer(&[Rows {
        count: count as u32,
        first: first as u32,
    }])
}

/// The workgroups that may share a row of so many pieces: as large as the device has them and small ones, with and without
/// subgroup operations where it has them.
pub(crate) fn row_workgroups(pieces: usize) -> impl Iterator<Item = RowWorkgroup> {
    let [smallest, _] = context().adapter().subgroup_sizes;
    let has_subgroups =
        context().has(Feature::Subgroup) && smallest >= RowWorkgroup::LEAST_SUBGROUP;
    let most = [context().limits().workgroup_invocations, 96];
    let levels = [false, true]
        .into_iter()
        .filter(move |level| has_subgroups || !level);
    levels.flat_map(move |subgroup| {
        most.map(|most| RowWorkgroup::sharing(pieces as u32, most, subgroup))
    })
}

pub(crate) fn read(buffer: &Buffer) -> Vec<f32> {
    let mut values = vec![0.0; buffer.bytes() as usize / 4];
    context().read(buffer, 0, &mut values).unwrap();
    values
}

/// The same of 16-bit floats.
pub(crate) fn read_halves(buffer: &Buffer) -> Vec<f32> {
    let mut values = vec![half::f16::ZERO; buffer.bytes() as usize / 2];
    context().read(buffer, 0, &mut values).unwrap();
    numbers_of(&values)
}

pub(crate) fn halves(numbers: &[f32]) -> Vec<half::f16> {
    numbers.iter().copied().map(half::f16::from_f32).collect()
}

pub(crate) fn numbers_of(halves: &[half::f16]) -> Vec<f32> {
    halves.iter().copied().map(half::f16::to_f32).collect()
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform between -1 and 1.
    pub(crate) fn number(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Uniform between `low` and `high`.
    pub(crate) fn between(&mut self, low: f32, high: f32, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| low + (high - low) * (0.5 + 0.5 * self.number()))
            .collect()
    }

    /// A matrix in its file encoding. Its block scales are ordinary, subnormal, negative and zero halves.
    pub(crate) fn matrix(&mut self, ty: TensorType, rows: usize, columns: usize) -> Weights {
        let blocks = rows * columns / ty.block_len();
        let mut bytes: Vec<u8> = (0..blocks * ty.block_bytes())
            .map(|_| self.bits() as u8)
            .collect();
        match ty {
            TensorType::F32 => bytes = bytemuck::cast_slice(&self.numbers(rows * columns)).to_vec(),
            TensorType::BF16 => bytes
                .chunks_exact_mut(2)
                .for_each(|half| half[1] = 0x3e | half[1] & 0x81),
            TensorType::F16 => bytes.chunks_exact_mut(2).for_each(|half| half[1] &= 0xbb), // below 1, some subnormal
            _ => {
                for block in bytes.chunks_exact_mut(ty.block_bytes()) {
                    for at in scales_of(ty) {
                        let scale: u16 = match self.bits() % 8 {
                            0 => 0,
                            1 => (self.bits() % 0x3ff) as u16, // subnormal
                            2 => 0x9c00 | (self.bits() % 0x3ff) as u16, // negative
                            _ => 0x1c00 | (self.bits() % 0x3ff) as u16, // 2^-8
                        };
                        block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
                    }
                }
            }
        }
        Weights {
            ty,
            rows,
            columns,
            bytes,
        }
    }
}

/// Where the halves of a block lie.
fn scales_of(ty: TensorType) -> &'static [usize] {
    match ty {
        TensorType::Q2_K => &[80, 82],
        TensorType::Q3_K => &[108],
        TensorType::Q6_K => &[208],
        TensorType::Q4_K | TensorType::Q5_K | TensorType::Q4_1 | TensorType::Q5_1 => &[0, 2],
        _ => &[0],
    }
}

/// A matrix as it lies in a file.
pub(crate) struct Weights {
    pub(crate) ty: TensorType,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Weights {
    pub(crate) fn twin(&self) -> twins::Matrix<'_> {
        twins::Matrix {
            ty: self.ty,
            rows: self.rows,
            cols: self.columns,
            bytes: &self.bytes,
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        Encoding::of(self.ty)
    }

    /// The rows as they lie on the device.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = vec![0xff; self.rows * self.encoding().row_bytes(self.columns)];
        encode_rows(self.ty, self.columns, &self.bytes, &mut out).unwrap();
        out
    }

    pub(crate) fn decoded(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.columns];
        self.twin().decode_rows(0, &mut out).unwrap();
        out
    }
}

/// Every tensor type that there is a decoder for.
pub(crate) fn types() -> impl Iterator<Item = TensorType> {
    TensorType::all().filter(|ty| ty.is_supported())
}

/// Asserts that the largest difference is at most `tolerance` times the largest magnitude expected.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected
        .iter()
        .fold(0.0f32, |largest, value| largest.max(value.abs()));
    let mut worst = (0.0, 0);
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference.is_finite(),
            "{what}: {found} instead of {expected} at {index}"
        );
        if difference > worst.0 {
            worst = (difference, index);
        }
    }
    let (difference, at) = worst;
    println!("{what}: {difference:.1e} off, largest {largest:.3}");
    assert!(
        difference <= tolerance * largest,
        "{what}: {} instead of {} at {at}, largest {largest}",
        found[at],
        expected[at]
    );
}
