//! `thalweg batch`: a file of prompts, a file of replies.

#[cfg(unix)]
mod going_on;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::models::{folder, random, save, with_nan_scale};
use crate::program::{GREEDY, Run, argument, run, run_with_input};

/// A folder with a model, and an input and an output beside it.
struct Place {
    folder: TempDir,
    model: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = folder();
        let model = random(&folder);
        Self { folder, model }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out.jsonl")
    }

    fn arguments<'a>(
        &'a self,
        input: &'a Path,
        output: &'a Path,
        more: &[&'a str],
    ) -> Vec<&'a str> {
        let files = [
            "batch",
            "-m",
            argument(&self.model),
            "-i",
            argument(input),
            "-o",
            argument(output),
        ];
        [&files[..], &GREEDY, more].concat()
    }

    /// Runs over lines in a file, and returns the lines in the other.
    fn run(&self, input: &[u8], more: &[&str]) -> (Run, Vec<Value>) {
        let input = save(&self.folder, "prompts.jsonl", input);
        let run = run(&self.arguments(&input, &self.output(), more));
        let lines = self.lines();
        (run, lines)
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.output()).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        parsed(&text)
    }

    /// What `generate` makes of a prompt.
    fn generated(&self, prompt: &str, more: &[&str]) -> String {
        let flags = ["generate", "-m", argument(&self.model), "-p", prompt];
        run(&[&flags[..], &GREEDY, more].concat()).text()
    }
}

fn parsed(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The lines of an output, by id.
fn by_id<'a>(lines: &'a [Value], id: &str) -> &'a Value {
    let mut found = lines.iter().filter(|line| line["id"] == *id);
    let line = found.next().unwrap();
    assert!(found.next().is_none(), "{id} is there twice");
    line
}

fn prompts(count: usize) -> String {
    (0..count)
        .map(|i| {
            format!(
                "{{\"id\": \"{i}\", \"prompt\": \"{}\"}}\n",
                "The river ".repeat(1 + i % 5)
            )
        })
        .collect()
}

#[test]
fn every_prompt_gets_the_reply_that_it_gets_alone() {
    let place = Place::new();
    let input = prompts(10);
    for parallel in ["1", "3", "64"] {
        let (run, lines) = place.run(input.as_bytes(), &["-n", "6", "--parallel", parallel]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.is_empty());
        assert!(
            run.stderr.contains("10 replies, 0 failed"),
            "{}",
            run.stderr
        );
        assert_eq!(lines.len(), 10);
        for i in 0..5 {
            let prompt = "The river ".repeat(1 + i);
            let reply = by_id(&lines, &(i + 5).to_string());
            assert_eq!(
                reply["text"],
                place.generated(&prompt, &["-n", "6"]),
                "{reply}"
            );
            assert_eq!(reply["prompt_tokens"], prompt.len());
            assert_eq!(
                (&reply["tokens"], &reply["line"]),
                (&6.into(), &(i + 6).into())
            );
            assert_eq!(reply["finish"], "limit");
            assert!(reply["timing"]["first_token_s"].as_f64() > Some(0.0));
        }
        std::fs::remove_file(place.output()).unwrap();
    }
}

