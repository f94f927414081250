//! The tokens of a vocabulary: as the file lists them, and the bytes for which they stand.

use thalweg_gguf::Metadata;

use crate::Error;

/// Tokens in one vocabulary. The largest known ones have some 256 Ki.
const MAX_TOKENS: usize = 1 << 20;

/// Bytes of all tokens together. The largest known vocabularies have some 2 MB, World half a megabyte.
pub(crate) const MAX_VOCABULARY_BYTES: usize = 8 << 20;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

/// A token as the file lists it.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) id: u32,
    /// In the notation of its kind of vocabulary.
    pub(crate) text: &'a [u8],
    pub(crate) ty: TokenType,
}

/// What a token is for, with its number in the file (`llama_token_type` of llama.cpp).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    /// A piece of text.
    Normal = 1,
    /// Stands for text that has no token.
    Unknown = 2,
    /// Steers the model; has no text of its own.
    Control = 3,
    /// A piece of text that is matched before all others.
    UserDefined = 4,
    /// Fills up the vocabulary.
    Unused = 5,
    /// A single byte, in vocabularies made of characters.
    Byte = 6,
}

impl TokenType {
    fn from_number(number: i32) -> Option<Self> {
        use TokenType::*;
        const ALL: [TokenType; 6] = [Normal, Unknown, Control, UserDefined, Unused, Byte];
        ALL.into_iter().find(|&ty| ty as i32 == number)
    }
}

/// Reads the file's list of tokens, in the order of their ids.
pub(crate) fn read_entries(metadata: &Metadata) -> Result<Vec<Entry<'_>>, Error> {
    let texts = metadata.strings(TOKENS)?;
    let types = metadata.i32s(TOKEN_TYPES)?;
    check_count(TOKENS, texts.len(), MAX_TOKENS)?;
    if texts.len() != types.len() {
        return Err(Error::TokenTypeCount {
            tokens: texts.len(),
            types: types.len(),
        });
    }
    let numbered = (0..).zip(texts.zip(types));
    numbered
        .map(|(id, (text, number))| entry(id, text, number))
        .collect()
}

fn entry(id: u32, text: &[u8], number: i32) -> Result<Entry<'_>, Error> {
    let unknown_type = Error::TokenType {
        token: id,
        found: number,
        expected: "a number from 1 to 6",
    };
    let ty = TokenType::from_number(number).ok_or(unknown_type)?;
    Ok(Entry { id, text, ty })
}

/// Checks the length of the array `key`, before anything is allocated for it.
pub(crate) fn check_count(key: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if found > limit {
        Err(Error::TooManyElements { key, found, limit })
    } else {
        Ok(())
    }
}

/// The bytes for which each token stands; none for tokens without text.
pub(crate) struct Vocabulary {
    bytes: Vec<u8>,
    /// Where the bytes of each token end; those of the next begin there.
    ends: Vec<u32>,
}

impl Vocabulary {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Adds the bytes of the next id.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes.len() + bytes.len() > MAX_VOCABULARY_BYTES {
            return Err(Error::VocabularyTooLarge {
                token: self.ends.len() as u32,
            });
        }
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len() as u32);
        Ok(())
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of the token `id`; `None` outside of the vocabulary.
    pub(crate) fn get(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)? as usize;
        let start = if id == 0 {
            0
        } else {
            self.ends[id - 1] as usize
        };
        Some(&self.bytes[start..end])
    }

    /// Every id with its bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.ends.len() as u32).filter_map(|id| Some((id, self.get(id)?)))
    }
}

/// NORMAL tokens with ids from 0.
#[cfg(test)]
pub(crate) fn normal_entries<'a, T: AsRef<[u8]>>(texts: &'a [T]) -> Vec<Entry<'a>> {
    let entry = |(id, text): (u32, &'a T)| Entry {
        id,
        text: text.as_ref(),
        ty: TokenType::Normal,
    };
    (0..).zip(texts).map(entry).collect()
}
