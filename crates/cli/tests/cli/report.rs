//! `thalweg bench --report`: a report from results, and what is wrong with either.

use tempfile::TempDir;

use crate::models::{folder, random, save};
use crate::program::{Run, argument, run};

const USAGE: i32 = 2;
const BAD_FILE: i32 = 3;
const PATH: i32 = 5;

fn measured(folder: &TempDir) {
    let model = random(folder);
    let flags = [
        "--prefill",
        "8",
        "--chunk-size",
        "4,8",
        "--decode",
        "2",
        "--repeat",
        "2",
        "-o",
        "json",
    ];
    let result = run(&[&["bench", "-m", argument(&model)], &flags[..]].concat()).text();
    save(folder, "cpu-random.json", result.as_bytes());
}

fn report(folder: &TempDir, name: &str, more: &[&str]) -> Run {
    let file = folder.path().join(name);
    let flags = [
        "bench",
        "--report",
        argument(&file),
        "--results",
        argument(folder.path()),
    ];
    run(&[&flags[..], more].concat())
}

#[test]
fn a_report_is_made_and_made_again_around_what_people_wrote() {
    let folder = folder();
    measured(&folder);
    let read = || std::fs::read_to_string(folder.path().join("REPORT.md")).unwrap();
    report(&folder, "REPORT.md", &[]).text();
    let first = read();
    assert!(
        first.contains("| cpu-random ") && first.contains("--backend metal "),
        "{first}"
    );
    let mine = first.replace("# Results\n", "# Mine\n\nHow it was found.\n");
    save(&folder, "REPORT.md", mine.as_bytes());
    let pictures = folder.path().join("pictures");
    report(&folder, "REPORT.md", &["--plot", argument(&pictures)]).text();
    let second = read();
    assert!(second.starts_with("# Mine\n\nHow it was found.\n"));
    assert!(
        second.contains("(<pictures/cpu-random-chunk-size.svg>)"),
        "{second}"
    );
    assert!(pictures.join("cpu-random-chunk-size.svg").exists());
}

#[test]
fn a_report_without_some_sections_is_told() {
    let folder = folder();
    measured(&folder);
    save(
        &folder,
        "mine.md",
        b"<!-- generated: claim -->\n<!-- end -->\n",
    );
    let run = report(&folder, "mine.md", &[]);
    assert!(
        run.stderr.contains("no place for the sections runs, "),
        "{}",
        run.stderr
    );
    run.text();
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = folder();
    report(&folder, "new.md", &[]).assert_fails(PATH, &["no result in", "--results"]);
    measured(&folder);
    save(&folder, "broken.md", b"\n<!-- generated: claim -->\n");
    report(&folder, "broken.md", &[])
        .assert_fails(BAD_FILE, &["broken.md", "line 2", "without an end"]);
    let noise = save(&folder, "noise.json", b"{");
    report(&folder, "new.md", &[]).assert_fails(BAD_FILE, &["noise.json"]);
    assert!(!folder.path().join("new.md").exists());
    std::fs::remove_file(noise).unwrap();
    report(&folder, "missing/new.md", &[]).assert_fails(PATH, &["missing"]);
    let missing = folder.path().join("missing");
    run(&["bench", "--report", "x.md", "--results", argument(&missing)])
        .assert_fails(PATH, &["missing", "--results"]);
}

#[test]
fn what_was_checked_is_in_the_report() {
    let folder = folder();
    measured(&folder);
    let flags = ["--check", "--prefill", "0", "--decode", "0", "-o", "json"];
    let checked = run(&[&["bench"], &flags[..]].concat()).text();
    save(&folder, "demo.json", checked.as_bytes());
    report(&folder, "REPORT.md", &[]).text();
    let read = || std::fs::read_to_string(folder.path().join("REPORT.md")).unwrap();
    let text = read();
    let row = |text: &str| {
        let mut rows = text.lines().filter(|line| line.starts_with("| demo "));
        rows.find(|row| row.contains("CPU twins"))
            .unwrap()
            .to_owned()
    };
    assert!(row(&text).ends_with(" yes |"), "{text}");
    assert!(text.contains("Not checked: cpu-random."), "{text}");
    let wrong = checked.replacen("\"wrong_choices\":0", "\"wrong_choices\":2", 1);
    assert_ne!(wrong, checked);
    save(&folder, "demo.json", wrong.as_bytes());
    report(&folder, "REPORT.md", &[]).text();
    assert!(row(&read()).ends_with(" **no** |"), "{}", read());
    assert!(read().contains("**demo computes wrongly**"), "{}", read());
}

#[test]
fn results_that_do_not_fit_together_are_named() {
    let folder = folder();
    measured(&folder);
    let of = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let other = of("cpu-random.json").replace("\"width\":", "\"width\":9");
    save(&folder, "other.json", other.as_bytes());
    report(&folder, "new.md", &[]).assert_fails(BAD_FILE, &["other.json", "different models"]);
    save(
        &folder,
        "other.json",
        b"{\"device\": \"x\", \"targets\": []}",
    );
    report(&folder, "new.md", &[]).assert_fails(BAD_FILE, &["other.json", "missing field"]);
    assert!(!folder.path().join("new.md").exists());
}

#[test]
fn pictures_that_cannot_be_written_are_refused_before_the_report() {
    let folder = folder();
    measured(&folder);
    let file = save(&folder, "a file", b"");
    for place in [file.clone(), file.join("inside")] {
        report(&folder, "new.md", &["--plot", argument(&place)])
            .assert_fails(PATH, &["a file", "--plot"]);
    }
    assert!(!folder.path().join("new.md").exists());
}

#[test]
fn a_report_measures_nothing() {
    let folder = folder();
    report(&folder, "new.md", &["--prefill", "5"]).assert_fails(USAGE, &["--report", "--prefill"]);
    report(&folder, "new.md", &["--check"]).assert_fails(USAGE, &["--report", "--check"]);
    report(&folder, "new.md", &["--precision", "fast"])
        .assert_fails(USAGE, &["--report", "--precision"]);
    run(&["bench", "--results", "x"]).assert_fails(USAGE, &["--report"]);
}
