//! The beginning of a state file: what it holds and for which model.

use thalweg_rwkv::Hyperparameters;

use super::rows::StateEncoding;
use super::{Origin, StateFault};

const MAGIC: [u8; 8] = *b"THALWEGS";
const VERSION: u32 = 1;

/// Bytes before the list of tokens.
pub(super) const FIXED_BYTES: usize = 60;
/// Bytes of a checksum.
pub(super) const CHECKSUM_BYTES: usize = 4;
/// Most tokens that a file may list: those of a long book.
pub(crate) const MOST_TOKENS: usize = 1 << 20;

/// Everything that the sizes of a file follow from, little-endian in this order after the magic and the version:
///
/// | bytes | field |
/// |---|---|
/// | 0 | magic, `THALWEGS` |
/// | 8 | version, u32 |
/// | 12 | encoding, u32: 0 f32, 1 f16, 2 int8 |
/// | 16 | hash of the model, u64 |
/// | 24 | hash of adapters and arithmetic, u64 |
/// | 32 | layers, width, heads, head size, vocabulary: u32 each |
/// | 52 | tokens listed, u32 |
/// | 56 | whether there are logits, u32: 0 or 1 |
/// | 60 | the tokens, u32 each |
/// | | CRC-32 of all before |
/// | | both shifts `[layers, width]` and the recurrence `[layers, heads, value, key]`, in rows of the head size |
/// | | the logits, f32 each |
/// | | CRC-32 of all before |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) encoding: StateEncoding,
    pub(super) origin: Origin,
    pub(super) shape: Shape,
    pub(super) tokens: usize,
    pub(super) has_logits: bool,
}

/// The numbers of a model that its states' sizes follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape([u32; 5]);

impl Shape {
    const NAMES: [&str; 5] = ["layers", "width", "heads", "head size", "vocabulary"];

    pub(super) fn of(hp: &Hyperparameters) -> Self {
        let sizes = [hp.layers, hp.width, hp.heads, hp.head_size, hp.vocab];
        Self(sizes.map(|size| u32::try_from(size).unwrap_or(u32::MAX)))
    }
}

impl Header {
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let Self {
            encoding,
            origin,
            shape,
            tokens,
            has_logits,
        } = *self;
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(encoding.code().to_le_bytes());
        bytes.extend(origin.model.to_le_bytes());
        bytes.extend(origin.adapter.to_le_bytes());
        shape.0.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        bytes.extend((tokens as u32).to_le_bytes());
        bytes.extend(u32::from(has_logits).to_le_bytes());
    }

    /// Reads the first [`FIXED_BYTES`]; says nothing yet about whether they are undamaged.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, StateFault> {
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(StateFault::NotAState);
        }
        let Some(bytes) = bytes.first_chunk::<FIXED_BYTES>() else {
            return Err(StateFault::Length {
                found: bytes.len() as u64,
                expected: FIXED_BYTES as u64,
            });
        };
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if u32_at(8) != VERSION {
            return Err(StateFault::Version {
                found: u32_at(8),
                expected: VERSION,
            });
        }
        let unknown = |field, found| StateFault::Field { field, found };
        let encoding =
            StateEncoding::from_code(u32_at(12)).ok_or(unknown("encoding", u32_at(12)))?;
        let tokens = u32_at(52);
        if tokens as usize > MOST_TOKENS {
            return Err(unknown("number of tokens", tokens));
        }
        let has_logits = match u32_at(56) {
            0 => false,
            1 => true,
            found => return Err(unknown("mark of logits", found)),
        };
        Ok(Self {
            encoding,
            origin: Origin {
                model: u64_at(16),
                adapter: u64_at(24),
            },
            shape: Shape([32, 36, 40, 44, 48].map(u32_at)),
            tokens: tokens as usize,
            has_logits,
        })
    }

    /// Whether a model of such an origin and shape can go on from the file.
    pub(super) fn check(&self, origin: Origin, shape: Shape) -> Result<(), StateFault> {
        let hashes = [
            ("model", self.origin.model, origin.model),
            ("adapter or arithmetic", self.origin.adapter, origin.adapter),
        ];
        for (what, found, expected) in hashes {
            if found != expected {
                return Err(StateFault::Origin {
                    what,
                    found,
                    expected,
                });
            }
        }
        for (index, what) in Shape::NAMES.into_iter().enumerate() {
            let (found, expected) = (self.shape.0[index], shape.0[index]);
            if found != expected {
                return Err(StateFault::Shape {
                    what,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }

    /// Bytes of the header, its tokens and its checksum.
    pub(super) fn bytes(&self) -> usize {
        FIXED_BYTES + 4 * self.tokens + CHECKSUM_BYTES
    }

    /// Bytes of the file for a model whose shape was checked.
    pub(super) fn file_bytes(&self, hp: &Hyperparameters) -> u64 {
        let rows = (hp.layers * hp.heads) as u64 * (2 + hp.head_size as u64);
        let state = rows * self.encoding.row_bytes(hp.head_size) as u64;
        let logits = if self.has_logits {
            4 * hp.vocab as u64
        } else {
            0
        };
        (self.bytes() + CHECKSUM_BYTES) as u64 + state + logits
    }
}
