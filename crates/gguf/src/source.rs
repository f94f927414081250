//! Where a file's bytes live: a memory map, an owned buffer, or the program's own image.

use std::{
    fs::{self, File},
    ops::Deref,
    path::{Path, PathBuf},
};

use memmap2::{Mmap, MmapOptions};

use crate::Error;

/// The bytes of one GGUF file together with the name by which errors call it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
    Static(&'static [u8]),
}

impl Source {
    /// Maps a regular file. Its length is taken once, here, and never looked at again.
    pub(crate) fn open(path: &Path) -> Result<Source, Error> {
        let unreadable = |source| Error::Unreadable {
            path: path.to_owned(),
            source,
        };
        // Looked at before opening, because opening a pipe would wait for its writer.
        let kind = fs::metadata(path).map_err(unreadable)?.file_type();
        if !kind.is_file() {
            let found = if kind.is_dir() {
                "a directory"
            } else {
                "a device, pipe or socket"
            };
            return Err(Error::NotAFile {
                path: path.to_owned(),
                found,
            });
        }
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        if length == 0 {
            return Ok(Source {
                path: path.to_owned(),
                bytes: Bytes::Static(&[]),
            });
        }
        let length = usize::try_from(length).map_err(|_| {
            unreadable(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                format!("{length} bytes do not fit into this machine's address space"),
            ))
        })?;
        // SAFETY: the map is read-only and private to this value. What is not defended against is
        // another process that changes or shortens the file while it is mapped: no file format
        // reader on a map can be.
        let map = unsafe { MmapOptions::new().len(length).map(&file) }.map_err(unreadable)?;
        Ok(Source {
            path: path.to_owned(),
            bytes: Bytes::Mapped(map),
        })
    }

    pub(crate) fn owned(bytes: Vec<u8>) -> Source {
        Source {
            path: PathBuf::from("<memory>"),
            bytes: Bytes::Owned(bytes),
        }
    }

    pub(crate) fn embedded(bytes: &'static [u8]) -> Source {
        Source {
            path: PathBuf::from("<embedded>"),
            bytes: Bytes::Static(bytes),
        }
    }
}

impl Deref for Source {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
            Bytes::Static(bytes) => bytes,
        }
    }
}
