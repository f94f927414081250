//! The demo model's tokenizer against ids from the `tokenizer.json` that it was trained with, encoded by the
//! `tokenizers` library as a whole.

#![allow(clippy::unwrap_used, reason = "a test's way of failing")]

use std::path::Path;

use thalweg_gguf::GgufFile;
use thalweg_tokenizer::{Tokenizer, TokenizerKind};

fn demo_tokenizer() -> Tokenizer {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/thalweg-demo-29m-q4_k_m.gguf");
    Tokenizer::from_gguf(GgufFile::open(&path).unwrap().metadata()).unwrap()
}

#[test]
fn encodes_as_the_training_did() {
    let tokenizer = demo_tokenizer();
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("data/demo-model-tokens.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let ids = tokenizer.encode(text.as_bytes()).unwrap();
        assert_eq!(serde_json::json!(ids), case["ids"], "{text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_bytes());
    }
}

#[test]
fn reads_the_special_tokens() {
    let tokenizer = demo_tokenizer();
    assert_eq!(tokenizer.kind(), TokenizerKind::ByteLevelBpe);
    assert_eq!(tokenizer.vocab_len(), 8192);
    assert_eq!((tokenizer.bos_id(), tokenizer.add_bos()), (Some(0), true));
    assert_eq!(tokenizer.stop_ids(), [0]);
    assert_eq!(
        tokenizer.token_bytes(0),
        Some(&[] as &[u8]),
        "control tokens have no text"
    );
}
