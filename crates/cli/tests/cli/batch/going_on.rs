//! Jobs that go on with the output of others.

use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Place, prompts};
use crate::models::save;
use crate::program::{command, run};

#[test]
fn a_job_goes_on_where_it_ended() {
    let place = Place::new();
    let input = prompts(8);
    let flags = ["-n", "4", "--json", "--ordered"];
    let (first, complete) = place.run(input.as_bytes(), &flags);
    let summary = first.json();
    assert_eq!(
        (&summary["replies"], &summary["skipped"]),
        (&8.into(), &0.into())
    );
    assert_eq!(
        (&summary["tokens"], &summary["complete"]),
        (&32.into(), &true.into())
    );

    // As if the power had failed within the fourth line.
    let text = std::fs::read_to_string(place.output()).unwrap();
    let torn = text.match_indices('\n').nth(2).unwrap().0 + 30;
    std::fs::write(place.output(), &text[..torn]).unwrap();
    let (second, lines) = place.run(input.as_bytes(), &flags);
    let summary = second.json();
    assert_eq!(
        (&summary["replies"], &summary["skipped"]),
        (&5.into(), &3.into())
    );
    let texts = |lines: &[Value]| -> Vec<(Value, Value)> {
        lines
            .iter()
            .map(|line| (line["id"].clone(), line["text"].clone()))
            .collect()
    };
    assert_eq!(texts(&lines), texts(&complete));

    let (third, lines) = place.run(input.as_bytes(), &flags);
    assert_eq!(third.json()["skipped"], 8);
    assert_eq!(texts(&lines), texts(&complete));
}

#[test]
fn failed_lines_are_done_again_once_corrected() {
    let place = Place::new();
    let (first, lines) = place.run(b"{\"prompt\": \"x\"}\n{\"promt\": \"y\"}\n", &["-n", "2"]);
    assert_eq!((first.code, lines.len()), (3, 2));
    let (second, lines) = place.run(b"{\"prompt\": \"x\"}\n{\"prompt\": \"y\"}\n", &["-n", "2"]);
    assert_eq!((second.code, lines.len()), (0, 2), "{}", second.stderr);
    assert!(
        second.stderr.contains("1 replies, 0 failed, 1 skipped"),
        "{}",
        second.stderr
    );
    assert!(lines.iter().all(|line| line["text"].is_string()));
}

#[test]
fn other_files_are_not_written_over() {
    let place = Place::new();
    let input = save(&place.folder, "prompts.jsonl", prompts(1).as_bytes());
    for contents in ["Dear Mary,", "Dear Mary,\n", &prompts(2)] {
        let letter = save(&place.folder, "letter.txt", contents.as_bytes());
        run(&place.arguments(&input, &letter, &[])).assert_fails(3, &["letter.txt, line 1", "-o"]);
        assert_eq!(std::fs::read_to_string(&letter).unwrap(), contents);
    }
    run(&place.arguments(&input, &input, &[])).assert_fails(3, &["prompts.jsonl, line 1"]);
}

/// Waits until so many lines are written.
fn wait_for(place: &Place, lines: usize) {
    let start = Instant::now();
    while std::fs::read_to_string(place.output())
        .unwrap_or_default()
        .lines()
        .count()
        < lines
    {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the short lines must not wait for the long one"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a job one line of which never ends, and waits until the others are done.
fn endless_job(place: &Place, short: usize) -> Child {
    let endless = "{\"id\": \"endless\", \"prompt\": \"x\", \"n\": 1000000}\n";
    let input = save(
        &place.folder,
        "prompts.jsonl",
        format!("{endless}{}", prompts(short)).as_bytes(),
    );
    let output = place.output();
    let child = command(&place.arguments(&input, &output, &["-n", "2"]))
        .spawn()
        .unwrap();
    wait_for(place, short);
    child
}

#[test]
fn an_interrupt_keeps_what_is_complete() {
    let place = Place::new();
    let child = endless_job(&place, 5);
    crate::interrupts::press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("5 replies, 0 failed"), "{stderr}");
    assert!(!stderr.contains("error:"), "{stderr}");
    assert_eq!(place.lines().len(), 5);
    let (run, lines) = place.run(prompts(5).as_bytes(), &["-n", "2"]);
    assert!(
        run.stderr.contains("0 replies, 0 failed, 5 skipped"),
        "{}",
        run.stderr
    );
    assert_eq!(lines.len(), 5);
}

#[test]
fn an_interrupt_counts_what_is_written() {
    let place = Place::new();
    let endless = "{\"prompt\": \"x\", \"n\": 1000000}\n";
    let lines = format!("{{\"prompt\": \"x\"}}\n{endless}{}", prompts(5));
    let input = save(&place.folder, "prompts.jsonl", lines.as_bytes());
    let output = place.output();
    let arguments = place.arguments(&input, &output, &["-n", "2", "--ordered"]);
    let child = command(&arguments).spawn().unwrap();
    wait_for(&place, 1);
    crate::interrupts::press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("1 replies, 0 failed"), "{stderr}");
    assert_eq!(place.lines().len(), 1);
}

#[test]
fn a_killed_job_goes_on() {
    let place = Place::new();
    let mut child = endless_job(&place, 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let (run, lines) = place.run(prompts(6).as_bytes(), &["-n", "2"]);
    assert!(
        run.stderr.contains("3 replies, 0 failed, 3 skipped"),
        "{}",
        run.stderr
    );
    assert_eq!(lines.len(), 6);
}
