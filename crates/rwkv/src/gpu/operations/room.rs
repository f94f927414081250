//! What operations read and write on a device.

use bytemuck::cast_slice;
use thalweg_gguf::TensorType;
use thalweg_gpu::{Buffer, Context};
use thalweg_shaders::kernels::{Link, NO_SLOT, Number, Rows, Slot};
use thalweg_shaders::{Encoding, encode_rows_as_halves};

use super::super::activations::{PARTS_NUMBERS, padded};
use super::super::storage::{Matrix, Part, Storage};
use crate::operations::{
    Extent, Operation, SOFTMAX_WIDTH, Sizes, random_encoded_rows, random_numbers,
};
use crate::{Error, Hyperparameters};

const LABEL: &str = "an operation that is measured";

/// The vectors of [`Room::vectors`], each as long as the model is wide.
#[derive(Debug, Clone, Copy)]
pub(super) enum Vector {
    NormWeight,
    NormBias,
    /// The first of six.
    Mixes,
    Bonus = 8,
    GroupNormWeight,
    GroupNormBias,
}

const VECTORS: usize = 11;

/// Everything but weights, for up to so many tokens.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) tokens: usize,
    pub(super) rows: Buffer,
    pub(super) links: Buffer,
    pub(super) vectors: Buffer,
    /// Inputs, `[tokens, channels]`.
    pub(super) x: Buffer,
    /// The same as products want them.
    pub(super) operands: Buffer,
    /// The row before the first, and where the last one goes.
    pub(super) shifts: [Buffer; 2],
    /// What time mixing computes before the recurrence, `[slots, tokens, width]`.
    pub(super) mixed: Buffer,
    /// What goes from dispatch to dispatch, each `[tokens, channels]`.
    pub(super) between: [Buffer; 2],
    /// What products read next: mixtures, `[6, tokens, width]`, or what is gated, the first of them.
    pub(super) mixtures: Buffer,
    /// What results are added to, `[tokens, width]`.
    pub(super) residual: Buffer,
    /// `[tokens, rows of a matrix]`
    pub(super) out: Buffer,
    /// Products in parts.
    pub(super) parts: Buffer,
}

impl Room {
    /// For up to so many tokens, whose products take operands of this kind.
    pub(super) fn new(
        context: &Context,
        sizes: &Sizes,
        tokens: usize,
        operand: Number,
    ) -> Result<Room, Error> {
        let Hyperparameters {
            width, ffn, vocab, ..
        } = sizes.hp;
        let channels = padded(ffn).max(width).max(SOFTMAX_WIDTH);
        let outputs = match tokens {
            1 => channels.max(vocab),
            _ => channels,
        };
        let numbers = |count| -> Result<Buffer, Error> {
            let numbers: Vec<f32> = random_numbers(count, -1.0, 1.0).collect();
            Ok(context.buffer_with(LABEL, &numbers)?)
        };
        let empty = |count: usize| context.buffer(LABEL, 4 * count as u64);
        let rows = Rows {
            count: tokens as u32,
            first: 0,
        };
        let x = numbers(tokens * channels)?;
        Ok(Room {
            tokens,
            rows: context.buffer_with(LABEL, &[rows])?,
            links: context.buffer_with(LABEL, &links(tokens))?,
            vectors: numbers(VECTORS * width)?,
            operands: match operand {
                Number::F32 => x.clone(),
                Number::F16 => halves(context, tokens * channels)?,
            },
            x,
            shifts: [numbers(width)?, empty(width)?],
            mixed: numbers(Slot::COUNT as usize * tokens * width)?,
            between: [empty(tokens * channels)?, empty(tokens * channels)?],
            mixtures: empty(6 * tokens * width)?,
            residual: empty(tokens * width)?,
            out: empty(tokens * outputs)?,
            parts: match tokens {
                1 => empty(1)?,
                _ => empty(PARTS_NUMBERS)?,
            },
        })
    }
}

/// All tokens are of one sequence.
fn links(tokens: usize) -> Vec<Link> {
    let first = Link {
        other: tokens as u32 - 1,
        slot: 0,
    };
    let others = (0..tokens as u32 - 1).map(|other| Link {
        other,
        slot: NO_SLOT,
    });
    std::iter::once(first).chain(others).collect()
}

fn halves(context: &Context, count: usize) -> Result<Buffer, Error> {
    let numbers: Vec<f32> = random_numbers(count, -1.0, 1.0).collect();
    let mut halves = vec![0u8; 2 * count];
    encode_rows_as_halves(TensorType::F32, count, cast_slice(&numbers), &mut halves)?;
    Ok(context.buffer_with(LABEL, &halves)?)
}

/// One copy of an operation's matrices, each part of them in a buffer of its own.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) storage: Storage,
    pub(super) matrices: Vec<Matrix>,
}

/// An operation's matrices as they are to lie on the device.
pub(super) struct Encoded {
    matrices: Vec<(Extent, Encoding, Vec<u8>)>,
}

impl Encoded {
    /// Those of an operation where products with many tokens take operands of this kind.
    pub(super) fn new(
        operation: &Operation,
        sizes: &Sizes,
        operand: Number,
    ) -> Result<Encoded, Error> {
        let encoded = |extent: Extent| {
            let encoding = match (Encoding::of(extent.ty), operand) {
                (Encoding::F32, Number::F16) => Encoding::F16,
                (encoding, _) => encoding,
            };
            let Extent { ty, rows, columns } = extent;
            let bytes = random_encoded_rows(ty, encoding, rows, columns)?;
            Ok((extent, encoding, bytes))
        };
        let matrices = operation.matrices(sizes).into_iter().map(encoded);
        Ok(Encoded {
            matrices: matrices.collect::<Result<_, Error>>()?,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.matrices.iter().map(|(_, _, bytes)| bytes.len()).sum()
    }

    /// Brings a copy to the device.
    pub(super) fn upload(&self, context: &Context) -> Result<Weights, Error> {
        let limits = context.limits();
        let largest = limits.storage_binding_bytes.min(limits.buffer_bytes) as usize;
        let mut buffers = Vec::new();
        let mut matrices = Vec::new();
        for (extent, encoding, bytes) in &self.matrices {
            let row_bytes = encoding.row_bytes(extent.columns);
            let part_rows = (largest / row_bytes).clamp(1, extent.rows);
            let mut parts = Vec::new();
            for (index, bytes) in bytes.chunks(part_rows * row_bytes).enumerate() {
                parts.push(Part {
                    buffer: buffers.len(),
                    offset: 0,
                    bytes: bytes.len() as u64,
                    first_row: index * part_rows,
                    rows: bytes.len() / row_bytes,
                });
                buffers.push(context.buffer_with(LABEL, bytes)?);
            }
            matrices.push(Matrix {
                encoding: *encoding,
                columns: extent.columns,
                parts,
            });
        }
        Ok(Weights {
            storage: Storage::of(buffers, limits),
            matrices,
        })
    }
}
