//! The World tokenizer against its reference's token ids.

use crate::{Outcome, hex, message};
use serde::Deserialize;
use std::path::Path;
use thalweg_gguf::GgufFile;
use thalweg_tokenizer::Tokenizer;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    hex: String,
    ids: Vec<u32>,
}

/// Encodes and decodes every case of a golden file with the vocabulary of a GGUF file.
pub fn check_world(cases: &Path, vocabulary: &Path) -> Outcome {
    Outcome::new("World tokenizer", check(cases, vocabulary))
}

fn check(cases: &Path, vocabulary: &Path) -> Result<String, String> {
    let Cases { cases } = crate::golden::read_json(cases)?;
    let file = GgufFile::open(vocabulary).map_err(message)?;
    let tokenizer = Tokenizer::from_gguf(file.metadata()).map_err(message)?;
    for Case { name, hex, ids } in &cases {
        let bytes = hex::bytes(hex).ok_or("the golden's hexadecimal digits are damaged")?;
        let encoded = tokenizer.encode(&bytes).map_err(message)?;
        if encoded != *ids {
            return Err(format!("case '{name}' gives {encoded:?}, expected {ids:?}"));
        }
        if tokenizer.decode(ids).map_err(message)? != bytes {
            return Err(format!("case '{name}' does not decode to its own bytes"));
        }
    }
    Ok(format!("{} cases exact, there and back", cases.len()))
}
