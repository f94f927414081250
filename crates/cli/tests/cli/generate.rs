//! `thalweg generate`.

use std::io::Read;

use crate::models::{demo, folder, random, save, without_begin_of_text};
use crate::program::{GREEDY, argument, endless_generation, run, run_with_input};

#[test]
fn the_demo_model_writes_words() {
    let run = run(&[
        "generate",
        "-p",
        "Once upon a time",
        "-n",
        "24",
        "--seed",
        "1",
    ]);
    assert!(run.stderr.contains("prefill 6 tokens"), "{}", run.stderr);
    assert!(run.stderr.contains("decode 24 tokens"), "{}", run.stderr);
    assert!(run.stderr.contains("seed 1 "), "{}", run.stderr);
    let text = run.text();
    let words = text
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphabetic))
        .count();
    assert!(words >= 8, "{text}");
    assert!(
        !text.contains("Once upon a time"),
        "the prompt must not be repeated: {text}"
    );
    assert!(!text.contains("tok/s"), "{text}");
}

#[test]
fn echo_puts_the_prompt_first() {
    let model = demo();
    let run = run(&[
        "generate",
        "-m",
        argument(&model),
        "-p",
        "The king",
        "-n",
        "3",
        "--temp",
        "0",
        "--echo",
    ]);
    assert!(run.text().starts_with("The king "));
}

#[test]
fn prompts_come_from_flag_file_or_pipe() {
    let folder = folder();
    let file = save(&folder, "prompt.txt", b"The old house\n");
    let tail = ["-n", "8", "--temp", "0"];
    let from_flag = run(&[&["generate", "-p", "The old house"], &tail[..]].concat()).text();
    let from_file = run(&[&["generate", "-f", argument(&file)], &tail[..]].concat()).text();
    let from_pipe =
        run_with_input(&[&["generate"], &tail[..]].concat(), b"The old house\r\n").text();
    assert!(!from_flag.is_empty());
    assert_eq!(from_flag, from_file);
    assert_eq!(from_flag, from_pipe);
}

#[test]
fn an_empty_prompt_starts_from_begin_of_text() {
    assert!(
        !run(&["generate", "-p", "", "-n", "4", "--seed", "3"])
            .text()
            .is_empty()
    );
}

#[test]
fn an_empty_prompt_without_begin_of_text_is_refused() {
    let folder = folder();
    let model = without_begin_of_text(&folder);
    run(&["generate", "-m", argument(&model), "-p", ""])
        .assert_fails(3, &["prompt", "nothing to read"]);
}

#[test]
fn one_seed_gives_one_text() {
    let text = |seed| {
        run(&[
            "generate", "-p", "A", "-n", "12", "--seed", seed, "--top-p", "1",
        ])
        .text()
    };
    assert_eq!(text("5"), text("5"));
    assert_ne!(text("5"), text("6"));
}

#[test]
fn the_seed_that_was_drawn_repeats_the_text() {
    let first = run(&["generate", "-p", "A", "-n", "12"]);
    let seed = first
        .stderr
        .split("seed ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(
        first.text(),
        run(&["generate", "-p", "A", "-n", "12", "--seed", &seed]).text()
    );
}

#[test]
fn chunk_size_and_threads_do_not_change_the_text() {
    let prompt =
        "It was the best of times, it was the worst of times, it was the age of wisdom".repeat(3);
    let text = |flags: &[&str]| {
        run(&[
            &["generate", "-p", &prompt, "-n", "8", "--temp", "0"],
            flags,
        ]
        .concat())
        .text()
    };
    let expected = text(&[]);
    for flags in [
        ["--chunk-size", "1"],
        ["--chunk-size", "7"],
        ["--chunk-size", "4096"],
        ["--threads", "1"],
    ] {
        assert_eq!(text(&flags), expected, "{flags:?}");
    }
}

#[test]
fn unfinished_characters_do_not_break_the_stream() {
    let folder = folder();
    let model = random(&folder);
    let run = run(&[
        "generate",
        "-m",
        argument(&model),
        "-p",
        "\u{e9}",
        "-n",
        "200",
        "--top-p",
        "1",
        "--seed",
        "2",
    ]);
    assert!(run.text().chars().count() > 20);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = folder();
    let mut child = endless_generation(&random(&folder), &[]);
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // and close it
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_prompt_in_the_cache_is_not_read_again_and_gives_the_same_text() {
    let folder = folder();
    let cache = folder.path().join("states");
    let run = |prompt: &str, more: &[&str]| {
        let flags = ["generate", "-p", prompt, "-n", "8", "--temp", "0"];
        run(&[&flags[..], more].concat())
    };
    let cached = ["--prompt-cache", argument(&cache)];
    for (prompt, read) in [
        ("The old house", "prefill 4 tokens"),
        ("The old house", "prefill 0 tokens"),
        ("The old house on the hill", "prefill 3 tokens"),
    ] {
        let with = run(prompt, &cached);
        assert!(with.stderr.contains(read), "{prompt}: {}", with.stderr);
        assert_eq!(with.text(), run(prompt, &[]).text());
    }

    for file in std::fs::read_dir(&cache).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let damaged = run("The old house", &cached);
    assert!(damaged.stderr.contains("checksum"), "{}", damaged.stderr);
    assert_eq!(damaged.text(), run("The old house", &[]).text());
}

/// An adapter chooses tokens in loops.
#[test]
fn an_adapter_writes_the_text_of_the_cpu() {
    let folder = folder();
    let model = random(&folder);
    let text = |backend: &str, more: &[&str]| {
        let flags = ["generate", "-m", argument(&model), "-p", "x", "-n", "90"];
        let exact = ["--precision", "exact", "--backend", backend];
        run(&[&flags[..], &GREEDY, &exact, more].concat()).text()
    };
    let expected = text("cpu", &[]);
    assert_eq!(text("vulkan", &[]), expected);
    let states = folder.path().join("states");
    for _ in 0..2 {
        let cached = ["--prompt-cache", argument(&states)];
        assert_eq!(text("vulkan", &cached), expected);
    }
}

#[test]
fn a_prompt_cache_that_is_no_folder_is_refused() {
    let folder = folder();
    let file = save(&folder, "taken", b"x");
    run(&["generate", "-p", "A", "--prompt-cache", argument(&file)])
        .assert_fails(5, &["cannot write", "taken"]);
}
