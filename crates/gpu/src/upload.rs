//! Uploads large data through a little staging memory.

use std::collections::VecDeque;

use wgpu::util::StagingBelt;

use crate::{Buffer, Context, Error, Work};

/// Bytes of one staging buffer.
const CHUNK_BYTES: u64 = 16 << 20;
/// Staging buffers that the device may still be copying from while the next is filled.
const IN_FLIGHT: usize = 2;
const ALIGNMENT: wgpu::BufferSize = wgpu::BufferSize::new(wgpu::MAP_ALIGNMENT).unwrap();

const DOING: &str = "uploading";

/// Writes data of any size into buffers, through at most three staging buffers of 16 MiB that are used in turn.
///
/// [`finish`](Uploader::finish) waits until all of it has arrived; only then does it surely arrive.
#[derive(Debug)]
pub struct Uploader<'c> {
    context: &'c Context,
    belt: StagingBelt,
    /// Copies out of the staging buffer that is being filled.
    encoder: wgpu::CommandEncoder,
    staged_bytes: u64,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
}

impl<'c> Uploader<'c> {
    pub(crate) fn new(context: &'c Context) -> Uploader<'c> {
        Uploader {
            context,
            belt: StagingBelt::new(context.device().clone(), CHUNK_BYTES),
            encoder: new_encoder(context),
            staged_bytes: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// Writes `data` into `buffer` from byte `offset` on, a multiple of four. Where the data's length is none, zeros
    /// follow.
    pub fn write(&mut self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut offset = offset;
        for chunk in data.chunks(CHUNK_BYTES as usize) {
            self.stage(buffer, offset, chunk)?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// Waits until everything written has arrived.
    pub fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        self.context.wait(DOING)
    }

    fn stage(&mut self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<(), Error> {
        // Every allocation in a staging buffer begins at a multiple of the alignment.
        let bytes = (data.len() as u64).next_multiple_of(wgpu::MAP_ALIGNMENT);
        let copied = (data.len() as u64).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT);
        let Some(size) = wgpu::BufferSize::new(copied) else {
            return Ok(());
        };
        if self.staged_bytes + bytes > CHUNK_BYTES {
            self.flush()?;
        }
        self.staged_bytes += bytes;
        let (belt, encoder) = (&mut self.belt, &mut self.encoder);
        let mapped = self.context.scoped(DOING, CHUNK_BYTES, || {
            let staging = belt.allocate(size, ALIGNMENT);
            encoder.copy_buffer_to_buffer(
                staging.buffer(),
                staging.offset(),
                buffer.wgpu(),
                offset,
                copied,
            );
            staging.get_mapped_range_mut()
        })?;
        let mut view = mapped.map_err(|error| Error::Internal {
            doing: DOING.to_owned(),
            message: error.to_string(),
        })?;
        view.slice(..data.len()).copy_from_slice(data);
        view.slice(data.len()..).fill(0);
        Ok(())
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

fn new_encoder(context: &Context) -> wgpu::CommandEncoder {
    context
        .device()
        .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(DOING) })
}
