//! `thalweg bench`, on the CPU: lists, orders, outputs, and going on with what there is.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::models::{folder, random, save};
use crate::program::{Run, argument, command, run};

const USAGE: i32 = 2;
const MODEL: i32 = 3;
const PATH: i32 = 5;

/// A run of the random model with flags that make it short.
fn bench(folder: &TempDir, flags: &[&str]) -> Run {
    let model = random(folder);
    let short = ["bench", "-m", argument(&model), "--repeat", "2"];
    run(&[&short[..], flags].concat())
}

fn cases(report: &Value) -> &[Value] {
    report["cases"].as_array().unwrap()
}

fn tests(report: &Value) -> Vec<&str> {
    let names = cases(report).iter().map(|case| case["test"].as_str());
    names.map(Option::unwrap).collect()
}

#[test]
fn lists_ranges_and_depths_make_every_combination() {
    let folder = folder();
    let sweep = [
        "--prefill",
        "3..12*2",
        "--chunk-size",
        "4,8",
        "--depth",
        "0,5",
        "--decode",
        "2",
        "--parallel",
        "1..3+2",
        "-o",
        "json",
    ];
    let report = bench(&folder, &sweep).json();
    let count = |test: &str| tests(&report).iter().filter(|name| **name == test).count();
    for (test, times) in [
        ("pp3", 2),
        ("pp6 @ d5", 2),
        ("pp12", 2),
        ("tg2", 1),
        ("tg2 @ d5", 1),
        ("tg2 x1", 1),
        ("tg2 x3 @ d5", 1),
        ("tg2-sampled", 1),
        ("tg2-sampled x3", 1),
    ] {
        assert_eq!(count(test), times, "{test}: {:?}", tests(&report));
    }
    for case in cases(&report) {
        assert_eq!(case["samples_s"].as_array().unwrap().len(), 2);
        assert!(case["first_s"].as_f64() > Some(0.0));
        assert!(case["gb_per_s"].as_f64() > Some(0.0) && case["tflop_per_s"].as_f64() > Some(0.0));
    }
    assert_eq!(report["loads"].as_array().unwrap().len(), 1);
    assert_eq!(report["seed"], 1);
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    let cases: &[(&[&str], &str)] = &[
        (&["--prefill", "512..64"], "ends before it begins"),
        (&["--prefill", "1..9*1"], "does not get on"),
        (&["--prefill", ""], "empty"),
        (&["--prefill", "1,,2"], "empty"),
        (&["--prefill", "99999999999"], "to 1048576"),
        (&["--prefill", "1..1048576"], "more than 1000"),
        (&["--decode", "-1"], "'-1'"),
        (&["--depth", "1.5"], "'1.5'"),
        (&["--chunk-size", "0"], "from 1 to 4096"),
        (&["--chunk-size", "64..8192*2"], "from 1 to 4096"),
        (&["--block-size", "big"], "'big'"),
        (&["--parallel", "0..8"], "from 1 to 1024"),
        (&["--parallel", "4096"], "from 1 to 1024"),
        (&["--activations", "f32,f64"], "q8"),
    ];
    for (flags, mention) in cases {
        run(&[&["bench"], *flags].concat()).assert_fails(USAGE, &[flags[0], mention]);
    }
}

#[test]
fn outputs_hold_the_same_tests() {
    let folder = folder();
    let output = |format| bench(&folder, &["--prefill", "4", "--decode", "2", "-o", format]).text();
    let markdown = output("md");
    assert!(markdown.starts_with("| model "), "{markdown}");
    assert!(
        markdown.contains("| random |") && markdown.contains(" ± "),
        "{markdown}"
    );
    let csv = output("csv");
    assert!(csv.starts_with("model,model_bytes,backend,"), "{csv}");
    let lines = output("jsonl");
    let tests: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["cases"][0]["test"].clone())
        .collect();
    assert_eq!(tests, ["pp4", "tg2", "tg2-sampled"]);
    assert_eq!(csv.lines().count(), 1 + tests.len());
    assert_eq!(markdown.lines().count(), 2 + tests.len());
    let table = output("table");
    assert!(
        table.contains("random order of seed 1") && table.contains("| pp4 "),
        "{table}"
    );
}

