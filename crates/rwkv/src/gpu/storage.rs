//! Where tensors lie on the device: a few large buffers, in which every tensor is one or several parts.
//!
//! No part is larger than what a kernel can bind, so larger matrices are split by rows; parts begin where a binding may
//! begin.

use thalweg_gguf::{Tensor, TensorInfo};
use thalweg_gpu::{Binding, Buffer, Context, Limits};
use thalweg_shaders::Encoding;

use super::upload::{Data, Upload};
use crate::Error;

/// A weight matrix on the device.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) encoding: Encoding,
    pub(super) columns: usize,
    pub(super) parts: Vec<Part>,
}

/// Consecutive rows of a matrix, bytes `[offset, offset + bytes)` of one of the storage's buffers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) buffer: usize,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) first_row: usize,
    pub(super) rows: usize,
}

impl Part {
    /// The bytes that hold both, if they lie in one buffer.
    pub(super) fn joined(&self, other: &Part) -> Option<Part> {
        let offset = self.offset.min(other.offset);
        let end = (self.offset + self.bytes).max(other.offset + other.bytes);
        (self.buffer == other.buffer).then_some(Part {
            offset,
            bytes: end - offset,
            ..*self
        })
    }
}

/// Buffers that hold tensors.
#[derive(Debug)]
pub(super) struct Storage {
    buffers: Vec<Buffer>,
    /// The most bytes that a kernel can bind.
    pub(super) largest_binding: u64,
}

impl Storage {
    /// What lies in these buffers.
    pub(super) fn of(buffers: Vec<Buffer>, limits: &Limits) -> Storage {
        Storage {
            buffers,
            largest_binding: limits.storage_binding_bytes,
        }
    }

    pub(super) fn buffer(&self, part: &Part) -> &Buffer {
        &self.buffers[part.buffer]
    }

    /// Binds one part.
    pub(super) fn binding(&self, part: &Part) -> Binding<'_> {
        Binding::Part {
            buffer: self.buffer(part),
            offset: part.offset,
            bytes: part.bytes,
        }
    }
}

/// Divides device memory among tensors.
pub(super) struct Layout<'a> {
    limits: Limits,
    /// Whether 32-bit floats become 16-bit floats.
    halves: bool,
    /// Bytes of each buffer.
    sizes: Vec<u64>,
    contents: Vec<(Part, Data<'a>)>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(limits: &Limits, halves: bool) -> Layout<'a> {
        Layout {
            limits: *limits,
            halves,
            sizes: vec![0],
            contents: Vec::new(),
        }
    }

    /// Makes room for a tensor whose rows are to be multiplied by.
    pub(super) fn matrix(&mut self, tensor: Tensor<'a>) -> Matrix {
        let (columns, rows) = shape(tensor.info);
        let encoding = match Encoding::of(tensor.info.ty) {
            Encoding::F32 if self.halves => Encoding::F16,
            encoding => encoding,
        };
        let row_bytes = encoding.row_bytes(columns) as u64;
        let largest = self
            .limits
            .storage_binding_bytes
            .min(self.limits.buffer_bytes);
        // At least one row: a binding holds 128 MiB at the least.
        let part_rows = ((largest / row_bytes).max(1) as usize).min(rows);
        let mut parts = Vec::new();
        for first_row in (0..rows).step_by(part_rows) {
            let rows = part_rows.min(rows - first_row);
            let part = Part {
                first_row,
                rows,
                ..self.room(rows as u64 * row_bytes)
            };
            parts.push(part);
            self.contents
                .push((part, Data::rows(tensor, encoding, first_row, rows)));
        }
        Matrix {
            encoding,
            columns,
            parts,
        }
    }

    /// Makes room for numbers.
    pub(super) fn numbers(&mut self, numbers: Vec<f32>) -> Part {
        let part = Part {
            rows: 1,
            ..self.room(4 * numbers.len() as u64)
        };
        self.contents.push((part, Data::Numbers(numbers)));
        part
    }

    /// The next free bytes, in a new buffer if the present one would become too large.
    fn room(&mut self, bytes: u64) -> Part {
        let alignment = u64::from(self.limits.storage_offset_alignment);
        let last = self.sizes.len() - 1;
        let offset = self.sizes[last].next_multiple_of(alignment);
        if offset + bytes <= self.limits.buffer_bytes || self.sizes[last] == 0 {
            self.sizes[last] = offset + bytes;
            return Part {
                buffer: last,
                offset,
                bytes,
                first_row: 0,
                rows: 0,
            };
        }
        self.sizes.push(bytes);
        Part {
            buffer: last + 1,
            offset: 0,
            bytes,
            first_row: 0,
            rows: 0,
        }
    }

    /// Allocates the buffers, called `label` in messages, and adds what is to be written into them to `uploads`.
    pub(super) fn allocate(
        self,
        context: &Context,
        label: &str,
        uploads: &mut Vec<Upload<'a>>,
    ) -> Result<Storage, Error> {
        let buffers = self
            .sizes
            .iter()
            .map(|bytes| context.buffer(label, *bytes))
            .collect::<Result<Vec<_>, _>>()?;
        uploads.extend(self.contents.into_iter().map(|(part, data)| Upload {
            buffer: buffers[part.buffer].clone(),
            offset: part.offset,
            bytes: part.bytes,
            data,
        }));
        Ok(Storage::of(buffers, &self.limits))
    }
}

/// Columns and rows of a matrix whose shape has been checked.
pub(super) fn shape(info: &TensorInfo) -> (usize, usize) {
    let columns = info.shape[0] as usize;
    (columns, (info.elements() / info.shape[0]) as usize)
}
