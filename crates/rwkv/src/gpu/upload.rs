//! The way of the weights to the device: out of the mapped file, encoded where need be, and counted.

use std::ops::ControlFlow;

use thalweg_gguf::{Tensor, TensorType};
use thalweg_gpu::{Buffer, Context, Uploader};
use thalweg_shaders::{Encoding, encode_rows, encode_rows_as_halves, is_stored_as_is};

use super::storage::shape;
use crate::Error;

/// Bytes after which progress is told.
const STEP_BYTES: usize = 16 << 20;

/// How far loading a model has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on their way to the device or there.
    pub done_bytes: u64,
    /// Bytes of all weights, as the device holds them.
    pub total_bytes: u64,
}

/// What is to be written, and where.
pub(super) struct Upload<'a> {
    pub(super) buffer: Buffer,
    pub(super) offset: u64,
    /// Bytes on the device.
    pub(super) bytes: u64,
    pub(super) data: Data<'a>,
}

pub(super) enum Data<'a> {
    /// Rows of a tensor.
    Rows(Rows<'a>),
    /// Numbers as they are.
    Numbers(Vec<f32>),
}

/// Whole rows of a matrix in the encoding of the file.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    ty: TensorType,
    /// What they become on the device: the type's own encoding, or halves of plain numbers.
    encoding: Encoding,
    columns: usize,
    /// Bytes of a row in the file.
    row_bytes: usize,
    bytes: &'a [u8],
}

impl<'a> Data<'a> {
    /// `count` rows of `tensor`, whose shape has been checked, from row `first` on.
    pub(super) fn rows(
        tensor: Tensor<'a>,
        encoding: Encoding,
        first: usize,
        count: usize,
    ) -> Data<'a> {
        let (columns, rows) = shape(tensor.info);
        let row_bytes = tensor.data.len() / rows;
        Data::Rows(Rows {
            ty: tensor.info.ty,
            encoding,
            columns,
            row_bytes,
            bytes: &tensor.data[first * row_bytes..][..count * row_bytes],
        })
    }
}

/// Writes everything to the device, and tells `on_progress` about it, which may end that.
///
/// # Errors
/// [`Error::Cancelled`] if it does; errors of the device.
pub(super) fn upload(
    context: &Context,
    uploads: &[Upload<'_>],
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), Error> {
    let total_bytes = uploads.iter().map(|upload| upload.bytes).sum();
    let mut done_bytes = 0;
    let mut tell = |bytes: usize| {
        done_bytes += bytes as u64;
        let progress = Progress {
            done_bytes,
            total_bytes,
        };
        match on_progress(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    };
    let mut uploader = context.uploader();
    for upload in uploads {
        match &upload.data {
            Data::Numbers(numbers) => {
                let bytes: &[u8] = bytemuck::cast_slice(numbers);
                uploader.write(&upload.buffer, upload.offset, bytes)?;
                tell(bytes.len())?;
            }
            Data::Rows(rows) => upload_rows(
                &mut uploader,
                &upload.buffer,
                upload.offset,
                *rows,
                &mut tell,
            )?,
        }
    }
    Ok(uploader.finish()?)
}

fn upload_rows(
    uploader: &mut Uploader<'_>,
    buffer: &Buffer,
    offset: u64,
    rows: Rows<'_>,
    tell: &mut dyn FnMut(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let Rows {
        ty,
        encoding,
        columns,
        ..
    } = rows;
    let row_bytes = encoding.row_bytes(columns);
    let is_halved = encoding != Encoding::of(ty);
    let step_rows = (STEP_BYTES / row_bytes).max(1);
    let mut offset = offset;
    for bytes in rows.bytes.chunks(step_rows * rows.row_bytes) {
        let count = bytes.len() / rows.row_bytes;
        if !is_halved && is_stored_as_is(ty, columns) {
            uploader.write(buffer, offset, bytes)?;
        } else {
            uploader.write_rows(buffer, offset, count, row_bytes, |range, out| {
                let range = range.start * rows.row_bytes..range.end * rows.row_bytes;
                let encoded = match is_halved {
                    true => encode_rows_as_halves(ty, columns, &bytes[range], out),
                    false => encode_rows(ty, columns, &bytes[range], out),
                };
                encoded.map_err(Error::from)
            })?;
        }
        offset += (count * row_bytes) as u64;
        tell(count * row_bytes)?;
    }
    Ok(())
}
