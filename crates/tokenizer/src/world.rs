//! The World tokenizer: greedy longest match over bytes.
//!
//! A file writes each token as the inside of a Python bytes literal. Only NORMAL tokens have bytes and take part in
//! matching.

use std::borrow::Cow;

use crate::Error;
use crate::error::shown;
use crate::trie::{Duplicate, Trie};
use crate::vocabulary::{Entry, TokenType, Vocabulary};

/// Bytes of the longest token that is accepted: World's own longest has 128. This limit is what keeps matching linear
/// in the length of a text whatever the vocabulary.
pub(crate) const MAX_TOKEN_BYTES: usize = 256;

pub(crate) struct World {
    vocabulary: Vocabulary,
    trie: Trie,
}

impl World {
    pub(crate) fn new(entries: &[Entry<'_>]) -> Result<Self, Error> {
        let mut vocabulary = Vocabulary::new();
        for entry in entries {
            match entry.ty {
                TokenType::Normal => vocabulary.push(&token_bytes(entry)?)?,
                _ => vocabulary.push(&[])?,
            }
        }
        let with_bytes = vocabulary.iter().filter(|(_, bytes)| !bytes.is_empty());
        let trie = Trie::build(with_bytes.map(|(id, bytes)| (bytes, id)).collect())
            .map_err(|duplicate| duplicate_token(&vocabulary, duplicate))?;
        Ok(Self { vocabulary, trie })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(crate) fn encode(&self, text: &[u8]) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            let (id, length) = self
                .trie
                .longest_match(rest)
                .ok_or(Error::ByteWithoutToken {
                    byte,
                    offset: text.len() - rest.len(),
                })?;
            ids.push(id);
            rest = &rest[length..];
        }
        Ok(ids)
    }
}

fn token_bytes<'a>(entry: &Entry<'a>) -> Result<Cow<'a, [u8]>, Error> {
    let bytes = unescape(entry.id, entry.text)?;
    match bytes.len() {
        0 => Err(Error::EmptyToken { token: entry.id }),
        1..=MAX_TOKEN_BYTES => Ok(bytes),
        length => Err(Error::TokenTooLong {
            token: entry.id,
            bytes: length,
        }),
    }
}

/// The bytes of a Python bytes literal, given its inside: `\t`, `\n`, `\r`, `\xNN`, and any other `\c` is `c`.
fn unescape(token: u32, text: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    if !text.contains(&b'\\') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let (unescaped, after) = match byte {
            b'\\' => unescape_one(after).ok_or_else(|| Error::BadEscape {
                token,
                offset: text.len() - rest.len(),
                found: shown(&rest[..rest.len().min(4)]),
            })?,
            _ => (byte, after),
        };
        bytes.push(unescaped);
        rest = after;
    }
    Ok(Cow::Owned(bytes))
}

