//! The tokenizer of a model file, of either kind.

use std::fmt;

use thalweg_gguf::Metadata;

use crate::Error;
use crate::bpe::Bpe;
use crate::vocabulary::{self, Vocabulary};
use crate::world::World;

/// Merges in one vocabulary. The largest known ones have some 280,000.
const MAX_MERGES: usize = 1 << 20;

const MODEL: &str = "tokenizer.ggml.model";
const PRE_TOKENIZER: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS_ID: &str = "tokenizer.ggml.bos_token_id";
const EOS_ID: &str = "tokenizer.ggml.eos_token_id";
const EOT_ID: &str = "tokenizer.ggml.eot_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";

/// Turns text into token ids and back, as one model file prescribes.
pub struct Tokenizer {
    algorithm: Algorithm,
    bos_id: Option<u32>,
    add_bos: bool,
    stop_ids: Vec<u32>,
}

enum Algorithm {
    World(Box<World>),
    ByteLevelBpe(Box<Bpe>),
}

/// The kinds of tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenizerKind {
    /// Greedy longest match over bytes (`tokenizer.ggml.model` = "rwkv").
    World,
    /// Byte-level BPE with GPT-2's word rules (`tokenizer.ggml.model` = "gpt2").
    ByteLevelBpe,
}

impl fmt::Display for TokenizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenizerKind::World => "World",
            TokenizerKind::ByteLevelBpe => "byte-level BPE",
        })
    }
}

impl Tokenizer {
    /// Builds the tokenizer described by a file's metadata.
    ///
    /// # Errors
    ///
    /// If the file has a tokenizer of another kind, or its vocabulary, merges or special ids are missing or wrong.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, Error> {
        let algorithm = Algorithm::from_gguf(metadata)?;
        let vocab = algorithm.vocabulary().len();
        let special_id = |key| read_special_id(metadata, key, vocab);
        let bos_id = special_id(BOS_ID)?;
        let mut stop_ids: Vec<u32> = [special_id(EOS_ID)?, special_id(EOT_ID)?]
            .into_iter()
            .flatten()
            .collect();
        stop_ids.dedup();
        let add_bos = metadata.opt_bool(ADD_BOS)?.unwrap_or(false);
        if add_bos && bos_id.is_none() {
            return Err(Error::MissingBos);
        }
        Ok(Self {
            algorithm,
            bos_id,
            add_bos,
            stop_ids,
        })
    }

    /// The token ids of a text. Nothing is added, and the names of control tokens in the text are ordinary text.
    ///
    /// # Errors
    ///
    /// World takes any bytes that its vocabulary covers; byte-level BPE takes UTF-8.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>, Error> {
        match &self.algorithm {
            Algorithm::World(world) => world.encode(text),
            Algorithm::ByteLevelBpe(bpe) => bpe.encode(text),
        }
    }

    /// The bytes of a text, given its token ids. They may end within a character; see [`crate::StreamDecoder`].
    ///
    /// # Errors
    ///
    /// If an id lies outside of the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        for (position, &id) in ids.iter().enumerate() {
            let out_of_range = Error::IdOutOfRange {
                id,
                position,
                vocab: self.vocab_len(),
            };
            text.extend_from_slice(self.token_bytes(id).ok_or(out_of_range)?);
        }
        Ok(text)
    }

    /// The bytes for which a token stands: none for control and unused tokens; `None` outside of the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.algorithm.vocabulary().get(id)
    }

    /// Number of tokens in the vocabulary.
    pub fn vocab_len(&self) -> usize {
        self.algorithm.vocabulary().len()
    }

    /// The ids that end a text or a turn, as the file says; none where it says nothing.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// The id that begins a text, if the file names one.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos_id
    }

    /// Whether the model wants [`bos_id`](Self::bos_id) before every text; there is one then.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// The kind of tokenizer.
    pub fn kind(&self) -> TokenizerKind {
        match self.algorithm {
            Algorithm::World(_) => TokenizerKind::World,
            Algorithm::ByteLevelBpe(_) => TokenizerKind::ByteLevelBpe,
        }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("kind", &self.kind())
            .field("vocab_len", &self.vocab_len())
            .field("bos_id", &self.bos_id)
            .field("add_bos", &self.add_bos)
            .field("stop_ids", &self.stop_ids)
            .finish()
    }
}

impl Algorithm {
    fn from_gguf(metadata: &Metadata) -> Result<Self, Error> {
        match metadata.str(MODEL)? {
            "rwkv" => Ok(Self::World(Box::new(read_world(metadata)?))),
            "gpt2" => Ok(Self::ByteLevelBpe(Box::new(read_bpe(metadata)?))),
            other => Err(Error::UnsupportedModel {
                found: other.to_owned(),
            }),
        }
    }

    fn vocabulary(&self) -> &Vocabulary {
        match self {
            Self::World(world) => world.vocabulary(),
            Self::ByteLevelBpe(bpe) => bpe.vocabulary(),
        }
    }
}

fn read_world(metadata: &Metadata) -> Result<World, Error> {
    World::new(&vocabulary::read_entries(metadata)?)
}

fn read_bpe(metadata: &Metadata) -> Result<Bpe, Error> {
    match metadata.opt_str(PRE_TOKENIZER)? {
        None | Some("gpt-2" | "default") => {}
        Some(other) => {
            return Err(Error::UnsupportedPreTokenizer {
                found: other.to_owned(),
            });
        }
    }
    let merges = metadata.strings(MERGES)?;
    vocabulary::check_count(MERGES, merges.len(), MAX_MERGES)?;
    Bpe::new(&vocabulary::read_entries(metadata)?, merges)
}

fn read_special_id(
    metadata: &Metadata,
    key: &'static str,
    vocab: usize,
) -> Result<Option<u32>, Error> {
    match metadata.opt_u32(key)? {
        Some(found) if found as usize >= vocab => {
            Err(Error::SpecialIdOutOfRange { key, found, vocab })
        }
        id => Ok(id),
    }
}
