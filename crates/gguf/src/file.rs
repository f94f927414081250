//! An open GGUF file: its metadata, its tensors, their bytes.

use std::{path::Path, sync::Arc};

use crate::{Error, Metadata, TensorInfo, blocks, header, source::Source};

/// An open file whose header has been checked. Its bytes are mapped or owned, never copied.
#[derive(Debug)]
pub struct GgufFile {
    source: Arc<Source>,
    version: u32,
    alignment: u64,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Indices into `tensors` in the order of their names.
    by_name: Vec<u32>,
}

/// A tensor of an open file: what it is, and its encoded bytes.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Name, type and shape.
    pub info: &'a TensorInfo,
    /// Its elements in their file encoding.
    pub data: &'a [u8],
}

impl GgufFile {
    /// Maps the file at `path` and checks its header.
    ///
    /// # Errors
    ///
    /// If the path cannot be read ([`Error::is_io`]), or its contents are not a well-formed GGUF
    /// file of version 2 or 3 in little-endian byte order. A file that another program changes
    /// while it is open is the one thing that is not defended against.
    pub fn open(path: &Path) -> Result<GgufFile, Error> {
        GgufFile::new(Source::open(path)?)
    }

    /// Checks a file that is in memory; errors call it `<memory>`.
    ///
    /// # Errors
    ///
    /// If the bytes are not a well-formed GGUF file.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<GgufFile, Error> {
        GgufFile::new(Source::owned(bytes))
    }

    /// Checks a file that is part of the program; errors call it `<embedded>`.
    ///
    /// # Errors
    ///
    /// If the bytes are not a well-formed GGUF file.
    pub fn from_static(bytes: &'static [u8]) -> Result<GgufFile, Error> {
        GgufFile::new(Source::embedded(bytes))
    }

    fn new(source: Source) -> Result<GgufFile, Error> {
        let source = Arc::new(source);
        let header = header::walk(&source)?;
        let metadata = Metadata::new(Arc::clone(&source), header.entries)?;
        let (version, alignment, tensors) = (header.version, header.alignment, header.tensors);
        let mut by_name: Vec<u32> = (0..tensors.len() as u32).collect();
        by_name.sort_by(|&a, &b| tensors[a as usize].name.cmp(&tensors[b as usize].name));
        Ok(GgufFile {
            source,
            version,
            alignment,
            metadata,
            tensors,
            by_name,
        })
    }

    /// The path as it was given; `<memory>` or `<embedded>` for files that have none.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Length of the file in bytes.
    pub fn bytes_len(&self) -> u64 {
        self.source.len() as u64
    }

    /// GGUF version: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Every tensor's data begins at a multiple of this many bytes from the start of the data
    /// section.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// The key-value pairs.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensor directory, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`, if there is one.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let place = self
            .by_name
            .binary_search_by(|&index| self.tensors[index as usize].name.as_str().cmp(name));
        let info = &self.tensors[self.by_name[place.ok()?] as usize];
        Some(Tensor {
            info,
            data: self.data(info),
        })
    }

    /// The encoded elements of one of this file's [`tensors`](Self::tensors), without a search for
    /// its name. Nothing, if `info` describes a tensor that does not fit into this file.
    pub fn data(&self, info: &TensorInfo) -> &[u8] {
        let end = info.offset.saturating_add(info.bytes);
        // The header walk has compared every extent with the file's length, which is a usize.
        self.source
            .get(info.offset as usize..end as usize)
            .unwrap_or_default()
    }
}

impl Tensor<'_> {
    /// All elements as `f32`, in the order of the file.
    ///
    /// # Errors
    ///
    /// If the type cannot be decoded; the message names the tensor.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        if !self.info.ty.is_supported() {
            let subject = format!("tensor {}", self.info.name);
            return Err(Error::UnsupportedType {
                subject,
                ty: self.info.ty,
            });
        }
        // A block holds at most 256 elements, so that the data's own length bounds the allocation.
        let mut out = vec![0.0; self.info.elements() as usize];
        blocks::decode(self.info.ty, self.data, &mut out)?;
        Ok(out)
    }
}
