//! `thalweg bench --ops`.

use serde_json::Value;
use tempfile::TempDir;

use crate::models::{folder, random, save};
use crate::program::{Run, argument, run};

const USAGE: i32 = 2;

fn operations(folder: &TempDir, flags: &[&str]) -> Run {
    let model = random(folder);
    let short = ["bench", "--ops", "-m", argument(&model), "--repeat", "2"];
    run(&[&short[..], flags].concat())
}

/// Name, tokens, and the forms of every operation.
fn forms(report: &Value) -> Vec<(&str, u64, &[Value])> {
    let operations = report["operations"].as_array().unwrap().iter();
    let parts = operations.map(|operation| {
        let name = operation["operation"].as_str().unwrap();
        let tokens = operation["tokens"].as_u64().unwrap();
        (name, tokens, &operation["forms"].as_array().unwrap()[..])
    });
    parts.collect()
}

fn samples(form: &Value, name: &str) -> usize {
    let samples = form[name].as_array().unwrap();
    assert!(samples.iter().all(|sample| sample.as_f64() > Some(0.0)));
    samples.len()
}

#[test]
fn the_twins_have_no_launches() {
    let report = operations(&folder(), &["-o", "json"]).json();
    let forms = forms(&report);
    assert!(forms.iter().any(|(name, ..)| *name == "softmax"));
    for (name, _, forms) in forms {
        assert_eq!(forms.len(), 1, "{name}");
        assert_eq!(samples(&forms[0], "alone_s"), 2, "{name}");
        assert_eq!(samples(&forms[0], "launched_s"), 0, "{name}");
    }
}

#[test]
fn a_device_takes_every_form_alone_and_launched() {
    let report = operations(&folder(), &["-o", "json", "--backend", "vulkan"]).json();
    let forms = forms(&report);
    for (name, tokens, count) in [
        ("nothing", 1, 1),
        ("layer norm", 256, 1),
        ("layer norm, 6 token shifts", 1, 2),
        ("low-rank chain", 1, 2),
        ("product", 256, 1),
        ("layer norm, token shift, product, squared relu", 1, 2),
    ] {
        let is_it = |form: &&(&str, u64, &[Value])| (form.0, form.1) == (name, tokens);
        let (.., forms) = forms.iter().find(is_it).unwrap();
        assert_eq!(forms.len(), count, "{name}");
        for form in forms.iter() {
            assert_eq!(samples(form, "alone_s"), 2, "{name}");
            assert_eq!(samples(form, "launched_s"), 2, "{name}");
        }
        if let [unfused, fused] = forms {
            assert_eq!([&unfused["form"], &fused["form"]], ["unfused", "fused"]);
            let dispatches = |form: &Value| form["dispatches"].as_u64().unwrap();
            assert!(dispatches(unfused) > dispatches(fused), "{name}");
        }
    }
}

#[test]
fn people_get_a_table_and_a_report() {
    let folder = folder();
    let table = operations(&folder, &[]).text();
    assert!(table.contains("\n| operation "), "{table}");
    let page = operations(&folder, &["-o", "md"]).text();
    assert!(page.starts_with("- thalweg "), "{page}");
    let json = operations(&folder, &["-o", "json"]).text();
    save(&folder, "ops.json", json.as_bytes());
    let file = folder.path().join("REPORT.md");
    let flags = ["bench", "--report", argument(&file), "--results"];
    run(&[&flags[..], &[argument(folder.path())]].concat()).text();
    let report = std::fs::read_to_string(file).unwrap();
    assert!(
        report.contains("**ops**: shapes of random.gguf"),
        "{report}"
    );
}

#[test]
fn flags_that_say_something_else_are_refused() {
    let folder = folder();
    for flags in [
        ["--prefill", "5"],
        ["--decode", "5"],
        ["--parallel", "2"],
        ["--report", "x.md"],
        ["--plot", "x"],
    ] {
        operations(&folder, &flags).assert_fails(USAGE, &["--ops", flags[0]]);
    }
    operations(&folder, &["-o", "csv"]).assert_fails(USAGE, &["--ops", "json"]);
    run(&["bench", "--ops", "--repeat", "0"]).assert_fails(USAGE, &["--repeat"]);
}