#[test]
fn lines_have_settings_of_their_own() {
    let place = Place::new();
    let long = place.generated("Once", &["-n", "60"]);
    let stop: String = long.chars().skip(8).take(2).collect();
    let input = [
        serde_json::json!({"id": "short", "prompt": "Once", "n": 3}),
        serde_json::json!({"id": "warm", "prompt": "Once", "temp": 2, "top-p": 1.0, "seed": 7, "tokens": 20}),
        serde_json::json!({"id": "stopped", "prompt": "Once", "stop": stop, "n": 60}),
        serde_json::json!({"id": "probable", "prompt": "Once", "n": 4, "logprobs": 2}),
        serde_json::json!({"prompt": "Once", "n": 0}),
        serde_json::json!({"id": "talk", "messages": [{"role": "user", "content": "Hello"}], "n": 5}),
    ];
    let input: String = input.iter().map(|line| format!("{line}\n")).collect();
    let (run, lines) = place.run(input.as_bytes(), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        by_id(&lines, "short")["text"],
        place.generated("Once", &["-n", "3"])
    );
    let warm = place.generated("Once", &["-n", "20"]);
    let flags = [
        "generate",
        "-m",
        argument(&place.model),
        "-p",
        "Once",
        "-n",
        "20",
    ];
    let own = ["--temp", "2", "--top-p", "1", "--seed", "7"];
    let no_penalties = &GREEDY[2..];
    let expected = crate::program::run(&[&flags[..], &own, no_penalties].concat()).text();
    assert_ne!(expected, warm);
    assert_eq!(
        (
            &by_id(&lines, "warm")["text"],
            &by_id(&lines, "warm")["seed"]
        ),
        (&expected.into(), &7.into())
    );
    let stopped = by_id(&lines, "stopped");
    assert_eq!(stopped["finish"], "stop_string");
    assert_eq!(stopped["text"], long.split(&stop).next().unwrap());
    let probable = by_id(&lines, "probable")["logprobs"].as_array().unwrap();
    assert_eq!(probable.len(), 4);
    for token in probable {
        assert!(token["logprob"].as_f64() <= Some(0.0));
        assert_eq!(
            token["id"], token["top"][0]["id"],
            "greedy takes the most probable"
        );
        assert_eq!(token["top"].as_array().unwrap().len(), 2);
    }
    let nothing = lines.iter().find(|line| line["id"] == 5).unwrap();
    assert_eq!(
        (&nothing["text"], &nothing["tokens"]),
        (&"".into(), &0.into())
    );
    assert!(nothing.get("logprobs").is_none());
    let talk = place.generated("User: Hello\n\nAssistant:", &["-n", "5"]);
    assert_eq!(by_id(&lines, "talk")["text"], talk);
}

#[test]
fn seeds_count_up_with_the_lines() {
    let place = Place::new();
    let warm = ["--temp", "2", "--top-p", "1", "--seed", "5", "-n", "12"];
    let input = save(
        &place.folder,
        "prompts.jsonl",
        b"{\"prompt\": \"x\"}\n\n{\"prompt\": \"x\"}\n",
    );
    let files = [
        "batch",
        "-m",
        argument(&place.model),
        "-i",
        argument(&input),
        "--ordered",
    ];
    let lines = parsed(&run(&[&files[..], &warm].concat()).text());
    assert_eq!(
        (&lines[0]["seed"], &lines[1]["seed"]),
        (&6.into(), &8.into())
    );
    assert_ne!(lines[0]["text"], lines[1]["text"]);
    let again = parsed(&run(&[&files[..], &warm].concat()).text());
    assert_eq!(lines[1]["text"], again[1]["text"]);
}

