//! `thalweg tokenize`.

use crate::models::{folder, vocabulary_only, without_begin_of_text};
use crate::program::{argument, run, run_with_input};

#[test]
fn text_becomes_ids_and_ids_become_text() {
    let json = run(&["tokenize", "-p", "Once upon a time", "--json"]).json();
    let ids: Vec<String> = json["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        run(&["tokenize", "-p", "Once upon a time"]).text(),
        format!("{}\n", ids.join(" "))
    );
    assert_eq!(
        run(&["tokenize", "--decode", &ids.join(",")]).text(),
        "Once upon a time"
    );
}

#[test]
fn begin_of_text_comes_on_request_alone() {
    let ids = |flags: &[&str]| run(&[&["tokenize", "-p", "A"], flags].concat()).text();
    assert_eq!(ids(&["--bos"]), format!("0 {}", ids(&[])));
}

#[test]
fn a_vocabulary_alone_is_enough_and_any_bytes_pass() {
    let folder = folder();
    let model = vocabulary_only(&folder);
    let bytes = b"the \xff\xfe\n";
    let json = run_with_input(&["tokenize", "-m", argument(&model), "--json"], bytes).json();
    assert_eq!(json.to_string(), r#"{"ids":[117,105,102,33,256,255,11]}"#);
    let decoded = run(&[
        "tokenize",
        "-m",
        argument(&model),
        "--decode",
        "117 105\t102,33 , 256,255,\n11",
    ]);
    assert_eq!(decoded.stdout, bytes);
}

#[test]
fn an_empty_text_has_no_ids() {
    assert_eq!(
        run(&["tokenize", "--json"]).json().to_string(),
        r#"{"ids":[]}"#
    );
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = folder();
    let model = without_begin_of_text(&folder);
    run(&["tokenize", "-m", argument(&model), "-p", "x", "--bos"])
        .assert_fails(3, &["begin-of-text"]);
    run(&["tokenize", "-m", argument(&model), "-p", "xy"]).assert_fails(3, &["0x79", "offset 1"]);
    run(&["tokenize", "-m", argument(&model), "--decode", "1,2"]).assert_fails(3, &["id 2"]);
}
