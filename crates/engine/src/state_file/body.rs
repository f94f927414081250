//! Reading what comes after the header, a block at a time: a block is checked and decoded while it is in the processor's cache,
//! and the whole never lies in memory twice.

use std::io::{self, Read};

use crc32fast::Hasher;

use super::StateEncoding;
use super::header::CHECKSUM_BYTES;

/// Numbers that are decoded together, a multiple of all row lengths that states have.
const BLOCK: usize = 1 << 15;

/// The contents of a file on their way in.
pub(super) struct Body<R> {
    source: R,
    checksum: Hasher,
    is_finite: bool,
}

impl<R: Read> Body<R> {
    /// Behind these bytes, which count for the checksum.
    pub(super) fn new(source: R, before: &[u8]) -> Self {
        let mut checksum = Hasher::new();
        checksum.update(before);
        Self {
            source,
            checksum,
            is_finite: true,
        }
    }

    /// Fills `numbers` with rows of `row` numbers each.
    pub(super) fn read(
        &mut self,
        encoding: StateEncoding,
        row: usize,
        numbers: &mut [f32],
    ) -> io::Result<()> {
        let rows = (BLOCK / row).max(1);
        let mut bytes = vec![0; rows.min(numbers.len().div_ceil(row)) * encoding.row_bytes(row)];
        for numbers in numbers.chunks_mut(rows * row) {
            let bytes = &mut bytes[..numbers.len().div_ceil(row) * encoding.row_bytes(row)];
            self.source.read_exact(bytes)?;
            self.checksum.update(bytes);
            encoding.decode(bytes, row, numbers);
            self.is_finite &= numbers.iter().all(|x| x.is_finite());
        }
        Ok(())
    }

    /// The checksum of all that was read, the one that is written behind it, and whether all numbers were some.
    pub(super) fn finish(mut self) -> io::Result<(u32, u32, bool)> {
        let mut expected = [0; CHECKSUM_BYTES];
        self.source.read_exact(&mut expected)?;
        let expected = u32::from_le_bytes(expected);
        Ok((self.checksum.finalize(), expected, self.is_finite))
    }
}