#[test]
fn bad_lines_do_not_stop_the_others() {
    let place = Place::new();
    let cases: &[(&[u8], Value, &str)] = &[
        (b"hello", 1.into(), "column 1"),
        (b"{\"id\": \"a\", \"prompt\": \"x\"}", Value::Null, ""),
        (b"{\"id\": \"a\", \"prompt\": \"y\"}", "a".into(), "line 2 too"),
        (b"{\"id\": \"b\", \"prompt\": \"x\", \"temp\": -3}", "b".into(), "temp is -3; expected"),
        (b"{\"id\": \"c\", \"prompt\": \"x\", \"temp\": 1e999}", "c".into(), "expected a number"),
        (b"{\"id\": \"d\", \"prompt\": \"x\", \"tmp\": 3}", "d".into(), "unknown field `tmp`"),
        (b"{\"prompt\": \"\xff\"}", 7.into(), "byte 13"),
        (b"{\"id\": 99}", 99.into(), "\"prompt\" or \"messages\""),
        (b"{\"id\": \"e\", \"prompt\": \"x\", \"n\": 99999999999}", "e".into(), "tokens is 99999999999"),
        (b"{\"id\": \"f\", \"prompt\": \"x\", \"logprobs\": 21}", "f".into(), "logprobs is 21"),
        (b"\xef\xbb\xbf{\"prompt\": \"x\"}", 11.into(), "expected"),
        (
            br#"{"id": "g", "messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]}"#,
            "g".into(),
            "system",
        ),
        (b"{\"prompt\": \"the last\"}", Value::Null, ""),
    ];
    let input: Vec<&[u8]> = cases.iter().map(|(line, ..)| *line).collect();
    let (run, lines) = place.run(&input.join(&b'\n'), &["-n", "2", "--ordered"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let last = run.stderr.lines().last().unwrap();
    for part in [
        "error: lines failed: 11",
        "prompts.jsonl, line 1:",
        "out.jsonl",
        "again",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    assert_eq!(lines.len(), cases.len());
    for (number, (line, (input, id, mention))) in (1..).zip(lines.iter().zip(cases)) {
        assert_eq!(line["line"], number);
        if mention.is_empty() {
            assert!(line["text"].is_string(), "{line}");
            continue;
        }
        let error = line["error"].as_str().unwrap();
        assert!(
            error.contains(&format!("prompts.jsonl, line {number}: ")),
            "{error}"
        );
        assert!(
            error.contains(mention),
            "{error} for {}",
            String::from_utf8_lossy(input)
        );
        assert_eq!(line["id"], *id, "{line}");
    }
}

#[test]
fn a_line_too_long_is_not_held() {
    let place = Place::new();
    let input = [&vec![b'x'; (64 << 20) + 1][..], b"\n{\"prompt\": \"y\"}"].concat();
    let flags = [
        "batch",
        "-m",
        argument(&place.model),
        "-n",
        "2",
        "--ordered",
    ];
    let run = run_with_input(&flags, &input);
    assert_eq!(run.code, 3);
    let lines = parsed(&String::from_utf8(run.stdout).unwrap());
    assert!(
        lines[0]["error"]
            .as_str()
            .unwrap()
            .contains("67108866 bytes"),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1]["tokens"], 2);
}

#[test]
fn a_model_that_fails_fails_each_line() {
    let place = Place::new();
    let model = with_nan_scale(&place.folder);
    let run = run_with_input(&["batch", "-m", argument(&model)], prompts(2).as_bytes());
    assert_eq!(run.code, 3);
    for line in parsed(&String::from_utf8(run.stdout).unwrap()) {
        assert!(
            line["error"].as_str().unwrap().contains("--check-tensors"),
            "{line}"
        );
    }
}

#[test]
fn the_order_is_that_of_the_input_if_wanted() {
    let place = Place::new();
    let input: String = (1..=12)
        .map(|i| {
            format!(
                "{{\"prompt\": \"x\", \"n\": {}}}\n",
                if i == 1 { 200 } else { 13 - i }
            )
        })
        .collect();
    let order = |flags: &[&str]| -> Vec<u64> {
        let (run, lines) = place.run(input.as_bytes(), flags);
        assert_eq!(run.code, 0, "{}", run.stderr);
        std::fs::remove_file(place.output()).unwrap();
        lines
            .iter()
            .map(|line| line["id"].as_u64().unwrap())
            .collect()
    };
    let sorted: Vec<u64> = (1..=12).collect();
    assert_eq!(order(&["--parallel", "4", "--ordered"]), sorted);
    assert_eq!(order(&["--parallel", "1", "--ordered"]), sorted);
    assert_eq!(
        order(&["--parallel", "12"])[11],
        1,
        "the longest comes last"
    );
}

#[test]
fn prompts_and_replies_go_through_pipes() {
    let place = Place::new();
    let flags = ["batch", "-m", argument(&place.model), "-n", "2", "--json"];
    let run = run_with_input(&flags, b"{\"prompt\": \"x\"}\r\n\r\n{\"prompt\": \"y\"}");
    let summary: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(summary["replies"], 2);
    assert_eq!(parsed(&run.text()).len(), 2);
    let nothing = run_with_input(&flags, b"");
    assert_eq!(nothing.text(), "");
}

#[test]
fn flags_and_files_that_make_no_sense() {
    let place = Place::new();
    let input = save(&place.folder, "prompts.jsonl", prompts(1).as_bytes());
    let missing = place.folder.path().join("missing").join("x.jsonl");
    let output = place.output();
    let usage: &[(&[&str], &str)] = &[
        (&["--parallel", "0"], "1..=1024"),
        (&["--parallel", "1025"], "1..=1024"),
        (&["--logprobs", "21"], "20"),
        (&["--seed", "-1"], "--seed"),
        (&["-n", "1048577"], "--tokens is 1048577"),
        (&["--penalty-decay", "7"], "--penalty-decay is 7"),
    ];
    for (flags, mention) in usage {
        run(&place.arguments(&input, &output, flags)).assert_fails(2, &[mention]);
    }
    run(&place.arguments(&missing, &output, &[])).assert_fails(5, &["missing"]);
    run(&place.arguments(&input, &missing, &[])).assert_fails(5, &["missing"]);
    run(&place.arguments(place.folder.path(), &output, &[])).assert_fails(5, &["cannot read"]);
    let stops = ["--stop", "x"].repeat(65);
    run(&place.arguments(&input, &output, &stops)).assert_fails(2, &["--stop is given 65 times"]);
}

#[test]
fn a_prompt_in_the_cache_is_not_read_again() {
    let place = Place::new();
    let cache = place.folder.path().join("states");
    let flags = ["-n", "4", "--prompt-cache", argument(&cache)];
    let mut texts = Vec::new();
    for _ in 0..2 {
        let (run, lines) = place.run(prompts(3).as_bytes(), &flags);
        assert_eq!(run.code, 0, "{}", run.stderr);
        texts.push(by_id(&lines, "2")["text"].clone());
        std::fs::remove_file(place.output()).unwrap();
    }
    assert!(std::fs::read_dir(&cache).unwrap().count() > 0);
    assert_eq!(texts[0], texts[1]);
}

/// Many more lines than are read ahead, of all kinds, in both orders: each comes out once.
#[test]
fn no_line_is_lost() {
    let place = Place::new();
    let input: String = (1..=300)
        .map(|i| match i % 7 {
            0 => "no json\n".to_owned(),
            1 => "\n".to_owned(),
            _ => format!(
                "{{\"prompt\": \"{}\", \"n\": {}}}\n",
                "y".repeat(i % 11),
                i % 5
            ),
        })
        .collect();
    for flags in [&["--parallel", "2"][..], &["--parallel", "2", "--ordered"]] {
        let (run, lines) = place.run(input.as_bytes(), flags);
        assert_eq!(run.code, 3, "{}", run.stderr);
        let mut ids: Vec<u64> = lines
            .iter()
            .map(|line| line["id"].as_u64().unwrap())
            .collect();
        if !flags.contains(&"--ordered") {
            ids.sort_unstable();
        }
        let expected: Vec<u64> = (1..=300).filter(|i| i % 7 != 1).collect();
        assert_eq!(ids, expected);
        std::fs::remove_file(place.output()).unwrap();
    }
}

#[test]
fn an_adapter_gives_the_replies_of_the_cpu() {
    let place = Place::new();
    let texts = |backend: &str| {
        let (run, lines) = place.run(
            prompts(5).as_bytes(),
            &[
                "-n",
                "4",
                "--parallel",
                "3",
                "--ordered",
                "--precision",
                "exact",
                "--backend",
                backend,
            ],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        std::fs::remove_file(place.output()).unwrap();
        lines
            .iter()
            .map(|line| line["text"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts("vulkan"), texts("cpu"));
}
