//! Everything that can go wrong, each in one sentence: thing, place, found, expected, next step.

use std::{io, path::PathBuf};

use crate::{TensorType, limits, tensor_type::SUPPORTED};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path cannot be opened or read.
    #[error("{}: cannot be read: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The path leads to something other than a regular file.
    #[error(
        "{}: is {found}, expected a GGUF file; give the path of the .gguf file itself",
        path.display()
    )]
    NotAFile {
        /// The path as it was given.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// The file's bytes are not a well-formed GGUF file.
    #[error("{}: byte {offset}, {item}: {fault}", path.display())]
    Malformed {
        /// The file, or `<memory>`.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// Which part of the file, with the key or tensor it belongs to.
        item: String,
        /// What is wrong there.
        fault: Fault,
    },
    /// A metadata key that is needed is absent.
    #[error(
        "{}: metadata key {key} is missing, expected {expected}; \
         use a file converted for this model family",
        path.display()
    )]
    MissingKey {
        /// The file, or `<memory>`.
        path: PathBuf,
        /// The key asked for.
        key: String,
        /// What its value should have been.
        expected: &'static str,
    },
    /// A metadata value has another type, or a value that does not fit.
    #[error(
        "{}: metadata key {key} holds {found}, expected {expected}; convert the model again",
        path.display()
    )]
    WrongValue {
        /// The file, or `<memory>`.
        path: PathBuf,
        /// The key asked for.
        key: String,
        /// What the file holds.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// A tensor's type is known but cannot be decoded.
    #[error(
        "{subject} has the type {ty} (number {}), expected one of {SUPPORTED}; \
         quantise the model again to one of these",
        ty.number()
    )]
    UnsupportedType {
        /// Whose type it is: a tensor's name where it is known.
        subject: String,
        /// The type.
        ty: TensorType,
    },
    /// A slice handed to [`crate::blocks`] has the wrong length.
    #[error(
        "found {bytes} bytes of {ty} for {elements} elements, \
         expected whole blocks of {} elements in {} bytes; pass matching slices",
        ty.block_len(),
        ty.block_bytes()
    )]
    BlockMismatch {
        /// The type of the blocks.
        ty: TensorType,
        /// Bytes on the encoded side.
        bytes: usize,
        /// Elements on the `f32` side.
        elements: usize,
    },
}

impl Error {
    /// Whether the path itself could not be read, as opposed to a file with bad contents.
    pub fn is_io(&self) -> bool {
        matches!(self, Error::Unreadable { .. } | Error::NotAFile { .. })
    }
}

/// What is wrong at one place of a malformed file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file has no bytes.
    #[error("the file is empty, expected a GGUF file; download or copy it again")]
    Empty,
    /// The file is of another format.
    #[error("found {found}, expected the magic bytes \"GGUF\"; {advice}")]
    Magic {
        /// The format found, by name where it is known.
        found: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The file is GGUF, in a version that is not read.
    #[error("found GGUF version {found}, expected version 2 or 3; {advice}")]
    Version {
        /// The version found.
        found: u32,
        /// What to do about it.
        advice: &'static str,
    },
    /// The file is GGUF in big-endian byte order.
    #[error(
        "found a big-endian (byte-swapped) file, expected little-endian GGUF; \
         convert it with gguf_convert_endian.py"
    )]
    BigEndian,
    /// The file ends before what its header announces.
    #[error(
        "the file is truncated or damaged: {needed} bytes expected here, {left} left; \
         download or copy the file again"
    )]
    Truncated {
        /// Bytes that the item needs at the least.
        needed: u64,
        /// Bytes left in the file.
        left: u64,
    },
    /// A number exceeds what any honest file needs.
    #[error(
        "found {found}, expected at most {limit}; \
         the file is damaged or hostile: get it from its source again"
    )]
    OverBudget {
        /// The number in the file.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// A name or key that cannot be shown or asked for.
    #[error("found {found}, expected printable text; convert the model again")]
    Unprintable {
        /// What the name is or contains.
        found: &'static str,
    },
    /// A name or key that is not UTF-8.
    #[error(
        "found bytes that are not UTF-8 after {valid} valid bytes, expected UTF-8 text; \
         convert the model again"
    )]
    NotUtf8 {
        /// Length of the part before the first invalid byte.
        valid: usize,
    },
    /// A metadata value type without meaning.
    #[error(
        "found type number {found}, expected a metadata type from 0 (u8) to 12 (f64); \
         convert the model again"
    )]
    UnknownValueType {
        /// The number in the file.
        found: u32,
    },
    /// A truth value other than 0 and 1.
    #[error("found the byte {found}, expected 0 or 1 for a bool; convert the model again")]
    NotBool {
        /// The byte in the file.
        found: u8,
    },
    /// A key or tensor name that was there before.
    #[error("found {name:.80} a second time, expected every name once; convert the model again")]
    Duplicate {
        /// The repeated name.
        name: String,
    },
    /// An alignment that no writer may choose.
    #[error(
        "found {found}, expected a u32 power of two from {} to {}; convert the model again",
        limits::ALIGNMENTS.start(),
        limits::ALIGNMENTS.end()
    )]
    Alignment {
        /// The value in the file.
        found: String,
    },
    /// A tensor with no or too many dimensions.
    #[error(
        "found {found} dimensions, expected 1 to {}; convert the model again",
        limits::DIMENSIONS
    )]
    Dimensions {
        /// The number in the file.
        found: u32,
    },
    /// A tensor shape that cannot be.
    #[error("found the shape {shape:?}, expected {expected}; convert the model again")]
    Shape {
        /// Shape as in the file, fastest dimension first.
        shape: Vec<u64>,
        /// The rule that it breaks.
        expected: String,
    },
    /// A tensor type without meaning, or one that ggml has removed.
    #[error("found {found}, expected a current ggml type; {advice}")]
    UnknownTensorType {
        /// The number, and the name where it had one.
        found: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// Tensor data that does not begin at a multiple of the alignment.
    #[error(
        "found the offset {found}, expected a multiple of the alignment {alignment}; \
         convert the model again"
    )]
    Unaligned {
        /// Offset in the data section, in bytes.
        found: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// Tensor data outside of the file.
    #[error(
        "data of {bytes} bytes at offset {offset} of the data section, \
         expected to end within its {section} bytes; \
         the file is truncated or damaged: download or copy it again"
    )]
    OutOfFile {
        /// Offset in the data section, in bytes.
        offset: u64,
        /// Length of the data in bytes.
        bytes: u64,
        /// Length of the data section in bytes.
        section: u64,
    },
    /// Two tensors that share bytes.
    #[error(
        "its data overlaps that of {other:.80}, expected separate data; convert the model again"
    )]
    Overlap {
        /// The tensor that lies before it.
        other: String,
    },
    /// The metadata decoder refused what the checks had passed.
    #[error(
        "the metadata decoder reports {reason}, \
         expected a value of the type that the file announces; \
         convert the model again"
    )]
    Undecodable {
        /// What it said.
        reason: String,
    },
}
