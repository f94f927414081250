//! `thalweg chat`, its lines coming through a pipe.

use crate::models::{folder, random};
use crate::program::{GREEDY, Run, argument, run_with_input};

fn chat(lines: &str, flags: &[&str]) -> Run {
    let folder = folder();
    let model = random(&folder);
    let arguments = [&["chat", "-m", argument(&model), "--seed", "1"], flags].concat();
    run_with_input(&arguments, lines.as_bytes())
}

/// Short replies of the most probable tokens, a line each.
fn replies(lines: &str) -> String {
    chat(lines, &[&["-n", "6"], &GREEDY[..]].concat()).text()
}

#[test]
fn every_line_is_answered() {
    let one = replies("Hello\n");
    assert!(one.ends_with('\n') && one.len() > 1, "{one:?}");
    let two = replies("Hello\nAnd then?\n");
    assert!(
        two.starts_with(&one) && two.len() > one.len(),
        "{two:?} after {one:?}"
    );
}

#[test]
fn exit_leaves_and_help_goes_to_standard_error() {
    let run = chat("/help\n/exit\nHello\n", &[]);
    assert!(run.stderr.contains("/regen"), "{}", run.stderr);
    assert_eq!(run.text(), "");
}

#[test]
fn reset_forgets_the_conversation() {
    let one = replies("Hello\n");
    assert_eq!(replies("Hello\n/reset\nHello\n"), one.repeat(2));
}

#[test]
fn regen_replies_again_from_the_same_state() {
    let one = replies("Hello\n");
    assert_eq!(
        replies("Hello\n/regen\n"),
        one.repeat(2),
        "greedy replies should repeat themselves"
    );
}

#[test]
fn regen_draws_another_reply_and_the_seed_repeats_both() {
    let flags = ["--top-p", "1", "--temp", "3", "-n", "64"];
    let both = chat("Hello\n/regen\n", &flags).text();
    let one = chat("Hello\n", &flags).text();
    assert!(both.starts_with(&one));
    assert_ne!(both, one.repeat(2));
    assert_eq!(chat("Hello\n/regen\n", &flags).text(), both);
}

#[test]
fn the_system_text_is_read_first_and_can_be_cleared() {
    let flags = ["--top-p", "1", "--temp", "3", "-n", "64"];
    let reply = |lines: &str| chat(lines, &flags).text();
    let plain = reply("Hello\n");
    assert_ne!(reply("/system Answer in verse.\nHello\n"), plain);
    assert_eq!(reply("/system Answer in verse.\n/system\nHello\n"), plain);
    let with_system = [&flags[..], &["--system", "Answer in verse."]].concat();
    let from_flag = chat("Hello\n", &with_system).text();
    assert_eq!(reply("/system Answer in verse.\nHello\n"), from_flag);
}

#[test]
fn the_prompt_cache_outlives_the_chat_and_changes_no_reply() {
    let cache = folder();
    let flags = [
        &["-n", "6", "--prompt-cache", argument(cache.path())][..],
        &GREEDY,
    ]
    .concat();
    let lines = "Hello\nAnd then?\n";
    let first = chat(lines, &flags).text();
    assert_eq!(first, replies(lines));
    assert!(std::fs::read_dir(cache.path()).unwrap().count() > 2);
    assert_eq!(chat(lines, &flags).text(), first);
}

#[test]
fn an_adapter_replies_as_the_cpu_does() {
    let text = |backend: &str| {
        let flags = [
            &["-n", "40", "--precision", "exact", "--backend", backend][..],
            &GREEDY,
        ];
        chat("Hello\nAnd then?\n/regen\nOh.\n", &flags.concat()).text()
    };
    assert_eq!(text("vulkan"), text("cpu"));
}

#[test]
fn mistakes_are_explained_and_do_not_end_the_chat() {
    let run = chat(
        "/temp warm\n/temp 1000\n/quit\n/regen\n/temp 0\nHello\n",
        &[],
    );
    for part in ["/temp 0.8", "temp is 1000", "/help", "no message"] {
        assert!(
            run.stderr.contains(part),
            "'{part}' is missing in {}",
            run.stderr
        );
    }
    assert!(run.text().len() > 1);
}

#[test]
fn a_line_that_is_not_utf8_ends_the_chat() {
    let folder = folder();
    let model = random(&folder);
    let run = run_with_input(&["chat", "-m", argument(&model)], b"\xff\xfe\n");
    run.assert_fails(3, &["UTF-8"]);
}
