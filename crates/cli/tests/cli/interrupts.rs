//! Ctrl-C, sent as the signal that it is.

use std::io::Read;
use std::process::{Child, Command};

use crate::models::{folder, random};
use crate::program::{command, endless_generation};

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
    let mut child = endless_generation(&random(&folder));
    let mut stdout = child.stdout.take().unwrap();
    let mut text = vec![0; 1];
    stdout.read_exact(&mut text).unwrap();
    press_ctrl_c(&child);
    stdout.read_to_end(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("decode ") && stderr.contains("tok/s"),
        "{stderr}"
    );
    assert!(!stderr.contains("error:"), "{stderr}");
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
