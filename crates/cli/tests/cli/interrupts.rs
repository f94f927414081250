//! Ctrl-C, sent as the signal that it is.

use std::io::{Read, Write};
use std::process::{Child, Command};

use crate::models::{demo, folder, random, save};
use crate::program::{GREEDY, argument, command, endless_generation};

pub(crate) fn press_ctrl_c(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn generation_stops_with_its_summary() {
    let folder = folder();
    let states = folder.path().join("states");
    let cached = ["--prompt-cache", argument(&states)];
    let mut child = endless_generation(&random(&folder), &cached);
    let mut stdout = child.stdout.take().unwrap();
    let mut text = vec![0; 1];
    stdout.read_exact(&mut text).unwrap();
    press_ctrl_c(&child);
    stdout.read_to_end(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let states = std::fs::read_dir(states).unwrap();
    assert_eq!(states.count(), 2, "after the prompt and after the text");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("decode ") && stderr.contains("tok/s"),
        "{stderr}"
    );
    assert!(!stderr.contains("error:"), "{stderr}");
}

#[test]
fn a_prompt_that_is_left_says_nothing() {
    let folder = folder();
    let prompt = save(
        &folder,
        "long.txt",
        "the old house ".repeat(20_000).as_bytes(),
    );
    let model = demo();
    let flags = ["generate", "-m", argument(&model), "-f", argument(&prompt)];
    let child = command(&flags).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("error:"), "{stderr}");
}

#[test]
fn a_reply_stops_and_the_chat_goes_on() {
    let folder = folder();
    let model = random(&folder);
    let flags = ["chat", "-m", argument(&model), "-n", "1000000000"];
    let mut child = command(&[&flags[..], &GREEDY].concat()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Hello\n/exit\n").unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut text = vec![0; 1];
    stdout.read_exact(&mut text).unwrap();
    press_ctrl_c(&child);
    stdout.read_to_end(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.ends_with(b"\n"));
}

#[test]
fn waiting_for_input_ends_at_once() {
    let mut child = command(&["tokenize"]).spawn().unwrap();
    let stdin = child.stdin.take();
    // The program reads its input before anything else; give it a moment to install the handler.
    std::thread::sleep(std::time::Duration::from_millis(300));
    press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130));
}
