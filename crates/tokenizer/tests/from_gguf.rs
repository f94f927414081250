//! Tokenizers and chat templates from the metadata of well-formed and of wrong files.

#![allow(clippy::unwrap_used, reason = "a test's way of failing")]

use thalweg_gguf::GgufFile;
use thalweg_gguf::writer::GgufWriter;
use thalweg_tokenizer::chat::{ChatTemplate, Message, Role, Thinking};
use thalweg_tokenizer::{Error, Tokenizer, TokenizerKind};

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

fn file(writer: GgufWriter) -> GgufFile {
    GgufFile::from_bytes(writer.finish()).unwrap()
}

fn tokenizer(writer: GgufWriter) -> Result<Tokenizer, Error> {
    Tokenizer::from_gguf(file(writer).metadata())
}

fn error(writer: GgufWriter) -> String {
    tokenizer(writer).unwrap_err().to_string()
}

/// A file with a World vocabulary: `<s>`, `a`, `b`, `ab`, newline.
fn world() -> GgufWriter {
    GgufWriter::new()
        .str("tokenizer.ggml.model", "rwkv")
        .strings("tokenizer.ggml.tokens", ["<s>", "a", "b", "ab", r"\n"])
        .i32s(
            "tokenizer.ggml.token_type",
            [CONTROL, NORMAL, NORMAL, NORMAL, NORMAL],
        )
}

/// A file with a byte-level BPE: `a`, `b`, `ab`, `<s>`.
fn bpe() -> GgufWriter {
    GgufWriter::new()
        .str("tokenizer.ggml.model", "gpt2")
        .strings("tokenizer.ggml.tokens", ["a", "b", "ab", "<s>"])
        .i32s(
            "tokenizer.ggml.token_type",
            [NORMAL, NORMAL, NORMAL, CONTROL],
        )
        .strings("tokenizer.ggml.merges", ["a b"])
}

#[test]
fn builds_a_world_tokenizer() {
    let tokenizer = tokenizer(world()).unwrap();
    assert_eq!(tokenizer.kind(), TokenizerKind::World);
    assert_eq!(tokenizer.vocab_len(), 5);
    assert_eq!(tokenizer.encode(b"abb\n").unwrap(), [3, 2, 4]);
    assert_eq!(tokenizer.decode(&[3, 0, 4]).unwrap(), b"ab\n");
    assert_eq!(
        (tokenizer.token_bytes(4), tokenizer.token_bytes(5)),
        (Some(&b"\n"[..]), None)
    );
}

#[test]
fn builds_a_byte_level_bpe_for_the_names_of_gpt2s_word_rules() {
    for writer in [
        bpe(),
        bpe().str("tokenizer.ggml.pre", "gpt-2"),
        bpe().str("tokenizer.ggml.pre", "default"),
    ] {
        let tokenizer = tokenizer(writer).unwrap();
        assert_eq!(tokenizer.kind(), TokenizerKind::ByteLevelBpe);
        assert_eq!(tokenizer.encode(b"aab").unwrap(), [0, 2]);
    }
}

#[test]
fn reads_special_ids_from_their_keys_alone() {
    let plain = tokenizer(world()).unwrap();
    assert_eq!(
        (plain.bos_id(), plain.add_bos(), plain.stop_ids()),
        (None, false, &[] as &[u32])
    );
    let special = world()
        .u32("tokenizer.ggml.bos_token_id", 0)
        .u32("tokenizer.ggml.eos_token_id", 0)
        .u32("tokenizer.ggml.eot_token_id", 4)
        .bool("tokenizer.ggml.add_bos_token", true);
    let special = tokenizer(special).unwrap();
    assert_eq!(
        (special.bos_id(), special.add_bos(), special.stop_ids()),
        (Some(0), true, &[0, 4][..])
    );
    let same = world()
        .u32("tokenizer.ggml.eos_token_id", 4)
        .u32("tokenizer.ggml.eot_token_id", 4);
    assert_eq!(tokenizer(same).unwrap().stop_ids(), [4]);
}

#[test]
fn refuses_special_ids_that_do_not_exist() {
    for key in ["bos", "eos", "eot"].map(|name| format!("tokenizer.ggml.{name}_token_id")) {
        let error = error(world().u32(&key, 5));
        assert!(
            error.starts_with(&format!("{key} is 5, expected a token id below 5")),
            "{error}"
        );
    }
    let error = error(world().bool("tokenizer.ggml.add_bos_token", true));
    assert!(
        error.starts_with("tokenizer.ggml.add_bos_token is true without"),
        "{error}"
    );
}

