//! States in files.

mod body;
mod header;
#[cfg(not(target_arch = "wasm32"))]
mod on_disk;
mod rows;

use std::io;

use thalweg_rwkv::{Hyperparameters, State};

use body::Body;
pub(crate) use header::MOST_TOKENS;
use header::{CHECKSUM_BYTES, FIXED_BYTES, Header, Shape};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use on_disk::Peeked;
pub use rows::StateEncoding;

use crate::Snapshot;

/// Whose state it is. One of another origin would give nonsense, quietly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The model, by [`thalweg_rwkv::model_hash`].
    pub model: u64,
    /// What besides the model's weights decides the numbers, by a hash of its own: adapters, the arithmetic of a device. 0
    /// for none.
    pub adapter: u64,
}

/// What is wrong with a state file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateFault {
    /// Another kind of file.
    #[error(
        "it is no state file, expected THALWEGS at its beginning; name a file that was saved as a state"
    )]
    NotAState,
    /// Written by another version of this program.
    #[error(
        "it is of version {found}, expected {expected}; save the state again with this version"
    )]
    Version {
        /// The version found.
        found: u32,
        /// The version that is read.
        expected: u32,
    },
    /// A number of the header that nothing was written with.
    #[error("its {field} is {found}, which no state file has; it is damaged, save the state again")]
    Field {
        /// Which number.
        field: &'static str,
        /// What was found.
        found: u32,
    },
    /// The state of another model, or of the same with another adapter.
    #[error(
        "it is a state of another {what} ({found:016x}), expected {expected:016x}; run what it was saved with, or read the text again"
    )]
    Origin {
        /// What differs.
        what: &'static str,
        /// The hash found.
        found: u64,
        /// The hash of what runs.
        expected: u64,
    },
    /// A state of another shape.
    #[error("its {what} is {found}, expected {expected}; run the model it was saved with")]
    Shape {
        /// Which number.
        what: &'static str,
        /// What was found.
        found: u32,
        /// What the model has.
        expected: u32,
    },
    /// Cut off, or with something behind.
    #[error(
        "it is {found} bytes long, expected {expected}; it was cut off or changed, save the state again"
    )]
    Length {
        /// Bytes found.
        found: u64,
        /// Bytes that such a file has.
        expected: u64,
    },
    /// Changed since it was written.
    #[error(
        "the checksum of its {part} is {found:08x}, expected {expected:08x}; it is damaged, save the state again"
    )]
    Checksum {
        /// Which part.
        part: &'static str,
        /// The checksum of what is there.
        found: u32,
        /// The checksum that was written.
        expected: u32,
    },
    /// A number that is none, or that the encoding does not hold.
    #[error(
        "it would hold a number that is infinite or none; save it as f32, or do not go on from this state"
    )]
    NonFinite,
    /// More tokens than a file lists.
    #[error("it would list {found} tokens, expected at most {most}; save it without its tokens")]
    TooManyTokens {
        /// Tokens given.
        found: usize,
        /// Tokens allowed.
        most: usize,
    },
}

/// What a state file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedState {
    /// The tokens after which the state stood, if they were saved.
    pub tokens: Vec<u32>,
    /// The state.
    pub snapshot: Snapshot,
}

/// States of one model as bytes. What is read is refused whole unless every byte of it is as it was written, and it is a
/// state of this very model.
#[derive(Debug, Clone)]
pub struct StateFormat {
    origin: Origin,
    hp: Hyperparameters,
    encoding: StateEncoding,
}

impl StateFormat {
    /// The format for states of a model. Files of any encoding are read, the given one is written.
    pub fn new(origin: Origin, hp: Hyperparameters, encoding: StateEncoding) -> Self {
        Self {
            origin,
            hp,
            encoding,
        }
    }

    /// Whose states these are.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The bytes of a state, and of the tokens after which it stands (none if that does not matter).
    ///
    /// # Errors
    ///
    /// A state of another shape, with numbers that the encoding cannot hold, or too many tokens.
    pub fn encode(&self, tokens: &[u32], snapshot: &Snapshot) -> Result<Vec<u8>, crate::Error> {
        snapshot.check(&self.hp)?;
        Ok(self.encode_checked(tokens, snapshot)?)
    }

    fn encode_checked(&self, tokens: &[u32], snapshot: &Snapshot) -> Result<Vec<u8>, StateFault> {
        if tokens.len() > MOST_TOKENS {
            return Err(StateFault::TooManyTokens {
                found: tokens.len(),
                most: MOST_TOKENS,
            });
        }
        self.check_finite(snapshot)?;
        let header = Header {
            encoding: self.encoding,
            origin: self.origin,
            shape: Shape::of(&self.hp),
            tokens: tokens.len(),
            has_logits: snapshot.logits.is_some(),
        };
        let mut bytes = Vec::with_capacity(header.file_bytes(&self.hp) as usize);
        header.write(&mut bytes);
        tokens.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        push_checksum(&mut bytes);
        for part in parts(&snapshot.state) {
            self.encoding.encode(part, self.hp.head_size, &mut bytes);
        }
        if let Some(logits) = &snapshot.logits {
            StateEncoding::F32.encode(logits, 1, &mut bytes);
        }
        push_checksum(&mut bytes);
        Ok(bytes)
    }

