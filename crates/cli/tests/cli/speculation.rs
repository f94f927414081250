//! `--speculate` and `--draft-model`: the same text by another way.

use std::path::Path;

use serde_json::Value;

use crate::models::{demo, folder, random, save, vocabulary_only};
use crate::program::{GREEDY, Run, argument, run, run_with_input};

const USAGE: i32 = 2;
const MODEL: i32 = 3;
const PATH: i32 = 5;

/// All ways to have tokens guessed, with this draft model where there is one.
fn settings(draft: &Path) -> Vec<Vec<&str>> {
    let draft = ["--draft-model", argument(draft)];
    let with_draft = |source| [&["--speculate", source], &draft[..]].concat();
    vec![
        vec!["--speculate", "auto"],
        vec!["--speculate", "ngram"],
        draft.to_vec(),
        with_draft("auto"),
        with_draft("draft"),
    ]
}

/// The field of a summary that tells of guesses, if there is one.
fn guesses(run: &Run) -> Option<&str> {
    let mut fields = run.stderr.split(" | ");
    fields.find(|field| field.starts_with("guessed "))
}

/// Greedy, and drawn with penalties.
#[test]
fn the_demo_model_writes_the_same_text_with_any_guesses() {
    let prompt = "round and round and ".repeat(6);
    let text = |sampler: &[&str], more: &[&str]| {
        let flags = ["generate", "-p", prompt.trim(), "-n", "24"];
        run(&[&flags[..], sampler, more].concat()).text()
    };
    for sampler in [&GREEDY[..], &["--seed", "7"]] {
        let expected = text(sampler, &[]);
        assert_eq!(text(sampler, &["--speculate", "off"]), expected);
        for setting in settings(&demo()) {
            assert_eq!(text(sampler, &setting), expected, "{setting:?}");
        }
    }
}

/// A model as its own draft model is asked at least once, to find out what that is worth, and is always right.
#[test]
fn the_summary_tells_of_guesses() {
    let folder = folder();
    let model = random(&folder);
    let flags = ["generate", "-m", argument(&model), "-p", "x", "-n", "200"];
    let generate = |more: &[&str]| run(&[&flags[..], &GREEDY, more].concat());
    for setting in [&[][..], &["--speculate", "off"]] {
        let without = generate(setting);
        assert_eq!(guesses(&without), None, "{}", without.stderr);
    }
    let draft = ["--speculate", "draft", "--draft-model", argument(&model)];
    let drafted = generate(&draft);
    let summary = guesses(&drafted).unwrap_or_else(|| panic!("{}", drafted.stderr));
    // How fast they came is said where there were other steps, too.
    for part in [" right (100 %), ", " tokens a step"] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
}

#[test]
fn replies_of_a_chat_are_the_same_with_any_guesses() {
    let folder = folder();
    let model = random(&folder);
    let replies = |more: &[&str]| {
        let flags = ["chat", "-m", argument(&model), "-n", "40", "--seed", "1"];
        run_with_input(&[&flags[..], more].concat(), b"Hello\nAnd then?\n/regen\n").text()
    };
    let expected = replies(&[]);
    for setting in settings(&model) {
        assert_eq!(replies(&setting), expected, "{setting:?}");
    }
}

#[test]
fn replies_of_a_batch_are_the_same_with_any_guesses() {
    let folder = folder();
    let model = random(&folder);
    let lines: String = (1..=5)
        .map(|i| format!("{{\"prompt\": \"{}\", \"n\": {}}}\n", "y".repeat(i), 60 * i))
        .collect();
    let batch = |more: &[&str]| {
        let flags = [
            "batch",
            "-m",
            argument(&model),
            "--parallel",
            "2",
            "--ordered",
        ];
        let run = run_with_input(&[&flags[..], &GREEDY, more].concat(), lines.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let replies = std::str::from_utf8(&run.stdout).unwrap().lines();
        let text = |line| serde_json::from_str::<Value>(line).unwrap()["text"].clone();
        let texts: Vec<Value> = replies.map(text).collect();
        (texts, run)
    };
    let (expected, without) = batch(&["--json"]);
    let summary: Value = serde_json::from_str(&without.stderr).unwrap();
    assert!(summary.get("guesses").is_none(), "{summary}");
    for setting in settings(&model) {
        assert_eq!(batch(&setting).0, expected, "{setting:?}");
    }
    let draft = ["--speculate", "draft", "--draft-model", argument(&model)];
    let (_, noted) = batch(&draft);
    assert!(guesses(&noted).is_some(), "{}", noted.stderr);
    let (_, told) = batch(&[&draft[..], &["--json"]].concat());
    let summary: Value = serde_json::from_str(&told.stderr).unwrap();
    let told = &summary["guesses"];
    assert!(told["drafted"].as_u64() > Some(0), "{summary}");
    assert_eq!(told["accepted"], told["drafted"]);
    assert!(told["tokens_a_step"].as_f64() > Some(1.0), "{summary}");
}

#[test]
fn an_adapter_with_guesses_writes_the_text_of_the_cpu() {
    let folder = folder();
    let model = random(&folder);
    let text = |backend: &str, more: &[&str]| {
        let flags = ["generate", "-m", argument(&model), "-p", "x", "-n", "90"];
        let exact = ["--precision", "exact", "--backend", backend];
        run(&[&flags[..], &GREEDY, &exact, more].concat()).text()
    };
    let expected = text("cpu", &[]);
    for setting in settings(&model) {
        assert_eq!(text("vulkan", &setting), expected, "{setting:?}");
    }
}

#[test]
fn flags_that_make_no_sense_together() {
    let demo = demo();
    let named = ["--draft-model", argument(&demo)];
    let with = |source| [&["--speculate", source], &named[..]].concat();
    let cases = [
        (vec!["--speculate", "draft"], "with --draft-model"),
        (with("off"), "--speculate off"),
        (with("ngram"), "--speculate ngram"),
        (vec!["--speculate", "wildly"], "auto, off, ngram, draft"),
        (vec!["--speculate"], "--speculate"),
        (vec!["--draft-model"], "--draft-model"),
    ];
    for command in ["generate", "chat", "batch"] {
        for (flags, mention) in &cases {
            run(&[&[command], &flags[..]].concat()).assert_fails(USAGE, &[mention]);
        }
    }
}

#[test]
fn draft_models_that_cannot_be_used() {
    let folder = folder();
    let missing = folder.path().join("missing.gguf");
    let text = save(&folder, "letter.gguf", b"This is a letter, not a model.");
    let vocabulary = vocabulary_only(&folder);
    let model = random(&folder);
    for command in ["generate", "chat", "batch"] {
        let refused = |draft: &Path, code: i32, mentions: &[&str]| {
            let flags = [command, "--draft-model", argument(draft)];
            run_with_input(&flags, b"x\n").assert_fails(code, mentions);
        };
        refused(&missing, PATH, &["missing.gguf"]);
        refused(folder.path(), PATH, &[argument(folder.path())]);
        refused(&text, MODEL, &["letter.gguf"]);
        refused(
            &model,
            MODEL,
            &[
                "in the draft model",
                "same vocabulary",
                "(byte-level BPE, ",
                "(World, 257 tokens)",
            ],
        );
        let no_weights = [
            "-m",
            argument(&model),
            "--draft-model",
            argument(&vocabulary),
        ];
        let refused = run_with_input(&[&[command], &no_weights[..]].concat(), b"x\n");
        refused.assert_fails(MODEL, &["vocabulary.gguf"]);
    }
}
