//! Byte-level BPE: text is split into words by GPT-2's rules, and each word's bytes are merged pair by pair.
//!
//! The vocabulary is written in the byte-level alphabet ([`crate::byte_alphabet`]). Words are found and merged by the
//! `tokenizers` library; everything that it takes for granted about a vocabulary is checked before.

use std::sync::LazyLock;

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::utils::SysRegex;

use crate::Error;
use crate::byte_alphabet::{byte_of, char_of};
use crate::error::shown;
use crate::vocabulary::{Entry, TokenType, Vocabulary};

/// How GPT-2 splits text into words (`pat` in its encoder.py).
static WORDS: LazyLock<Result<SysRegex, String>> = LazyLock::new(|| {
    let pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    SysRegex::new(pattern).map_err(|error| error.to_string())
});

/// A byte-level BPE tokenizer.
pub(crate) struct Bpe {
    vocabulary: Vocabulary,
    words: &'static SysRegex,
    model: BPE,
    /// Whether a byte has a token of its own, from which merging starts.
    has_token: [bool; 256],
}

impl Bpe {
    /// `merges` are the pairs of tokens to merge, the most urgent first, each as `left right`.
    pub(crate) fn new<'a>(
        entries: &[Entry<'_>],
        merges: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, Error> {
        let mut vocabulary = Vocabulary::new();
        let mut ids = Vocab::new();
        for entry in entries {
            match entry.ty {
                TokenType::Normal => {
                    let (text, bytes) = read_token(entry)?;
                    vocabulary.push(&bytes)?;
                    insert(&mut ids, text, entry.id)?;
                }
                TokenType::Unknown | TokenType::Control | TokenType::Unused => {
                    vocabulary.push(&[])?
                }
                TokenType::UserDefined | TokenType::Byte => return Err(unexpected_type(entry)),
            }
        }
        let merges = merges
            .enumerate()
            .map(|(merge, text)| read_merge(merge, text, &ids));
        let merges = merges.collect::<Result<Vec<_>, Error>>()?;
        let has_token = std::array::from_fn(|byte| {
            ids.contains_key(char_of(byte as u8).encode_utf8(&mut [0; 2]) as &str)
        });
        // The library's word cache would outlive the tokenizer, so there is none.
        let builder = BPE::builder()
            .vocab_and_merges(ids, merges)
            .cache_capacity(0);
        Ok(Self {
            vocabulary,
            words: WORDS.as_ref().map_err(from_library)?,
            model: builder.build().map_err(from_library)?,
            has_token,
        })
    }

    /// The bytes of each token.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tokens of a text, which must be UTF-8.
    pub(crate) fn encode(&self, text: &[u8]) -> Result<Vec<u32>, Error> {
        let text = std::str::from_utf8(text).map_err(|error| Error::NotUtf8 {
            byte: text[error.valid_up_to()],
            offset: error.valid_up_to(),
        })?;
        self.check_bytes(text)?;
        let mut ids = Vec::new();
        let mut word = String::new();
        let mut end = 0;
        for range in self.words.find_iter(text) {
            word.clear();
            word.extend(text[range.0..range.1].bytes().map(char_of));
            let tokens = self.model.tokenize(&word).map_err(from_library)?;
            ids.extend(tokens.into_iter().map(|token| token.id));
            end = range.1;
        }
        // The words cover every text. The library ends the list early, silently, where its matcher hits a limit.
        if end < text.len() {
            Err(Error::Unsplittable { offset: end })
        } else {
            Ok(ids)
        }
    }

    /// The library drops what has no token; this is an error instead.
    fn check_bytes(&self, text: &str) -> Result<(), Error> {
        match text
            .bytes()
            .position(|byte| !self.has_token[usize::from(byte)])
        {
            Some(offset) => Err(Error::ByteWithoutToken {
                byte: text.as_bytes()[offset],
                offset,
            }),
            None => Ok(()),
        }
    }
}

/// A token's text in the byte-level alphabet, and the bytes for which it stands.
fn read_token<'a>(entry: &Entry<'a>) -> Result<(&'a str, Vec<u8>), Error> {
    if entry.text.is_empty() {
        return Err(Error::EmptyToken { token: entry.id });
    }
    std::str::from_utf8(entry.text)
        .ok()
        .and_then(|text| Some((text, text.chars().map(byte_of).collect::<Option<_>>()?)))
        .ok_or_else(|| Error::NotByteLevel {
            token: entry.id,
            text: shown(entry.text),
        })
}

fn insert(ids: &mut Vocab, text: &str, id: u32) -> Result<(), Error> {
    match ids.insert(text.to_owned(), id) {
        Some(first) => Err(Error::DuplicateToken {
            first,
            second: id,
            text: shown(text.as_bytes()),
        }),
        None => Ok(()),
    }
}

/// The two tokens of a merge, after making sure that they and what they become are in the vocabulary.
fn read_merge(merge: usize, text: &[u8], ids: &Vocab) -> Result<(String, String), Error> {
    let (left, right) = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
        .ok_or_else(|| Error::MergeNotAPair {
            merge,
            text: shown(text),
        })?;
    for token in [left, right, &format!("{left}{right}")] {
        if !ids.contains_key(token) {
            return Err(Error::MergeOfUnknownToken {
                merge,
                missing: shown(token.as_bytes()),
            });
        }
    }
    Ok((left.to_owned(), right.to_owned()))
}