    /// Whether what is written can be read again as numbers.
    fn check_finite(&self, snapshot: &Snapshot) -> Result<(), StateFault> {
        let most = match self.encoding {
            StateEncoding::F16 => half::f16::MAX.to_f32(),
            StateEncoding::Int8 => f32::MAX / 2.0, // 127 times the rounded scale stays finite
            StateEncoding::F32 => f32::MAX,
        };
        let logits = snapshot.logits.as_deref().unwrap_or_default();
        let holds = parts(&snapshot.state)
            .into_iter()
            .flatten()
            .all(|x| x.abs() <= most);
        match holds && logits.iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => Err(StateFault::NonFinite),
        }
    }

    /// The state in `bytes`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with them.
    pub fn decode(&self, bytes: &[u8]) -> Result<SavedState, StateFault> {
        let header = self.header(bytes)?;
        let expected = header.file_bytes(&self.hp);
        check_length(bytes.len() as u64, expected)?;
        let (beginning, body) = bytes.split_at(header.bytes());
        let found = bytes.len() as u64;
        self.decode_body(&header, beginning, body)
            .map_err(|fault| match fault {
                ReadFault::State(fault) => fault,
                ReadFault::Io(_) => StateFault::Length { found, expected },
            })
    }

    /// The state after a header and its tokens, which lie in `beginning`, from a source of the right length.
    fn decode_body(
        &self,
        header: &Header,
        beginning: &[u8],
        source: impl io::Read,
    ) -> Result<SavedState, ReadFault> {
        let tokens = self.tokens(header, beginning)?;
        let mut state = State::zeros(&self.hp);
        let mut logits = vec![0.0; if header.has_logits { self.hp.vocab } else { 0 }];
        let row = self.hp.head_size;
        let mut body = Body::new(source, beginning);
        for part in [&mut state.att_shift, &mut state.ffn_shift, &mut state.wkv] {
            body.read(header.encoding, row, part)?;
        }
        body.read(StateEncoding::F32, 1, &mut logits)?;
        let (found, expected, is_finite) = body.finish()?;
        check("contents", found, expected)?;
        if !is_finite {
            return Err(StateFault::NonFinite.into());
        }
        let logits = header.has_logits.then_some(logits);
        Ok(SavedState {
            tokens,
            snapshot: Snapshot { state, logits },
        })
    }

    /// The checked header at the start of `bytes`, which may end with it.
    fn header(&self, bytes: &[u8]) -> Result<Header, StateFault> {
        let header = Header::read(bytes)?;
        header.check(self.origin, Shape::of(&self.hp))?;
        Ok(header)
    }

    /// The tokens listed after a header, at the end of `bytes`.
    fn tokens(&self, header: &Header, bytes: &[u8]) -> Result<Vec<u32>, StateFault> {
        check_length(bytes.len() as u64, header.bytes() as u64)?;
        let beginning = split_checksum("header", bytes)?;
        let tokens = beginning[FIXED_BYTES..].as_chunks().0.iter();
        Ok(tokens.map(|x| u32::from_le_bytes(*x)).collect())
    }
}

/// Why a state could not be read.
enum ReadFault {
    State(StateFault),
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "there are no files to tell it of")
    )]
    Io(io::Error),
}

impl From<StateFault> for ReadFault {
    fn from(fault: StateFault) -> Self {
        Self::State(fault)
    }
}

impl From<io::Error> for ReadFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn parts(state: &State) -> [&[f32]; 3] {
    [&state.att_shift, &state.ffn_shift, &state.wkv]
}

fn push_checksum(bytes: &mut Vec<u8>) {
    bytes.extend(crc32fast::hash(bytes).to_le_bytes());
}

/// What comes before the checksum at the end, if that is right.
fn split_checksum<'b>(part: &'static str, bytes: &'b [u8]) -> Result<&'b [u8], StateFault> {
    let Some((before, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(StateFault::Length {
            found: bytes.len() as u64,
            expected: CHECKSUM_BYTES as u64,
        });
    };
    let (found, expected) = (crc32fast::hash(before), u32::from_le_bytes(*checksum));
    check(part, found, expected).map(|()| before)
}

/// Refuses a part whose checksum is not the one that was written.
fn check(part: &'static str, found: u32, expected: u32) -> Result<(), StateFault> {
    match found == expected {
        true => Ok(()),
        false => Err(StateFault::Checksum {
            part,
            found,
            expected,
        }),
    }
}

fn check_length(found: u64, expected: u64) -> Result<(), StateFault> {
    match found == expected {
        true => Ok(()),
        false => Err(StateFault::Length { found, expected }),
    }
}