#[test]
fn refuses_other_tokenizers_by_name() {
    let error = error(GgufWriter::new().str("tokenizer.ggml.model", "llama"));
    assert!(
        error.contains("\"llama\", expected \"rwkv\" (World) or \"gpt2\" (byte-level BPE)"),
        "{error}"
    );
    let error = tokenizer(bpe().str("tokenizer.ggml.pre", "qwen2"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("\"qwen2\", expected \"gpt-2\""), "{error}");
}

#[test]
fn names_missing_and_mistyped_keys() {
    let model = |name| GgufWriter::new().str("tokenizer.ggml.model", name);
    let tokens = |name| model(name).strings("tokenizer.ggml.tokens", ["a"]);
    for (writer, key) in [
        (GgufWriter::new(), "tokenizer.ggml.model"),
        (
            GgufWriter::new().u32("tokenizer.ggml.model", 1),
            "tokenizer.ggml.model",
        ),
        (model("rwkv"), "tokenizer.ggml.tokens"),
        (
            model("rwkv").i32s("tokenizer.ggml.tokens", [1]),
            "tokenizer.ggml.tokens",
        ),
        (tokens("rwkv"), "tokenizer.ggml.token_type"),
        (
            tokens("rwkv").f32s("tokenizer.ggml.token_type", [1.0]),
            "tokenizer.ggml.token_type",
        ),
        (
            tokens("gpt2").i32s("tokenizer.ggml.token_type", [1]),
            "tokenizer.ggml.merges",
        ),
        (bpe().u32("tokenizer.ggml.pre", 1), "tokenizer.ggml.pre"),
        (
            world().str("tokenizer.ggml.eos_token_id", "4"),
            "tokenizer.ggml.eos_token_id",
        ),
        (
            world().u32("tokenizer.ggml.add_bos_token", 1),
            "tokenizer.ggml.add_bos_token",
        ),
    ] {
        let error = error(writer);
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn refuses_token_types_that_do_not_match_the_tokens() {
    let tokens = |types: &[i32]| {
        GgufWriter::new()
            .str("tokenizer.ggml.model", "rwkv")
            .strings("tokenizer.ggml.tokens", ["a", "b"])
            .i32s("tokenizer.ggml.token_type", types.iter().copied())
    };
    for types in [&[1][..], &[1, 1, 1]] {
        let error = error(tokens(types));
        assert!(
            error.starts_with(&format!(
                "tokenizer.ggml.token_type has {} elements",
                types.len()
            )),
            "{error}"
        );
    }
    for wrong in [0, 7, -1, i32::MAX] {
        let error = error(tokens(&[1, wrong]));
        assert!(
            error.starts_with(&format!("token 1 has the type {wrong} ")),
            "{error}"
        );
    }
}

#[test]
fn refuses_arrays_beyond_any_known_vocabulary() {
    let many = (1 << 20) + 1;
    let tokens = GgufWriter::new()
        .str("tokenizer.ggml.model", "rwkv")
        .strings("tokenizer.ggml.tokens", vec![""; many])
        .i32s("tokenizer.ggml.token_type", vec![CONTROL; many]);
    assert!(error(tokens).starts_with("tokenizer.ggml.tokens has 1048577 elements"));
    let merges = GgufWriter::new()
        .str("tokenizer.ggml.model", "gpt2")
        .strings("tokenizer.ggml.merges", vec![""; many]);
    assert!(error(merges).starts_with("tokenizer.ggml.merges has 1048577 elements"));
}

#[test]
fn names_the_token_of_a_bad_escape() {
    let writer = GgufWriter::new()
        .str("tokenizer.ggml.model", "rwkv")
        .strings("tokenizer.ggml.tokens", ["a", r"b\x1"])
        .i32s("tokenizer.ggml.token_type", [NORMAL, NORMAL]);
    assert!(error(writer).starts_with(r#"token 1 holds "\\x1" at byte 1 of its text"#));
}

#[test]
fn decoding_names_the_id_that_does_not_exist() {
    let error = tokenizer(world()).unwrap().decode(&[1, 9]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::IdOutOfRange {
                id: 9,
                position: 1,
                vocab: 5
            }
        ),
        "{error}"
    );
}

#[test]
fn takes_the_files_chat_template_or_the_world_layout() {
    let template = |writer| ChatTemplate::from_gguf(file(writer).metadata());
    let conversation = [Message::new(Role::User, "Hi")];
    let built_in = "User: Hi\n\nAssistant:";
    for writer in [
        world(),
        bpe(),
        world().str("tokenizer.chat_template", "rwkv-world"),
    ] {
        let template = template(writer).unwrap();
        assert_eq!(template.render(&conversation, true).unwrap(), built_in);
        assert_eq!(template.stop_strings(), ["\n\nUser:"]);
        let thinking = template.with_thinking(Thinking::On);
        assert_eq!(
            thinking.render(&conversation, true).unwrap(),
            format!("{built_in} <think")
        );
    }
    let jinja =
        template(world().str("tokenizer.chat_template", "{{ messages[0].content }}?")).unwrap();
    assert_eq!(jinja.render(&conversation, true).unwrap(), "Hi?");
    assert!(jinja.stop_strings().is_empty());
    assert!(matches!(
        template(world().str("tokenizer.chat_template", "{% nonsense")),
        Err(Error::TemplateSyntax { .. })
    ));
    assert!(matches!(
        template(world().u32("tokenizer.chat_template", 1)),
        Err(Error::Metadata(_))
    ));
}
