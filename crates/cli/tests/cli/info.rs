//! `thalweg info`, `completions` and `--version`.

use thalweg_gguf::writer::GgufWriter;

use crate::models::{folder, random, save, vocabulary_only};
use crate::program::{argument, run};

#[test]
fn the_demo_model_is_described() {
    let json = run(&["info", "--json"]).json();
    assert_eq!(json["architecture"], "rwkv7");
    assert_eq!(json["parameters"], 29_059_584);
    assert_eq!(json["sizes"]["layers"], 6);
    assert_eq!(json["sizes"]["ranks"]["gate"], 128);
    assert_eq!(json["tokenizer"]["kind"], "byte-level BPE");
    assert_eq!(json["memory"]["state_bytes"], 6 * 512 * 66 * 4);
    assert_eq!(json["runs"], true);
    assert!(json.get("tensors").is_none());

    let text = run(&["info"]).text();
    for part in ["29,059,584", "Q4_K", "byte-level BPE", "runs          yes"] {
        assert!(text.contains(part), "'{part}' is missing in {text}");
    }
}

#[test]
fn tensors_are_listed_on_request() {
    let folder = folder();
    let model = random(&folder);
    let json = run(&["info", argument(&model), "--tensors", "--json"]).json();
    let list = json["tensors"].as_array().unwrap();
    assert_eq!(json["tensor_count"], list.len());
    let head = list
        .iter()
        .find(|tensor| tensor["name"] == "output.weight")
        .unwrap();
    assert_eq!(head["shape"].to_string(), "[64,257]");
    assert_eq!(head["bytes"], 64 * 257 * 4);
    let text = run(&["info", argument(&model), "--tensors"]).text();
    assert!(text.contains("output.weight"));
}

#[test]
fn a_vocabulary_only_file_is_described() {
    let folder = folder();
    let model = vocabulary_only(&folder);
    let json = run(&["info", argument(&model), "--json"]).json();
    assert_eq!(json["sizes"]["vocab"], 257);
    assert_eq!(json["tokenizer"]["kind"], "World");
    assert_eq!(json["runs"], false);
    assert!(
        run(&["info", argument(&model)])
            .text()
            .contains("no weights")
    );
}

#[test]
fn other_architectures_are_described_as_far_as_known() {
    let folder = folder();
    let bytes = GgufWriter::new()
        .str("general.architecture", "llama")
        .u32("llama.block_count", 32)
        .finish();
    let model = save(&folder, "llama.gguf", &bytes);
    let json = run(&["info", argument(&model), "--json"]).json();
    assert_eq!(json["architecture"], "llama");
    assert_eq!(json["sizes"]["layers"], 32);
    assert!(json["why_not"].as_str().unwrap().contains("llama"));
    assert!(
        run(&["info", argument(&model)])
            .text()
            .contains("layers 32")
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(&["completions", shell]).text();
        assert!(
            script.contains("perplexity") && script.contains("chunk-size"),
            "{shell}"
        );
    }
}

#[test]
fn the_version_names_the_commit() {
    let version = run(&["--version"]).text();
    assert!(version.starts_with("thalweg 0.1.0 ("), "{version}");
}

#[test]
fn help_goes_to_standard_output() {
    for command in [
        "generate",
        "chat",
        "perplexity",
        "logits",
        "tokenize",
        "info",
        "completions",
    ] {
        let help = run(&[command, "--help"]).text();
        assert!(help.contains("Examples:"), "{help}");
    }
}
