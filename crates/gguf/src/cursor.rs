//! A reading position in a file's bytes: nothing is taken that is not there, and every complaint
//! knows its place.

use std::fmt::Arguments;

use crate::{Error, Fault, source::Source};

/// Reads little-endian items front to back. The `item` arguments name what is read; they are
/// formatted only in errors.
pub(crate) struct Cursor<'a> {
    source: &'a Source,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a Source) -> Cursor<'a> {
        Cursor { source, at: 0 }
    }

    /// Position in bytes from the start of the file.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Bytes between here and the end of the file.
    pub(crate) fn left(&self) -> u64 {
        self.source.len().saturating_sub(self.at) as u64
    }

    /// All bytes between here and the end of the file.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.source[self.at..]
    }

    /// An error about the item at `offset`.
    pub(crate) fn fault_at(&self, offset: usize, item: Arguments<'_>, fault: Fault) -> Error {
        Error::Malformed {
            path: self.source.path.clone(),
            offset: offset as u64,
            item: item.to_string(),
            fault,
        }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: u64, item: Arguments<'_>) -> Result<&'a [u8], Error> {
        let (start, left) = (self.at, self.left());
        if count > left {
            let fault = Fault::Truncated {
                needed: count,
                left,
            };
            return Err(self.fault_at(start, item, fault));
        }
        self.at += count as usize; // not beyond the end of a slice, hence a usize
        Ok(&self.source[start..self.at])
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, item: Arguments<'_>) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64, item)?);
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self, item: Arguments<'_>) -> Result<u32, Error> {
        self.array(item).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, item: Arguments<'_>) -> Result<u64, Error> {
        self.array(item).map(u64::from_le_bytes)
    }

    /// A count of things of which each takes `each` bytes at the least: within `limit`, and within
    /// the rest of the file.
    pub(crate) fn count(
        &mut self,
        limit: u64,
        each: u64,
        item: Arguments<'_>,
    ) -> Result<u64, Error> {
        let at = self.at;
        let found = self.u64(item)?;
        if found > limit {
            return Err(self.fault_at(at, item, Fault::OverBudget { found, limit }));
        }
        let needed = found.saturating_mul(each);
        let left = self.left();
        if needed > left {
            return Err(self.fault_at(at, item, Fault::Truncated { needed, left }));
        }
        Ok(found)
    }

    /// A length-prefixed name: UTF-8 text that can be printed, of at most `limit` bytes.
    pub(crate) fn name(&mut self, limit: u64, item: Arguments<'_>) -> Result<&'a str, Error> {
        let at = self.at;
        let length = self.count(limit, 1, item)?;
        let text = std::str::from_utf8(self.take(length, item)?).map_err(|error| {
            let valid = error.valid_up_to();
            self.fault_at(at + 8, item, Fault::NotUtf8 { valid })
        })?;
        let unprintable = |found| self.fault_at(at, item, Fault::Unprintable { found });
        if text.is_empty() {
            return Err(unprintable("an empty name"));
        }
        if text.chars().any(char::is_control) {
            return Err(unprintable("control characters"));
        }
        Ok(text)
    }
}
