//! Everything that can go wrong, each in one sentence: thing, place, found, expected, next step.

use crate::vocabulary::MAX_VOCABULARY_BYTES;
use crate::world::MAX_TOKEN_BYTES;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A metadata key is missing or has the wrong type.
    #[error(transparent)]
    Metadata(#[from] thalweg_gguf::Error),

    /// The file's tokenizer is of a kind that is not built in.
    #[error(
        "tokenizer.ggml.model is \"{found}\", expected \"rwkv\" (World) or \"gpt2\" (byte-level BPE); \
         use a model with one of these tokenizers"
    )]
    UnsupportedModel {
        /// The value in the file.
        found: String,
    },
    /// The file's BPE splits text into words by other rules than GPT-2's.
    #[error(
        "tokenizer.ggml.pre is \"{found}\", expected \"gpt-2\", \"default\" or no such key; \
         use a model whose BPE splits words as GPT-2 does"
    )]
    UnsupportedPreTokenizer {
        /// The value in the file.
        found: String,
    },

    /// The two arrays that describe the tokens differ in length.
    #[error(
        "tokenizer.ggml.token_type has {types} elements, expected one for each of the {tokens} elements of \
         tokenizer.ggml.tokens; convert the model again"
    )]
    TokenTypeCount {
        /// Length of the tokens array.
        tokens: usize,
        /// Length of the types array.
        types: usize,
    },
    /// A token type without meaning, or one that this kind of tokenizer cannot have.
    #[error(
        "token {token} has the type {found} in tokenizer.ggml.token_type, expected {expected}; convert the model again"
    )]
    TokenType {
        /// The token's id.
        token: u32,
        /// The type's number in the file.
        found: i32,
        /// The types that are possible here.
        expected: &'static str,
    },
    /// An array beyond any known one.
    #[error(
        "{key} has {found} elements, expected at most {limit}; \
         the file is damaged or hostile: get it from its source again"
    )]
    TooManyElements {
        /// The metadata key.
        key: &'static str,
        /// Length of the array.
        found: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// A vocabulary beyond any known one.
    #[error(
        "the vocabulary holds more than {MAX_VOCABULARY_BYTES} bytes at token {token}, expected far less; \
         the file is damaged or hostile: get it from its source again"
    )]
    VocabularyTooLarge {
        /// The first token that does not fit.
        token: u32,
    },
    /// A World token that is longer than any known one.
    #[error(
        "token {token} is {bytes} bytes long, expected at most {MAX_TOKEN_BYTES}; \
         the file is damaged or hostile: get it from its source again"
    )]
    TokenTooLong {
        /// The token's id.
        token: u32,
        /// Its length.
        bytes: usize,
    },
    /// A token that stands for text but has none.
    #[error("token {token} is empty, expected at least one byte of text; convert the model again")]
    EmptyToken {
        /// The token's id.
        token: u32,
    },
    /// Two tokens that stand for the same bytes.
    #[error(
        "tokens {first} and {second} are both \"{text}\", expected every token once; convert the model again"
    )]
    DuplicateToken {
        /// The smaller id.
        first: u32,
        /// The larger id.
        second: u32,
        /// The bytes of both, those that are not printable escaped.
        text: String,
    },
    /// A World token with an escape sequence that a Python bytes literal cannot have.
    #[error(
        "token {token} holds \"{found}\" at byte {offset} of its text, expected a backslash to begin \\t, \\n, \\r, \
         \\xNN with two hexadecimal digits, or an escaped character; convert the model again"
    )]
    BadEscape {
        /// The token's id.
        token: u32,
        /// Where the escape begins, in bytes from the start of the token's text in the file.
        offset: usize,
        /// The escape as it stands in the file.
        found: String,
    },
    /// A BPE token that is not written in the byte-level alphabet.
    #[error(
        "token {token} is \"{text}\", expected only characters of the byte-level alphabet (as in GPT-2's vocabulary); \
         convert the model again"
    )]
    NotByteLevel {
        /// The token's id.
        token: u32,
        /// The token's text, with what is not printable escaped.
        text: String,
    },
    /// A BPE merge that does not name two tokens.
    #[error(
        "merge {merge} is \"{text}\", expected two tokens with a space between them; convert the model again"
    )]
    MergeNotAPair {
        /// Its place in `tokenizer.ggml.merges`, from 0.
        merge: usize,
        /// The merge in the file, with what is not printable escaped.
        text: String,
    },
    /// A BPE merge of, or into, something that is not a token.
    #[error(
        "merge {merge} needs the token \"{missing}\", expected it in tokenizer.ggml.tokens; convert the model again"
    )]
    MergeOfUnknownToken {
        /// Its place in `tokenizer.ggml.merges`, from 0.
        merge: usize,
        /// The token that is not there.
        missing: String,
    },
    /// A BPE model that the `tokenizers` library refuses.
    #[error("the byte-level BPE reports: {reason}; convert the model again")]
    Bpe {
        /// What it said.
        reason: String,
    },

    /// A special token outside of the vocabulary.
    #[error("{key} is {found}, expected a token id below {vocab}; convert the model again")]
    SpecialIdOutOfRange {
        /// The metadata key.
        key: &'static str,
        /// The id in the file.
        found: u32,
        /// Number of tokens in the vocabulary.
        vocab: usize,
    },
    /// A file that wants a begin-of-text token and does not say which.
    #[error(
        "tokenizer.ggml.add_bos_token is true without tokenizer.ggml.bos_token_id, expected both; \
         convert the model again"
    )]
    MissingBos,

    /// A text with a byte for which the vocabulary has no token.
    #[error(
        "the text holds the byte 0x{byte:02X} at offset {offset}, expected only bytes that this model's vocabulary \
         covers; remove it from the text"
    )]
    ByteWithoutToken {
        /// The byte.
        byte: u8,
        /// Where it is, in bytes from the start of the text.
        offset: usize,
    },
    /// A text that is not UTF-8, for a tokenizer that reads characters.
    #[error(
        "the text has an invalid byte 0x{byte:02X} at offset {offset}, expected UTF-8; save the text as UTF-8"
    )]
    NotUtf8 {
        /// The first byte that cannot belong to a character.
        byte: u8,
        /// Where it is, in bytes from the start of the text.
        offset: usize,
    },
    /// A text with so long a run of blanks or letters that the word splitter gave up.
    #[error(
        "the text cannot be split into words at offset {offset}, expected shorter runs of the same kind of \
             character; break up the text there"
    )]
    Unsplittable {
        /// Where the splitter gave up, in bytes from the start of the text.
        offset: usize,
    },
    /// A token id outside of the vocabulary.
    #[error(
        "token id {id} at position {position}, expected an id below {vocab}; use ids of this model's vocabulary"
    )]
    IdOutOfRange {
        /// The id.
        id: u32,
        /// Its place among the ids, from 0.
        position: usize,
        /// Number of tokens in the vocabulary.
        vocab: usize,
    },

    /// A chat template that is too long to be one.
    #[error(
        "tokenizer.chat_template is {bytes} bytes long, expected at most {limit}; \
         the file is damaged or hostile: get it from its source again"
    )]
    TemplateTooLong {
        /// Its length.
        bytes: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// A chat template that is not valid Jinja.
    #[error(
        "tokenizer.chat_template cannot be read: {reason}; expected a Jinja template or \"rwkv-world\"; \
         convert the model again"
    )]
    TemplateSyntax {
        /// What is wrong, with the line.
        reason: String,
    },
    /// A chat template that failed on this conversation.
    #[error(
        "tokenizer.chat_template fails: {reason}; expected it to lay out this conversation; \
         change the conversation if the template asks for it, or convert the model again"
    )]
    TemplateFailed {
        /// What went wrong, with the line; or the template's own words.
        reason: String,
    },
    /// A system message after the beginning of a conversation in the World layout.
    #[error(
        "message {position} is a system message, expected it first or not at all; move it to the front"
    )]
    SystemNotFirst {
        /// Its place in the conversation, from 0.
        position: usize,
    },
}

/// Text from a file for an error message: printable, and cut where it is long.
pub(crate) fn shown(text: &[u8]) -> String {
    const MOST_CHARACTERS: usize = 64;
    let printable = match std::str::from_utf8(text) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => text.escape_ascii().to_string(),
    };
    match printable.char_indices().nth(MOST_CHARACTERS) {
        Some((cut, _)) => format!("{}...", &printable[..cut]),
        None => printable,
    }
}