/// The byte that an escape sequence stands for, given what follows its backslash, and what follows the sequence.
fn unescape_one(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&kind, rest) = text.split_first()?;
    match kind {
        b't' => Some((b'\t', rest)),
        b'n' => Some((b'\n', rest)),
        b'r' => Some((b'\r', rest)),
        b'x' => {
            let (&[high, low], rest) = rest.split_first_chunk()?;
            Some((hex_digit(high)? << 4 | hex_digit(low)?, rest))
        }
        other => Some((other, rest)),
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn duplicate_token(vocabulary: &Vocabulary, Duplicate { first, second }: Duplicate) -> Error {
    Error::DuplicateToken {
        first,
        second,
        text: shown(vocabulary.get(first).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::normal_entries;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    fn world(texts: &[&str]) -> Result<World, Error> {
        World::new(&normal_entries(texts))
    }

    fn error(texts: &[&str]) -> String {
        world(texts).err().unwrap().to_string()
    }

    /// Bytes as a vocabulary writes them.
    fn escape(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    #[test]
    fn unescapes_the_inside_of_a_bytes_literal() {
        for (text, bytes) in [
            (r"plain", &b"plain"[..]),
            (r"\t\n\r", b"\t\n\r"),
            (r"\x00\xfF\x9a", b"\x00\xFF\x9A"),
            (r#"\\ \' \" \q"#, b"\\ ' \" q"),
            (r"\\x41", b"\\x41"),
            ("é\\é", "éé".as_bytes()),
        ] {
            assert_eq!(unescape(0, text.as_bytes()).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn refuses_bad_escapes() {
        for (text, offset, found) in [
            (r"ab\", 2, r"\\"),
            (r"\x", 0, r"\\x"),
            (r"a\x4", 1, r"\\x4"),
            (r"\n\x4g5", 2, r"\\x4g"),
            (r"\x-1", 0, r"\\x-1"),
        ] {
            let error = error(&["a", text]);
            assert!(
                error.starts_with(&format!(
                    "token 1 holds \"{found}\" at byte {offset} of its text"
                )),
                "{error}"
            );
        }
    }

    #[test]
    fn takes_the_longest_token_each_time() {
        let world = world(&["a", "b", "ab", "abb", r"\n", r"\n\n"]).unwrap();
        assert_eq!(world.encode(b"aabbbab\n\n\n").unwrap(), [0, 3, 1, 2, 5, 4]);
        assert!(world.encode(b"").unwrap().is_empty());
    }

    #[test]
    fn only_normal_tokens_have_bytes_and_match() {
        for ty in [
            TokenType::Unknown,
            TokenType::Control,
            TokenType::UserDefined,
            TokenType::Unused,
            TokenType::Byte,
        ] {
            let mut entries = normal_entries(&["<s>", "<", "s", ">"]);
            entries[0].ty = ty;
            let world = World::new(&entries).unwrap();
            assert_eq!(world.encode(b"<s>").unwrap(), [1, 2, 3]);
            assert_eq!(world.vocabulary().get(0), Some(&[] as &[u8]));
        }
    }

    #[test]
    fn names_a_byte_without_token() {
        let error = world(&["a", "bc"]).unwrap().encode(b"aab").unwrap_err();
        assert!(
            matches!(
                error,
                Error::ByteWithoutToken {
                    byte: b'b',
                    offset: 2
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn refuses_empty_long_and_repeated_tokens() {
        assert!(error(&["a", ""]).starts_with("token 1 is empty"));
        assert!(world(&["a", &"b".repeat(MAX_TOKEN_BYTES)]).is_ok());
        assert!(
            error(&["a", &"b".repeat(MAX_TOKEN_BYTES + 1)])
                .starts_with("token 1 is 257 bytes long")
        );
        assert!(error(&["a", "b", r"\x61"]).starts_with("tokens 0 and 2 are both \"a\""));
    }

    #[test]
    fn refuses_a_vocabulary_with_too_many_bytes() {
        let texts: Vec<String> = (0..40_000).map(|id| format!("{id:0>250}")).collect();
        let entries = normal_entries(&texts);
        assert!(matches!(
            World::new(&entries),
            Err(Error::VocabularyTooLarge { token: 33_554 })
        ));
    }

    proptest! {
        #[test]
        fn decoding_gives_any_bytes_back(
            longer in btree_set(vec(97..100u8, 2..6), 0..40),
            text in vec(prop_oneof![97..100u8, any::<u8>()], 0..200),
        ) {
            let single = (0..=255).map(|byte| vec![byte]);
            let texts: Vec<String> = single.chain(longer).map(|bytes| escape(&bytes)).collect();
            let world = World::new(&normal_entries(&texts)).unwrap();
            let ids = world.encode(&text).unwrap();
            let decoded: Vec<u8> = ids.iter().flat_map(|&id| world.vocabulary().get(id).unwrap()).copied().collect();
            prop_assert_eq!(decoded, text);
        }
    }
}
