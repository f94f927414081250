//! Devices and what runs on them. The tests need an adapter, a software one at least, and fail without.

use std::path::Path;
use std::process::Output;

use crate::models::{folder, random};
use crate::program::{GREEDY, Run, argument, command, run};

const DEVICE: i32 = 4;

/// Greedy text by whatever `backend` is; long enough for several chunks and some decoding.
fn greedy_text(backend: &[&str]) -> Run {
    let prompt = "The old house stood at the end of the lane, and nobody had lived in it since the great storm.";
    let flags = ["generate", "-p", prompt, "-n", "8"];
    run(&[&flags[..], &GREEDY, backend].concat())
}

#[test]
fn adapters_are_listed_with_the_choice_and_its_reason() {
    let listing = run(&["devices", "--json"]).json();
    let adapters = listing["adapters"].as_array().unwrap();
    assert!(!adapters.is_empty(), "the tests need an adapter");
    for adapter in adapters {
        assert!(adapter["name"].is_string() && adapter["driver"].is_string());
        assert!(adapter["limits"]["storage_binding_bytes"].as_u64() > Some(0));
    }
    assert!(listing["reason"].is_string());
    let only_software = adapters.iter().all(|adapter| adapter["software"] == true);
    assert_eq!(
        listing["chosen"] == "cpu",
        only_software,
        "auto takes a GPU, never a software adapter: {listing}"
    );
    assert!(run(&["devices"]).text().contains("chosen: "));
}

#[test]
fn an_adapter_gives_the_text_of_the_cpu() {
    let expected = greedy_text(&["--backend", "cpu"]).text();
    for chunk_size in ["5", "64"] {
        let found = greedy_text(&["--backend", "vulkan", "--chunk-size", chunk_size]);
        assert_eq!(found.text(), expected, "chunks of {chunk_size}");
    }
}

#[test]
fn adapters_that_are_not_there_are_named_with_those_that_are() {
    greedy_text(&["--backend", "vulkan", "--device", "no such adapter"])
        .assert_fails(DEVICE, &["no such adapter", "there are: 0 "]);
    let missing = if cfg!(target_os = "macos") {
        "dx12"
    } else {
        "metal"
    };
    greedy_text(&["--backend", missing]).assert_fails(DEVICE, &[missing, "--backend cpu"]);
}

#[test]
fn an_adapter_and_the_cpu_exclude_each_other() {
    greedy_text(&["--backend", "cpu", "--device", "0"]).assert_fails(2, &["--device 0"]);
}

#[test]
fn block_sizes_that_the_kernels_do_not_have() {
    for size in ["0", "7", "64"] {
        greedy_text(&["--backend", "vulkan", "--block-size", size])
            .assert_fails(DEVICE, &["block size", size, "8 or 16"]);
    }
}

#[test]
fn the_cpu_does_without_a_block_size_and_says_so() {
    let run = greedy_text(&["--backend", "cpu", "--block-size", "16"]);
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("--block-size 16"), "{}", run.stderr);
}

#[test]
fn rounded_activations_are_not_for_the_cpu() {
    greedy_text(&["--backend", "cpu", "--activations", "q8"])
        .assert_fails(2, &["--activations q8", "--backend"]);
}

#[test]
fn without_a_gpu_auto_takes_the_cpu_and_says_so_in_one_line() {
    let listing = run(&["devices", "--json"]).json();
    let run = greedy_text(&["--backend", "auto"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let says_so = run.stderr.lines().filter(|line| line.contains("no GPU"));
    assert_eq!(says_so.count(), usize::from(listing["chosen"] == "cpu"));
}

#[test]
fn a_bench_keeps_every_sample() {
    let folder = folder();
    let model = random(&folder);
    let flags = ["bench", "-m", argument(&model), "--backend", "vulkan"];
    let sizes = [
        "--prefill",
        "5,9",
        "--chunk-size",
        "4,8",
        "--block-size",
        "8,16",
        "--decode",
        "3",
        "--parallel",
        "2,9",
        "--repeat",
        "2",
    ];
    let arguments = [&flags[..], &sizes].concat();
    let report = run(&[&arguments[..], &["-o", "json"]].concat()).json();
    let cases = report["cases"].as_array().unwrap();
    let prefills = cases.iter().filter(|case| case["task"] == "prefill");
    assert_eq!(prefills.count(), 2 * 2 * 2);
    let of_batches = 2 + 2 * 3;
    assert_eq!(
        cases.len(),
        2 * 2 * 2 + 1 + of_batches,
        "and one decode alone"
    );
    for task in ["sampled", "loop"] {
        let cases = cases.iter().filter(|case| case["task"] == task);
        let sequences: Vec<_> = cases.map(|case| case["sequences"].as_u64()).collect();
        assert_eq!(sequences, [Some(1), Some(2), Some(9)]);
    }
    let together = &cases[cases.len() - 1];
    assert_eq!([&together["sequences"], &together["tokens"]], [9, 3]);
    for case in cases {
        assert_eq!(case["samples_s"].as_array().unwrap().len(), 2);
        assert!(case["tokens_per_s"]["median"].as_f64() > Some(0.0));
    }
    assert_eq!(report["device"]["precision"], "exact");
    assert!(report["loads"][0]["device_bytes"].as_u64() > Some(0));

    let table = run(&arguments).text();
    assert!(
        ["| pp9 ", "| tg3 x9 ", "| tg3-sampled ", "| tg3-loop x2 "]
            .iter()
            .all(|row| table.contains(row)),
        "{table}"
    );
}

#[test]
fn a_bench_of_nothing_is_refused() {
    run(&["bench", "--prefill", "0", "--decode", "0"]).assert_fails(2, &["--prefill"]);
    run(&["bench", "--repeat", "0"]).assert_fails(2, &["--repeat"]);
    run(&["bench", "--parallel", "8,0"]).assert_fails(2, &["--parallel"]);
    run(&["bench", "--parallel", "8", "--decode", "0"]).assert_fails(2, &["--decode"]);
}

/// Runs the demo model on an adapter, with compiled kernels kept in `cache`.
fn run_with_cache(cache: &Path, flags: &[&str]) -> Output {
    let generate = ["generate", "-p", "x", "-n", "1", "--backend", "vulkan"];
    let output = command(&[&generate, flags].concat())
        .env("THALWEG_CACHE_DIR", cache)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn compiled_kernels_are_kept_unless_that_is_unwanted() {
    let folder = folder();
    let cache = folder.path().join("cache");
    run_with_cache(&cache, &["--no-cache"]);
    assert!(!cache.exists());
    run_with_cache(&cache, &[]);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
}

#[test]
fn kernels_that_cannot_be_kept_are_a_note() {
    let folder = folder();
    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let stderr = String::from_utf8(run_with_cache(&file, &[]).stderr).unwrap();
    assert!(stderr.contains("cannot keep compiled kernels") && stderr.contains("--no-cache"));
}