fn unexpected_type(entry: &Entry<'_>) -> Error {
    let found = entry.ty as i32;
    let expected =
        "1 (normal), 2 (unknown), 3 (control) or 5 (unused) in a byte-level BPE vocabulary";
    Error::TokenType {
        token: entry.id,
        found,
        expected,
    }
}

fn from_library(error: impl ToString) -> Error {
    Error::Bpe {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::normal_entries;
    use proptest::prelude::*;

    fn bpe(tokens: &[&str], merges: &[&str]) -> Result<Bpe, Error> {
        Bpe::new(
            &normal_entries(tokens),
            merges.iter().map(|merge| merge.as_bytes()),
        )
    }

    fn error(tokens: &[&str], merges: &[&str]) -> String {
        bpe(tokens, merges).err().unwrap().to_string()
    }

    /// A token for each byte, in order, then a few merged ones.
    fn complete() -> Bpe {
        let bytes = (0..=255).map(|byte| char_of(byte).to_string());
        let merged = ["he", "ll", "hell", "Ġhell", "ĠĠ", "Ã©"].map(str::to_owned);
        let tokens: Vec<String> = bytes.chain(merged).collect();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        bpe(&tokens, &["h e", "l l", "he ll", "Ġ hell", "Ġ Ġ", "Ã ©"]).unwrap()
    }

    fn decode(bpe: &Bpe, ids: &[u32]) -> Vec<u8> {
        ids.iter()
            .flat_map(|&id| bpe.vocabulary().get(id).unwrap())
            .copied()
            .collect()
    }

    #[test]
    fn merges_within_words_in_the_order_of_the_merges() {
        let bpe = complete();
        assert_eq!(bpe.encode(b"hello").unwrap(), [258, u32::from(b'o')]);
        assert_eq!(
            bpe.encode(b"a hello").unwrap(),
            [u32::from(b'a'), 259, u32::from(b'o')]
        );
        assert_eq!(bpe.encode("é".as_bytes()).unwrap(), [261]);
        assert!(bpe.encode(b"").unwrap().is_empty());
    }

    #[test]
    fn the_last_blank_of_a_run_belongs_to_the_next_word() {
        assert_eq!(complete().encode(b"   hell").unwrap(), [260, 259]);
    }

    #[test]
    fn control_tokens_have_no_bytes_and_are_not_found_in_text() {
        let mut entries = normal_entries(&["<", "e", ">", "<e>"]);
        entries[3].ty = TokenType::Control;
        let bpe = Bpe::new(&entries, std::iter::empty()).unwrap();
        assert_eq!(bpe.encode(b"<e>").unwrap(), [0, 1, 2]);
        assert_eq!(bpe.vocabulary().get(3), Some(&[] as &[u8]));
    }

    #[test]
    fn very_long_runs_are_encoded_whole() {
        let bpe = complete();
        for run in [" ", "l", "7", "!", "\n", "é"] {
            let text = run.repeat(300_000) + "x";
            assert_eq!(
                decode(&bpe, &bpe.encode(text.as_bytes()).unwrap()),
                text.as_bytes(),
                "{run:?}"
            );
        }
    }

    #[test]
    fn refuses_text_that_it_cannot_represent() {
        let error = complete().encode(b"caf\xE9 au lait").unwrap_err();
        assert!(
            matches!(
                error,
                Error::NotUtf8 {
                    byte: 0xE9,
                    offset: 3
                }
            ),
            "{error}"
        );
        let error = bpe(&["a", "b"], &[]).unwrap().encode(b"abc").unwrap_err();
        assert!(
            matches!(
                error,
                Error::ByteWithoutToken {
                    byte: b'c',
                    offset: 2
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn refuses_tokens_that_are_not_byte_level_text() {
        assert!(
            error(&["a", "b c"], &[]).starts_with("token 1 is \"b c\", expected only characters")
        );
        assert!(error(&["a", ""], &[]).starts_with("token 1 is empty"));
        assert!(error(&["ab", "c", "ab"], &[]).starts_with("tokens 0 and 2 are both \"ab\""));
        let mut entries = normal_entries(&["a"]);
        entries[0].text = b"\xFF";
        assert!(matches!(
            Bpe::new(&entries, std::iter::empty()),
            Err(Error::NotByteLevel { token: 0, .. })
        ));
        entries[0].ty = TokenType::UserDefined;
        assert!(matches!(
            Bpe::new(&entries, std::iter::empty()),
            Err(Error::TokenType {
                token: 0,
                found: 4,
                ..
            })
        ));
    }

    #[test]
    fn refuses_merges_that_are_not_pairs() {
        for merge in ["ab", "a b c", "a ", " b", " ", ""] {
            let error = error(&["a", "b", "ab"], &["a b", merge]);
            assert!(
                error.starts_with(&format!("merge 1 is \"{merge}\", expected two tokens")),
                "{error}"
            );
        }
    }

    #[test]
    fn refuses_merges_of_or_into_unknown_tokens() {
        for (merge, missing) in [("z a", "z"), ("a z", "z"), ("b a", "ba")] {
            let error = error(&["a", "b"], &[merge]);
            assert!(
                error.starts_with(&format!("merge 0 needs the token \"{missing}\"")),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn decoding_gives_the_text_back(text in "\\PC*|[ \n'a-zé語🌊]*") {
            let bpe = complete();
            prop_assert_eq!(decode(&bpe, &bpe.encode(text.as_bytes()).unwrap()), text.as_bytes());
        }
    }
}