#[test]
fn only_samples_that_are_missing_are_taken() {
    let folder = folder();
    let first = bench(&folder, &["--prefill", "4", "--decode", "0", "-o", "jsonl"]).text();
    let file = save(&folder, "first.jsonl", first.as_bytes());
    let flags = [
        "--prefill",
        "4,5",
        "--decode",
        "0",
        "-o",
        "json",
        "--repeat",
        "3",
    ];
    let model = random(&folder);
    let resume = ["bench", "-m", argument(&model), "--resume", argument(&file)];
    let report = run(&[&resume[..], &flags].concat()).json();
    let former: Value = serde_json::from_str(first.trim()).unwrap();
    let (kept, resumed) = (&former["cases"][0], &cases(&report)[0]);
    assert_eq!(tests(&report), ["pp4", "pp5"]);
    assert_eq!(resumed["samples_s"].as_array().unwrap().len(), 3);
    assert_eq!(
        kept["samples_s"].as_array().unwrap()[..],
        resumed["samples_s"].as_array().unwrap()[..2]
    );
    assert_eq!(kept["first_s"], resumed["first_s"]);
}

#[test]
fn what_another_model_or_nobody_measured_is_not_resumed() {
    let folder = folder();
    let first = bench(&folder, &["--prefill", "4", "--decode", "0", "-o", "json"]).text();
    let other = first.replace("random.gguf", "another.gguf");
    let other = save(&folder, "other.json", other.as_bytes());
    let flags = ["--prefill", "4", "--decode", "0", "--resume"];
    let resume = |path: &Path| bench(&folder, &[&flags[..], &[argument(path)]].concat());
    resume(&other).assert_fails(USAGE, &["other.json", "another.gguf", "--resume"]);
    let noise = save(&folder, "noise.json", b"{\"cases\": 7}");
    resume(&noise).assert_fails(MODEL, &["noise.json", "thalweg bench"]);
    let missing = folder.path().join("missing.json");
    resume(&missing).assert_fails(PATH, &["missing.json"]);
}

#[test]
fn ratios_to_llama_bench() {
    let folder = folder();
    let theirs = r#"[{"backends": "CUDA", "model_type": "rwkv7 0.1B", "model_size": 7, "n_prompt": 4, "n_gen": 0,
        "n_depth": 0, "avg_ts": 0.001, "stddev_ts": 0.0, "samples_ts": [0.001]}]"#;
    let file = save(&folder, "llama.json", theirs.as_bytes());
    let flags = ["--prefill", "4", "--decode", "0", "--compare-llama-bench"];
    let run = bench(&folder, &[&flags[..], &[argument(&file)]].concat());
    assert!(run.stderr.contains("not the same model"), "{}", run.stderr);
    let text = run.text();
    assert!(
        text.contains("llama.cpp tok/s") && text.contains(" CUDA |"),
        "{text}"
    );
    let wrong = save(&folder, "wrong.json", b"[{\"n_prompt\": 4}]");
    bench(&folder, &[&flags[..], &[argument(&wrong)]].concat())
        .assert_fails(MODEL, &["wrong.json", "llama-bench -o json"]);
}

