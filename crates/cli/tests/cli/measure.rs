//! `thalweg perplexity` and `thalweg logits`.

use std::path::Path;

use crate::models::{VOCAB, folder, random, save};
use crate::program::{argument, run};

const STORY: &str = "The river ran down from the hills, and the boat went with it. \"Where are we going?\" asked the \
    girl. \"To the sea,\" said the old man, \"where all the rivers go.\" She looked at the water for a long time. ";

#[test]
fn perplexity_is_reported_as_json() {
    let folder = folder();
    let text = save(&folder, "story.txt", STORY.repeat(14).as_bytes());
    let json = run(&[
        "perplexity",
        "-f",
        argument(&text),
        "--json",
        "--windows",
        "1",
    ])
    .json();
    assert_eq!(json["windows"], 1);
    assert_eq!(json["scored_tokens"], 255);
    let perplexity = json["perplexity"].as_f64().unwrap();
    assert!(
        perplexity > 1.0 && perplexity < 8.0,
        "a text that repeats itself is easy: {perplexity}"
    );
    let nats = json["nats_per_token"].as_f64().unwrap();
    assert!((nats.exp() - perplexity).abs() < 1e-9);
}

#[test]
fn perplexity_does_not_depend_on_the_chunk_size() {
    let folder = folder();
    let model = random(&folder);
    let text = save(&folder, "story.txt", STORY.repeat(6).as_bytes());
    let perplexity = |chunk_size| {
        let flags = [
            "-m",
            argument(&model),
            "-f",
            argument(&text),
            "--json",
            "--chunk-size",
            chunk_size,
        ];
        let json = run(&[&["perplexity"], &flags[..]].concat()).json();
        assert_eq!(json["windows"], 2);
        json["perplexity"].as_f64().unwrap()
    };
    let expected = perplexity("512");
    for chunk_size in ["1", "7", "64", "257"] {
        assert!(
            (perplexity(chunk_size) / expected - 1.0).abs() < 1e-5,
            "chunk size {chunk_size}"
        );
    }
}

#[test]
fn a_text_shorter_than_a_window_is_refused() {
    let folder = folder();
    let text = save(&folder, "short.txt", b"Too short.");
    run(&["perplexity", "-f", argument(&text)]).assert_fails(3, &["512", "longer text"]);
}

/// Logits of the random model after `ids`, by rows.
fn logits(model: &Path, flags: &[&str]) -> Vec<Vec<f32>> {
    let folder = folder();
    let output = folder.path().join("out.f32");
    let run = run(&[
        &["logits", "-m", argument(model), "-o", argument(&output)],
        flags,
    ]
    .concat());
    assert_eq!(run.text(), "");
    let bytes = std::fs::read(output).unwrap();
    let numbers: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    numbers.chunks(VOCAB).map(<[f32]>::to_vec).collect()
}

fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn logits_are_those_of_the_given_ids_alone() {
    let folder = folder();
    let model = random(&folder);
    let ids_file = save(&folder, "ids.txt", b" 5, 6\n7\t8,\r\n9 ");
    let last = logits(&model, &["--ids", "5,6,7,8,9"]);
    let all = logits(&model, &["--ids-file", argument(&ids_file), "--all"]);
    assert_eq!((last.len(), all.len()), (1, 5));
    assert_eq!(last[0].len(), VOCAB);
    assert_close(&last[0], &all[4]);
    assert_close(&logits(&model, &["--ids", "5"])[0], &all[0]);
    assert_ne!(all[0], all[1]);
    for chunk_size in ["1", "2", "5"] {
        let chunked = logits(
            &model,
            &["--ids", "5 6 7 8 9", "--all", "--chunk-size", chunk_size],
        );
        chunked
            .iter()
            .zip(&all)
            .for_each(|(a, b)| assert_close(a, b));
    }
}

#[test]
fn ids_outside_the_vocabulary_are_refused() {
    let folder = folder();
    let model = random(&folder);
    let output = folder.path().join("out.f32");
    let ids = format!("5,{VOCAB}");
    run(&[
        "logits",
        "-m",
        argument(&model),
        "--ids",
        &ids,
        "-o",
        argument(&output),
    ])
    .assert_fails(3, &["257", "below 257"]);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let folder = folder();
    let model = random(&folder);
    let output = folder.path().join("no/such/folder/out.f32");
    run(&[
        "logits",
        "-m",
        argument(&model),
        "--ids",
        "5",
        "-o",
        argument(&output),
    ])
    .assert_fails(5, &["cannot write", "out.f32"]);
}
