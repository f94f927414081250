//! Text to token ids and back, for the tokenizers found in RWKV GGUF files.
//!
//! [`Tokenizer`] reads either vocabulary of the family from a file's metadata: the World vocabulary (greedy longest
//! match over bytes) or byte-level BPE. [`StreamDecoder`] turns a stream of token bytes into text as soon as whole
//! characters are there. [`chat`] lays out a conversation as the model was trained to read it.

pub mod chat;

mod bpe;
mod byte_alphabet;
mod error;
mod stream;
mod tokenizer;
mod trie;
mod vocabulary;
mod world;

pub use error::Error;
pub use stream::StreamDecoder;
pub use tokenizer::{Tokenizer, TokenizerKind};
