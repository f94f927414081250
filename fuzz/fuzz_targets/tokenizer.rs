//! A vocabulary made from the input, then text through it: either refused, or every text comes back as it was.
//!
//! The input is lines: the first chooses the kind of tokenizer, the second the template, the third the text; the rest
//! are tokens, and merges where a line begins with a blank. An input that is a GGUF file is taken as it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg_gguf::GgufFile;
use thalweg_gguf::writer::GgufWriter;
use thalweg_tokenizer::chat::{ChatTemplate, Message, Role};
use thalweg_tokenizer::{StreamDecoder, Tokenizer};

fuzz_target!(|input: &[u8]| {
    if input.starts_with(b"GGUF") {
        if let Ok(file) = GgufFile::from_bytes(input.to_vec()) {
            exercise(&file, input);
        }
    } else {
        let recipe = Recipe::read(input);
        let file =
            GgufFile::from_bytes(recipe.file()).expect("the writer writes well-formed files");
        exercise(&file, recipe.text);
    }
});

fn exercise(file: &GgufFile, text: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_gguf(file.metadata()) {
        if let Ok(ids) = tokenizer.encode(text) {
            assert_eq!(tokenizer.decode(&ids).expect("its own ids"), text);
            assert_eq!(streamed(&tokenizer, &ids), String::from_utf8_lossy(text));
        }
    }
    if let Ok(template) = ChatTemplate::from_gguf(file.metadata()) {
        let content = String::from_utf8_lossy(text);
        let _ = template.render(&[Message::new(Role::User, content)], true);
    }
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut decoder = StreamDecoder::new();
    let mut text: String = ids
        .iter()
        .filter_map(|&id| tokenizer.token_bytes(id))
        .map(|bytes| decoder.push(bytes))
        .collect();
    text += &decoder.finish();
    text
}

struct Recipe<'a> {
    model: &'static str,
    template: &'a [u8],
    text: &'a [u8],
    tokens: Vec<&'a [u8]>,
    types: Vec<i32>,
    merges: Vec<&'a [u8]>,
}

impl<'a> Recipe<'a> {
    fn read(input: &'a [u8]) -> Self {
        let mut lines = input.split(|&byte| byte == b'\n');
        let mut line = || lines.next().unwrap_or_default();
        let model = if line().starts_with(b"w") {
            "rwkv"
        } else {
            "gpt2"
        };
        let (template, text) = (line(), line());
        let (merges, tokens): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with(b" "));
        Self {
            model,
            template,
            text,
            // A token that begins with a bell is a control token.
            types: tokens
                .iter()
                .map(|token| if token.starts_with(b"\x07") { 3 } else { 1 })
                .collect(),
            tokens,
            merges: merges.into_iter().map(|merge| &merge[1..]).collect(),
        }
    }

    fn file(&self) -> Vec<u8> {
        GgufWriter::new()
            .str("tokenizer.ggml.model", self.model)
            .strings("tokenizer.ggml.tokens", &self.tokens)
            .i32s("tokenizer.ggml.token_type", self.types.iter().copied())
            .strings("tokenizer.ggml.merges", &self.merges)
            .str("tokenizer.chat_template", self.template)
            .finish()
    }
}