#[test]
fn pictures_of_what_varies() {
    let folder = folder();
    let pictures = folder.path().join("pictures/of/this");
    let flags = [
        "--prefill",
        "8",
        "--chunk-size",
        "2,4,8",
        "--decode",
        "2",
        "--parallel",
        "2",
    ];
    let run = bench(
        &folder,
        &[&flags[..], &["--plot", argument(&pictures)]].concat(),
    );
    assert!(run.stderr.contains("drew "), "{}", run.stderr);
    run.text();
    for name in ["chunk-size", "sequences"] {
        let svg = std::fs::read_to_string(pictures.join(format!("{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("random"));
        let png = std::fs::read(pictures.join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_found_out_first() {
    let folder = folder();
    let file = save(&folder, "a file", b"");
    for place in [file.clone(), file.join("inside")] {
        bench(&folder, &["--plot", argument(&place)]).assert_fails(PATH, &["a file", "--plot"]);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_measurement_keeps_what_it_has() {
    use crate::interrupts::press_ctrl_c;
    use std::time::Duration;

    let folder = folder();
    let model = random(&folder);
    let flags = [
        "--prefill",
        "4",
        "--decode",
        "0",
        "--repeat",
        "65535",
        "-o",
        "json",
    ];
    let child = command(&[&["bench", "-m", argument(&model)], &flags[..]].concat())
        .spawn()
        .unwrap();
    // Warm after half a second; so many samples take many seconds more.
    std::thread::sleep(Duration::from_millis(2500));
    press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let samples = cases(&report)[0]["samples_s"].as_array().unwrap().len();
    assert!((1..65535).contains(&samples), "{samples}");
}

#[test]
fn limits_of_a_device_and_how_near_tests_come_to_them() {
    let folder = folder();
    let flags = [
        "--prefill",
        "4",
        "--decode",
        "2",
        "--limits",
        "-o",
        "json",
        "--backend",
    ];
    let report = bench(&folder, &[&flags[..], &["vulkan"]].concat()).json();
    assert!(report["limits"]["read_bytes_per_s"].as_f64() > Some(0.0));
    assert!(report["limits"]["fma_flop_per_s"].as_f64() > Some(0.0));
    for case in cases(&report) {
        let percent = case["share_of_limit"]["percent"].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&percent), "{case}");
    }
    bench(&folder, &[&flags[..], &["cpu"]].concat())
        .assert_fails(USAGE, &["--limits", "--backend"]);
}

/// The check of a run of the demo model that measures next to nothing.
fn checked(flags: &[&str]) -> Value {
    let short = ["bench", "--check", "--repeat", "1", "-o", "json"];
    run(&[&short[..], flags].concat()).json()["check"].clone()
}

fn findings(check: &Value) -> impl Iterator<Item = &Value> {
    check["findings"].as_array().unwrap().iter()
}

#[test]
fn the_cpu_comes_to_the_same_in_all_chunks() {
    let check = checked(&["--prefill", "40", "--chunk-size", "8,64", "--decode", "2"]);
    assert_eq!(check["passed"], true, "{check}");
    assert_eq!(findings(&check).count(), 5, "{check}");
    for finding in findings(&check) {
        assert_eq!(finding["tolerance"], 0.0);
        assert_eq!(
            (&finding["logits"], &finding["state"]),
            (&0.0.into(), &0.0.into())
        );
        let reference = finding["reference"].as_str().unwrap();
        assert!(reference.contains("itself in"), "{reference}");
    }
}

#[test]
fn a_device_comes_to_what_the_cpu_does() {
    let sizes = ["--prefill", "40", "--chunk-size", "16", "--decode", "1"];
    let more = ["--parallel", "5", "--backend", "vulkan"];
    let check = checked(&[&sizes[..], &more].concat());
    assert_eq!(check["passed"], true, "{check}");
    let all: Vec<&Value> = findings(&check).collect();
    // Not the CPU itself: sums are in another order.
    assert!(
        all[0]["logits"].as_f64() > Some(0.0) && all[0]["rows"] == 7,
        "{check}"
    );
    for what in [
        "3 sequences, ",
        "in a loop",
        "steps of 5 sequences",
        "in chunks of 16",
    ] {
        let has = |finding: &&Value| finding["what"].as_str().unwrap().contains(what);
        assert!(all.iter().any(has), "{what}: {check}");
    }
}

#[test]
fn a_check_is_a_line_even_if_nothing_is_measured() {
    let folder = folder();
    for (decode, format) in [("1", "table"), ("0", "table"), ("1", "md")] {
        let flags = [
            "--check",
            "--prefill",
            "0",
            "--decode",
            decode,
            "-o",
            format,
        ];
        let text = bench(&folder, &flags).text();
        assert!(text.contains("check, activations f32: passed: "), "{text}");
        assert_eq!(text.contains("tg1"), decode == "1", "{text}");
    }
}
