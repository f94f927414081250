//! `thalweg profile`. The tests need an adapter with timestamps, as software ones have.

use crate::models::{folder, random};
use crate::program::{Run, argument, run};

/// The shortest profile of a random model, unless the flags say more.
fn profile(flags: &[&str]) -> Run {
    let folder = folder();
    let model = random(&folder);
    let mut arguments = vec!["profile", "-m", argument(&model)];
    for short in [["--prefill", "5"], ["--decode", "2"], ["--repeat", "1"]] {
        if !flags.contains(&short[0]) {
            arguments.extend(short);
        }
    }
    run(&[&arguments, flags].concat())
}

const VULKAN: [&str; 2] = ["--backend", "vulkan"];

#[test]
fn every_dispatch_of_a_step_is_counted_and_timed() {
    let json = profile(&[&VULKAN[..], &["-o", "json"]].concat()).json();
    let stages = json["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| &stage["name"]).collect();
    assert_eq!(names, ["prefill 5", "decode"]);
    for stage in stages {
        let kernels = stage["kernels"].as_array().unwrap();
        let counted = kernels
            .iter()
            .map(|kernel| kernel["count"].as_u64().unwrap());
        let dispatches = stage["dispatches"].as_array().unwrap();
        assert_eq!(counted.sum::<u64>(), dispatches.len() as u64);
        let shares = kernels
            .iter()
            .map(|kernel| kernel["share"].as_f64().unwrap());
        assert!((shares.sum::<f64>() - 1.0).abs() < 1e-9, "{stage}");
        let begins = dispatches
            .iter()
            .map(|dispatch| dispatch["begin_s"].as_f64().unwrap());
        assert!(begins.is_sorted(), "kernels are in order: {stage}");
        let seconds = |name: &str| stage[name].as_f64().unwrap();
        assert!(
            seconds("wall_s") > 0.0 && seconds("device_s") > 0.0,
            "{stage}"
        );
        assert!(seconds("dispatches_s") > 0.0, "{stage}");
        assert!(stage["host"]["wait_s"].as_f64() > Some(0.0), "{stage}");
    }
    let decode = &stages[1];
    assert!(decode["loop_s"].as_f64() > Some(0.0));
    assert!(decode["sampling_s"].as_f64() > Some(0.0), "{decode}");
    assert_eq!(stages[0]["sampling_s"].as_f64(), Some(0.0));
}

#[test]
fn people_get_tables_of_kernels_and_of_the_host() {
    let text = profile(&VULKAN).text();
    for part in [
        "\nprefill 5\n",
        "\ndecode\n",
        "| kernel ",
        "| embedding",
        "| waiting for the device ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("% of limit"), "{text}");
    let page = profile(
        &[
            &VULKAN[..],
            &["-o", "md", "--prefill", "0", "--parallel", "3"],
        ]
        .concat(),
    );
    let page = page.text();
    assert!(page.contains("\n## decode x3\n"), "{page}");
    assert!(!page.contains("## prefill"), "{page}");
}

#[test]
fn kernels_are_held_against_the_devices_limits() {
    let flags = ["--limits", "-o", "json", "--decode", "0"];
    let json = profile(&[&VULKAN[..], &flags].concat()).json();
    assert!(
        json["limits"]["read_bytes_per_s"].as_f64() > Some(0.0),
        "{json}"
    );
    let kernels = json["stages"][0]["kernels"].as_array().unwrap();
    let shares = kernels.iter().map(|kernel| &kernel["share_of_limit"]);
    for share in shares.filter(|share| !share.is_null()) {
        assert!(share["percent"].as_f64() >= Some(0.0), "{share}");
        assert!(["read", "fma", "matrix"].contains(&share["of"].as_str().unwrap()));
    }
}

#[test]
fn a_trace_has_the_kernels_in_order() {
    let folder = folder();
    let path = folder.path().join("trace.json");
    profile(&[&VULKAN[..], &["--decode", "0", "--trace", argument(&path)]].concat()).text();
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let bars: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert!(bars[0]["name"].as_str().unwrap().starts_with("embedding"));
    let ends = |bar: &serde_json::Value| bar["ts"].as_f64().unwrap() + bar["dur"].as_f64().unwrap();
    for pair in bars.windows(2) {
        assert!(pair[1]["ts"].as_f64().unwrap() >= ends(pair[0]) - 1e-3);
    }
}

#[test]
fn what_cannot_be_profiled_is_said() {
    profile(&["--backend", "cpu"]).assert_fails(2, &["the CPU computes", "--backend"]);
    profile(&[&VULKAN[..], &["--features-off", "timestamps"]].concat())
        .assert_fails(4, &["no timestamps", "--features-off"]);
    profile(&["--prefill", "0", "--decode", "0"]).assert_fails(2, &["--prefill", "--decode"]);
    profile(&[&VULKAN[..], &["--trace", "no/such/folder/trace.json"]].concat())
        .assert_fails(5, &["cannot write", "trace.json"]);
}
