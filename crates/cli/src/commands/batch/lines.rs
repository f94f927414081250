//! Lines of a file that may be longer than memory.

use std::io::{self, BufRead, Read};

/// The lines of a reader, one at a time.
pub(super) struct Lines<R> {
    reader: R,
    longest: usize,
    number: u64,
}

/// A line as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawLine {
    /// Counted from 1.
    pub(super) number: u64,
    /// Without the line break; nothing if there are more than may be.
    pub(super) content: Option<Vec<u8>>,
    /// Bytes it takes in the file, with the line break.
    pub(super) length: u64,
    /// Whether a line break ends it.
    pub(super) is_ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// Lines of more than `longest` bytes are passed over instead of being held.
    pub(super) fn new(reader: R, longest: usize) -> Self {
        Self {
            reader,
            longest,
            number: 0,
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<RawLine>> {
        let mut bytes = Vec::new();
        let most = self.longest as u64 + 1;
        let mut length = self
            .reader
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut bytes)? as u64;
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut is_ended = bytes.pop_if(|byte| *byte == b'\n').is_some();
        let is_too_long = bytes.len() > self.longest;
        if is_too_long {
            length += self.reader.skip_until(b'\n')? as u64;
            is_ended = true; // or the file is, which matters to nobody
        }
        Ok(Some(RawLine {
            number: self.number,
            content: (!is_too_long).then_some(bytes),
            length,
            is_ended,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_long_ones_passed_over() {
        let mut lines = Lines::new(&b"abcd\n\nabcde\nabcdefgh\nx\r\ny"[..], 4);
        let mut next = || {
            let line = lines.next().unwrap()?;
            let content = line.content.map(|bytes| String::from_utf8(bytes).unwrap());
            Some((line.number, content, line.length, line.is_ended))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(next(), Some((1, text("abcd"), 5, true)));
        assert_eq!(next(), Some((2, text(""), 1, true)));
        assert_eq!(next(), Some((3, None, 6, true)));
        assert_eq!(next(), Some((4, None, 9, true)));
        assert_eq!(next(), Some((5, text("x\r"), 3, true)));
        assert_eq!(next(), Some((6, text("y"), 1, false)));
        assert_eq!(next(), None);
    }
}
