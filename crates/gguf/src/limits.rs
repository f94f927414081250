//! Budgets on what a header may claim. Real files stay far below them; a hostile one is stopped by
//! them.

/// Tensors in one file. The largest models of any family have a few thousand.
pub(crate) const TENSORS: u64 = 65_536;

/// Metadata keys in one file. Real files have fewer than a hundred.
pub(crate) const KEYS: u64 = 16_384;

/// Bytes of all metadata together. The largest vocabularies with their merges take some 20 MB.
pub(crate) const METADATA_BYTES: u64 = 128 << 20;

/// Bytes of one key; the format's own limit.
pub(crate) const KEY_BYTES: u64 = 65_535;

/// Bytes of one tensor name. The format says 64; some converters write longer ones.
pub(crate) const TENSOR_NAME_BYTES: u64 = 256;

/// Arrays within arrays. The format sets no limit, and no known file nests them at all.
pub(crate) const ARRAY_DEPTH: u32 = 4;

/// Dimensions of a tensor; ggml's own limit.
pub(crate) const DIMENSIONS: u32 = 4;

/// The alignment of a file that names none.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;

/// The alignments a file may name: powers of two from the format's multiple of 8 to the largest
/// page of common machines.
pub(crate) const ALIGNMENTS: std::ops::RangeInclusive<u64> = 8..=65_536;
