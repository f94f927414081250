//! `thalweg compare`: results side by side.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::models::{folder, save};
use crate::program::{argument, run};

const USAGE: i32 = 2;
const MODEL: i32 = 3;
const PATH: i32 = 5;

/// A result that lies in the checkout, of the first form that results had.
fn kept(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/results");
    folder.join(format!("h200-vulkan-{name}.json"))
}

/// The same with something replaced.
fn changed(folder: &TempDir, name: &str, from: &str, to: &str) -> PathBuf {
    let text = std::fs::read_to_string(kept(name)).unwrap();
    assert!(text.contains(from));
    save(folder, "changed.json", text.replace(from, to).as_bytes())
}

#[test]
fn runs_of_one_model_are_set_side_by_side() {
    let (fast, exact) = (kept("2.9b-q4_k_m-fast"), kept("2.9b-q4_k_m-exact"));
    let text = run(&["compare", argument(&fast), argument(&exact)]).text();
    assert!(
        text.contains("| pp1024 ") && text.contains(" slower |"),
        "{text}"
    );
    assert!(
        text.contains("18657.7 ± 18.6") && text.contains("Mann-Whitney"),
        "{text}"
    );
    let json = run(&["compare", argument(&exact), argument(&fast), "-o", "json"]).json();
    assert_eq!(json["rows"][0]["test"], "pp64");
    assert_eq!(json["rows"][0]["entries"][1]["verdict"], "faster");
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let fast = kept("2.9b-q4_k_m-fast");
    let text = run(&["compare", argument(&fast), argument(&fast)]).text();
    assert_eq!(text.matches("1.000 noise").count(), 6, "{text}");
}

#[test]
fn other_models_are_refused_and_other_files_doubted() {
    let folder = folder();
    let fast = kept("2.9b-q4_k_m-fast");
    run(&[
        "compare",
        argument(&fast),
        argument(&kept("1.5b-q4_k_m-fast")),
    ])
    .assert_fails(USAGE, &["different models", "width 2560"]);
    let other = changed(&folder, "2.9b-q4_k_m-fast", "1875857536", "1875857537");
    let run = run(&["compare", argument(&fast), argument(&other)]);
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("not the same file"), "{}", run.stderr);
}

#[test]
fn files_that_cannot_be_compared() {
    let folder = folder();
    let fast = kept("2.9b-q4_k_m-fast");
    let fast = argument(&fast);
    run(&["compare", fast]).assert_fails(USAGE, &["FILE"]);
    run(&["compare"]).assert_fails(USAGE, &["FILE"]);
    let missing = folder.path().join("missing.json");
    run(&["compare", fast, argument(&missing)]).assert_fails(PATH, &["missing.json"]);
    let cut = changed(&folder, "2.9b-q4_k_m-fast", "\"width\":2560", "");
    run(&["compare", fast, argument(&cut)]).assert_fails(MODEL, &["changed.json", "column"]);
    let empty = save(&folder, "empty.json", b"");
    run(&["compare", fast, argument(&empty)]).assert_fails(MODEL, &["empty.json", "an empty file"]);
    let latin = save(&folder, "latin.json", b"caf\xe9");
    run(&["compare", fast, argument(&latin)]).assert_fails(MODEL, &["latin.json", "UTF-8"]);
}

#[test]
fn ratios_are_drawn() {
    let folder = folder();
    let (fast, exact) = (kept("2.9b-q4_k_m-fast"), kept("2.9b-q4_k_m-exact"));
    let files = ["compare", argument(&fast), argument(&exact), "--plot"];
    let run_into = |place: &Path| run(&[&files[..], &[argument(place)]].concat());
    run_into(folder.path()).text();
    let svg = std::fs::read_to_string(folder.path().join("comparison.svg")).unwrap();
    assert!(
        svg.contains("441 tok/s") && svg.contains("NVIDIA H200"),
        "{svg}"
    );
    let file = save(&folder, "file", b"");
    run_into(&file).assert_fails(PATH, &["--plot"]);
}
