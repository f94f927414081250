//! Uploads large data through a little staging memory.

use std::collections::VecDeque;
use std::ops::Range;

use rayon::prelude::*;
use wgpu::WriteOnly;
use wgpu::util::StagingBelt;

use crate::{Buffer, Context, Error, Work};

/// Bytes of one staging buffer.
const CHUNK_BYTES: usize = 16 << 20;
/// Staging buffers that the device may still be copying from while the next is filled.
const IN_FLIGHT: usize = 2;
/// Bytes that one thread puts into a staging buffer at a time; small enough for its cache.
const PIECE_BYTES: usize = 128 << 10;
/// Every allocation in a staging buffer begins at a multiple of this.
const ALIGNMENT: wgpu::BufferSize = wgpu::BufferSize::new(wgpu::MAP_ALIGNMENT).unwrap();

const DOING: &str = "uploading";

/// Writes data of any size into buffers, through at most three staging buffers of 16 MiB that are used in turn: while
/// the device copies out of two of them, all threads fill the third.
///
/// [`finish`](Uploader::finish) waits until all of it has arrived; only then does it surely arrive.
#[derive(Debug)]
pub struct Uploader<'c> {
    context: &'c Context,
    belt: StagingBelt,
    /// Copies out of the staging buffer that is being filled.
    encoder: wgpu::CommandEncoder,
    staged_bytes: usize,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
}

/// Where data is going, and in what portions.
#[derive(Clone, Copy)]
struct Target<'b> {
    buffer: &'b Buffer,
    offset: u64,
    bytes: usize,
    /// Bytes that must not be torn apart; rows, for one.
    unit_bytes: usize,
}

impl<'c> Uploader<'c> {
    pub(crate) fn new(context: &'c Context) -> Uploader<'c> {
        Uploader {
            context,
            belt: StagingBelt::new(context.device().clone(), CHUNK_BYTES as u64),
            encoder: new_encoder(context),
            staged_bytes: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// Writes `data` into `buffer` from byte `offset` on, a multiple of four. Where the data's length is none, zeros
    /// follow.
    pub fn write(&mut self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<(), Error> {
        let target = Target {
            buffer,
            offset,
            bytes: data.len(),
            unit_bytes: wgpu::MAP_ALIGNMENT as usize,
        };
        self.write_pieces(target, |range, _, mut staging| {
            staging.copy_from_slice(&data[range]);
            Ok(())
        })
    }

    /// Writes `rows` rows of `row_bytes` each, both offset and row multiples of four bytes, into `buffer` from byte
    /// `offset` on. `make` makes some of the rows at a time, on several threads.
    pub fn write_rows<E: From<Error> + Send>(
        &mut self,
        buffer: &Buffer,
        offset: u64,
        rows: usize,
        row_bytes: usize,
        make: impl Fn(Range<usize>, &mut [u8]) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let target = Target {
            buffer,
            offset,
            bytes: rows * row_bytes,
            unit_bytes: row_bytes,
        };
        self.write_pieces(target, |range, made, mut staging| {
            // Staging memory may be slow to write out of order, so rows are made in the thread's cache.
            made.resize(range.len(), 0);
            make(range.start / row_bytes..range.end / row_bytes, made)?;
            staging.copy_from_slice(made);
            Ok(())
        })
    }

    /// Waits until everything written has arrived.
    pub fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        self.context.wait(DOING)
    }

    /// Has `fill` write the bytes of each range, with the help of memory that a thread keeps for the next range.
    fn write_pieces<E: From<Error> + Send>(
        &mut self,
        target: Target<'_>,
        fill: impl Fn(Range<usize>, &mut Vec<u8>, WriteOnly<'_, [u8]>) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let mut start = 0;
        while start < target.bytes {
            let room = CHUNK_BYTES.saturating_sub(self.staged_bytes);
            if room < target.unit_bytes && self.staged_bytes > 0 {
                self.flush()?;
                continue;
            }
            // A unit larger than a staging buffer is given a staging buffer of its own.
            let units = (room / target.unit_bytes).max(1);
            let range = start..(start + units * target.unit_bytes).min(target.bytes);
            start = range.end;
            let mut staging = self.stage(target, &range)?;
            let pieces = pieces(range, target.unit_bytes, staging.slice(..));
            pieces
                .into_par_iter()
                .try_for_each_init(Vec::new, |memory, piece| {
                    fill(piece.range, memory, piece.staging)
                })?;
        }
        Ok(())
    }

    /// Staging memory for some of the target's bytes, from where they will be copied.
    fn stage(
        &mut self,
        target: Target<'_>,
        range: &Range<usize>,
    ) -> Result<wgpu::BufferViewMut, Error> {
        let copied = (range.len() as u64).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT);
        let size = wgpu::BufferSize::new(copied).unwrap_or(ALIGNMENT);
        self.staged_bytes += range.len().next_multiple_of(wgpu::MAP_ALIGNMENT as usize);
        let (belt, encoder) = (&mut self.belt, &mut self.encoder);
        let mapped = self.context.scoped(DOING, CHUNK_BYTES as u64, || {
            let staging = belt.allocate(size, ALIGNMENT);
            encoder.copy_buffer_to_buffer(
                staging.buffer(),
                staging.offset(),
                target.buffer.wgpu(),
                target.offset + range.start as u64,
                copied,
            );
            staging.get_mapped_range_mut()
        })?;
        let mut view = mapped.map_err(|error| Error::Internal {
            doing: DOING.to_owned(),
            message: error.to_string(),
        })?;
        view.slice(range.len()..).fill(0);
        Ok(view)
    }

    /// Hands what is staged to the device, and waits for the device where it is too far behind.
    fn flush(&mut self) -> Result<(), Error> {
        let encoder = std::mem::replace(&mut self.encoder, new_encoder(self.context));
        let work = Work {
            flops: 0.0,
            bytes: 2.0 * self.staged_bytes as f64,
        };
        self.belt.finish();
        self.in_flight
            .push_back(self.context.submit(encoder.finish(), work, DOING)?);
        self.belt.recall();
        self.staged_bytes = 0;
        if self.in_flight.len() > IN_FLIGHT {
            self.context.wait_for(self.in_flight.pop_front(), DOING)?;
        }
        Ok(())
    }
}

/// What one thread writes at a time: a range of the data, into staging memory of that length.
struct Piece<'s> {
    range: Range<usize>,
    staging: WriteOnly<'s, [u8]>,
}

// SAFETY: a `WriteOnly` is an exclusive reference, and those to bytes may go to other threads. wgpu says so itself, but
// only for types of known size.
unsafe impl Send for Piece<'_> {}

/// Divides `range` into pieces of whole units.
fn pieces(range: Range<usize>, unit_bytes: usize, staging: WriteOnly<'_, [u8]>) -> Vec<Piece<'_>> {
    let piece_bytes = (PIECE_BYTES / unit_bytes).max(1) * unit_bytes;
    let mut rest = staging;
    range
        .clone()
        .step_by(piece_bytes)
        .map(|start| {
            let range = start..(start + piece_bytes).min(range.end);
            let (staging, behind) = std::mem::take(&mut rest).split_at(range.len());
            rest = behind;
            Piece { range, staging }
        })
        .collect()
}

fn new_encoder(context: &Context) -> wgpu::CommandEncoder {
    context
        .device()
        .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(DOING) })
}
