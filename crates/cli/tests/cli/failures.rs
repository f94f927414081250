//! Wrong input of every kind: one paragraph, the right exit code, no panic.

use crate::models::{folder, random, save, with_nan_scale};
use crate::program::{argument, run, run_with_input};

const USAGE: i32 = 2;
const MODEL: i32 = 3;
const PATH: i32 = 5;

#[test]
fn bad_flag_values() {
    let generate: &[(&[&str], &str)] = &[
        (&["--temp", "-0.5"], "--temp is -0.5"),
        (&["--temp", "nan"], "--temp is NaN"),
        (&["--temp", "warm"], "expected a number"),
        (&["--top-p", "1.5"], "--top-p is 1.5"),
        (&["--top-p", "-1"], "--top-p is -1"),
        (&["--min-p", "2"], "--min-p is 2"),
        (&["--top-k", "-1"], "--top-k"),
        (&["--top-k", "many"], "--top-k"),
        (&["--presence-penalty", "1e9"], "--presence-penalty"),
        (
            &["--frequency-penalty", "inf"],
            "--frequency-penalty is inf",
        ),
        (&["--penalty-decay", "1.01"], "--penalty-decay is 1.01"),
        (&["--seed", "-1"], "--seed"),
        (&["--seed", "18446744073709551616"], "--seed"),
        (&["-n", "-5"], "a whole number"),
        (&["-n", "ten"], "'ten'"),
        (&["--chunk-size", "0"], "from 1 to 4096"),
        (&["--chunk-size", "-1"], "from 1 to 4096"),
        (&["--chunk-size", "4097"], "from 1 to 4096"),
        (&["--chunk-size", "x"], "from 1 to 4096"),
        (&["--threads", "0"], "1..=1024"),
        (&["--threads", "1000000"], "1..=1024"),
        (&["--backend", "cuda"], "vulkan"),
        (&["-f", "prompt.txt"], "cannot be used with"),
        (&["--no-such-flag"], "--no-such-flag"),
    ];
    for (flags, mention) in generate {
        run(&[&["generate", "-p", "x"], *flags].concat()).assert_fails(USAGE, &[mention]);
    }
}

#[test]
fn bad_command_lines() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "thalweg"),
        (&["dance"], "dance"),
        (&["perplexity"], "--file"),
        (&["perplexity", "-f", "x", "--windows", "0"], "--windows"),
        (&["logits", "-o", "x"], "--ids"),
        (&["logits", "--ids", "1"], "--output"),
        (&["logits", "--ids", "1,x", "-o", "out"], "found 'x'"),
        (&["logits", "--ids", "-1", "-o", "out"], "--ids"),
        (
            &["logits", "--ids", "4294967296", "-o", "out"],
            "4294967296",
        ),
        (&["logits", "--ids", " , ", "-o", "out"], "no token id"),
        (
            &["logits", "--ids", "1", "--ids-file", "x", "-o", "out"],
            "cannot be used with",
        ),
        (&["tokenize", "--decode", "x"], "found 'x'"),
        (
            &["tokenize", "--decode", "1", "--json"],
            "cannot be used with",
        ),
        (&["completions", "tcsh"], "bash"),
        (&["chat", "--thinking", "hard"], "quick"),
    ];
    for (arguments, mention) in cases {
        run(arguments).assert_fails(USAGE, &[mention]);
    }
}

#[test]
fn paths_that_cannot_be_read() {
    let folder = folder();
    let missing = folder.path().join("missing.gguf");
    let directory = folder.path();
    for path in [&missing, directory] {
        let path = argument(path);
        run(&["info", path]).assert_fails(PATH, &[path]);
        run(&["generate", "-m", path, "-p", "x"]).assert_fails(PATH, &[path]);
        run(&["chat", "-m", path]).assert_fails(PATH, &[path]);
        run(&["tokenize", "-m", path, "-p", "x"]).assert_fails(PATH, &[path]);
        run(&["logits", "-m", path, "--ids", "1", "-o", "out"]).assert_fails(PATH, &[path]);
        run(&["perplexity", "-f", path]).assert_fails(PATH, &[path]);
        run(&["generate", "-f", path]).assert_fails(PATH, &[path]);
        run(&["logits", "--ids-file", path, "-o", "out"]).assert_fails(PATH, &[path]);
    }
}

#[test]
fn files_that_are_no_models() {
    let folder = folder();
    let empty = save(&folder, "empty.gguf", b"");
    let text = save(&folder, "text.gguf", b"This is a letter, not a model.");
    let model = std::fs::read(random(&folder)).unwrap();
    let cut = save(&folder, "cut.gguf", &model[..model.len() / 2]);
    for path in [empty, text, cut] {
        let path = argument(&path);
        run(&["info", path]).assert_fails(MODEL, &[path]);
        run(&["generate", "-m", path, "-p", "x"]).assert_fails(MODEL, &[path]);
    }
}

#[test]
fn models_that_are_not_rwkv7() {
    let folder = folder();
    let bytes = thalweg_gguf::writer::GgufWriter::new()
        .str("general.architecture", "llama")
        .finish();
    let path = save(&folder, "llama.gguf", &bytes);
    run(&["logits", "-m", argument(&path), "--ids", "1", "-o", "out"])
        .assert_fails(MODEL, &["llama", "rwkv7"]);
}

#[test]
fn weights_that_are_no_numbers() {
    let folder = folder();
    let model = with_nan_scale(&folder);
    let generate = ["generate", "-m", argument(&model), "-p", "x"];
    run(&[&generate[..], &["--check-tensors"]].concat())
        .assert_fails(MODEL, &["output.weight", "NaN"]);
    run(&generate).assert_fails(MODEL, &["in the output matrix", "--check-tensors"]);
    run_with_input(&["chat", "-m", argument(&model)], b"Hello\n")
        .assert_fails(MODEL, &["in the output matrix", "--check-tensors"]);

    let healthy = random(&folder);
    let run = run(&[
        "generate",
        "-m",
        argument(&healthy),
        "-p",
        "x",
        "-n",
        "1",
        "--check-tensors",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn prompts_that_cannot_be_encoded() {
    // The demo model's byte-level BPE reads characters; this is Latin-1.
    run_with_input(&["generate", "-n", "1"], b"caf\xe9")
        .assert_fails(MODEL, &["0xE9", "offset 3", "UTF-8"]);
    run_with_input(&["tokenize"], b"caf\xe9").assert_fails(MODEL, &["offset 3"]);
}
