//! What kernels bind, and the data in it.

use std::iter::repeat_n;

use anyhow::Result;
use half::f16;
use thalweg_gguf::TensorType;
use thalweg_gpu::{Buffer, Context};
use thalweg_rwkv::operations::{random_encoded_rows, random_numbers};
use thalweg_shaders::kernels::{Link, NO_SLOT, Rows};
use thalweg_shaders::{Encoding, SampleRow};

use super::sampling::Sampled;
use crate::tokens;

/// What a kernel binds.
#[derive(Debug)]
pub enum Input {
    /// So many tokens.
    Rows(usize),
    /// Parameters.
    Uniform(Vec<u8>),
    /// A table of whole numbers.
    Table(Vec<u32>),
    /// 32-bit floats.
    Numbers(Vec<Numbers>),
    /// So many 16-bit floats between -1 and 1.
    Halves(usize),
    /// So many ids of tokens, below the given vocabulary.
    Tokens(usize, usize),
    /// How each row's token is chosen.
    Settings(Vec<SampleRow>),
    /// What earlier passes of sampling left.
    Sampled(Sampled),
    /// So many bytes that need hold nothing.
    Room(u64),
    /// Weights, which every dispatch reads from another copy.
    Weights(Vec<Matrix>),
}

/// A run of random numbers.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// How many.
    pub count: usize,
    /// The least of them.
    pub low: f32,
    /// The largest of them.
    pub high: f32,
}

/// A matrix in the device's encoding.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    /// How it is encoded.
    pub encoding: Encoding,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

impl Input {
    /// Parameters of a kernel.
    pub(super) fn uniform<T: bytemuck::Pod>(params: &T) -> Input {
        Input::Uniform(bytemuck::bytes_of(params).to_vec())
    }

    /// A table with such entries.
    pub(super) fn table<T: bytemuck::Pod>(entries: &[T]) -> Input {
        Input::Table(bytemuck::cast_slice(entries).to_vec())
    }

    /// What ties `tokens` tokens of one sequence to each other.
    pub(super) fn links_of_one(tokens: usize) -> Input {
        let others = (0..tokens as u32 - 1).map(|other| (other, NO_SLOT));
        let links = [(tokens as u32 - 1, 0)].into_iter().chain(others);
        Input::table::<Link>(
            &links
                .map(|(other, slot)| Link { other, slot })
                .collect::<Vec<_>>(),
        )
    }

    /// What ties a token of each of so many sequences to its slot.
    pub(super) fn links_of_many(sequences: usize) -> Input {
        let links = (0..sequences as u32).map(|row| Link {
            other: row,
            slot: row,
        });
        Input::table::<Link>(&links.collect::<Vec<_>>())
    }

    /// So many numbers between -1 and 1.
    pub(super) fn numbers(count: usize) -> Input {
        Input::Numbers(vec![Numbers::new(count, -1.0, 1.0)])
    }

    /// The buffers that hold it: several for weights, `copied_bytes` in all, none for parameters.
    pub(super) fn allocate(&self, context: &Context, copied_bytes: usize) -> Result<Vec<Buffer>> {
        let buffer = match self {
            Input::Uniform(_) => return Ok(Vec::new()),
            Input::Weights(matrices) => return weights(context, matrices, copied_bytes),
            Input::Rows(count) => {
                let rows = Rows {
                    count: *count as u32,
                    first: 0,
                };
                context.buffer_with("rows", &[rows])?
            }
            Input::Table(entries) => context.buffer_with("a table", entries)?,
            Input::Numbers(runs) => {
                let numbers: Vec<f32> = runs.iter().flat_map(Numbers::make).collect();
                context.buffer_with("numbers", &numbers)?
            }
            Input::Halves(count) => {
                let numbers = Numbers::new(*count, -1.0, 1.0);
                let halves: Vec<f16> = numbers.make().map(f16::from_f32).collect();
                context.buffer_with("halves", &halves)?
            }
            Input::Tokens(count, vocab) => {
                context.buffer_with("tokens", &tokens(*count, *vocab))?
            }
            Input::Settings(rows) => context.buffer_with("settings", rows)?,
            Input::Sampled(sampled) => sampled.allocate(context)?,
            Input::Room(bytes) => context.buffer("room", *bytes)?,
        };
        Ok(vec![buffer])
    }
}

impl Numbers {
    /// So many numbers between `low` and `high`.
    pub(super) fn new(count: usize, low: f32, high: f32) -> Numbers {
        Numbers { count, low, high }
    }

    fn make(&self) -> impl Iterator<Item = f32> {
        random_numbers(self.count, self.low, self.high)
    }
}

impl Matrix {
    /// The same with as many rows as any device can bind.
    pub(super) fn within_any_binding(self) -> Matrix {
        const BINDING_BYTES: usize = 128 << 20;
        let rows = BINDING_BYTES / self.encoding.row_bytes(self.columns);
        Matrix {
            rows: self.rows.min(rows),
            ..self
        }
    }

    /// Bytes of it.
    pub(super) fn bytes(&self) -> usize {
        self.rows * self.encoding.row_bytes(self.columns)
    }

    /// Multiplications and additions of a product with so many tokens.
    pub(super) fn flops(&self, tokens: usize) -> f64 {
        2.0 * (self.rows * self.columns * tokens) as f64
    }

    fn encoded(&self) -> Result<Vec<u8>> {
        let Matrix {
            encoding,
            rows,
            columns,
        } = *self;
        Ok(random_encoded_rows(
            self.file_type(),
            encoding,
            rows,
            columns,
        )?)
    }

    fn file_type(&self) -> TensorType {
        match self.encoding {
            Encoding::Q4_K => TensorType::Q4_K,
            Encoding::Q5_K => TensorType::Q5_K,
            Encoding::Q6_K => TensorType::Q6_K,
            Encoding::Q8_0 => TensorType::Q8_0,
            Encoding::F16 => TensorType::F16,
            Encoding::F32 => TensorType::F32,
        }
    }
}

/// As many copies of the matrices as make `copied_bytes`, but for one at least.
fn weights(context: &Context, matrices: &[Matrix], copied_bytes: usize) -> Result<Vec<Buffer>> {
    let encoded: Vec<_> = matrices
        .iter()
        .map(Matrix::encoded)
        .collect::<Result<_>>()?;
    let bytes = encoded.concat();
    repeat_n(&bytes, (copied_bytes / bytes.len()).max(1))
        .map(|bytes| Ok(context.buffer_with("weights", bytes)?))
        .collect()
}
