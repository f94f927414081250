//! `thalweg tune` and what the other commands do with what it found. The tests need an adapter, a software one at least.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::models::{folder, random};
use crate::program::{GREEDY, Run, argument, command};

/// The shortest measurement whose result a program can read.
const BENCH: [&str; 9] = [
    "bench",
    "--prefill",
    "5",
    "--decode",
    "0",
    "--repeat",
    "1",
    "-o",
    "json",
];

/// A model and a cache folder of its own.
struct Place {
    model: PathBuf,
    cache: PathBuf,
    _folder: TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = folder();
        Place {
            model: random(&folder),
            cache: folder.path().join("cache"),
            _folder: folder,
        }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let model = ["-m", argument(&self.model), "--backend", "vulkan"];
        let output = command(&[arguments, &model].concat())
            .env("THALWEG_CACHE_DIR", &self.cache)
            .output()
            .unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn generate(&self, flags: &[&str]) -> Run {
        let generate = ["generate", "-p", "The river", "-n", "12"];
        self.run(&[&generate[..], &GREEDY, flags].concat())
    }

    /// Whether the model runs as a file of the cache says.
    fn is_tuned(&self, flags: &[&str]) -> Value {
        self.run(&[&BENCH, flags].concat()).json()["tuned"].clone()
    }

    /// The files of tunings.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.cache) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect()
    }

    /// The file of the only tuning.
    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    /// Puts another number into the tuning.
    fn set(&self, choice: &str, number: u64) {
        let path = self.file();
        let mut stored = read(&path);
        *stored.pointer_mut(choice).unwrap() = json!(number);
        std::fs::write(path, stored.to_string()).unwrap();
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn what_is_found_is_kept_and_used_unless_that_is_unwanted() {
    let place = Place::new();
    let untuned = place.generate(&[]).text();
    assert_eq!(place.is_tuned(&[]), false);

    let tune = place.run(&["tune", "--seconds", "20"]);
    let stderr = tune.stderr.clone();
    let table = tune.text();
    assert!(
        table.contains("one token: output") && table.contains("chunk size"),
        "{table}"
    );
    assert!(
        table.contains(" %"),
        "at least one candidate is timed: {table}"
    );
    assert!(stderr.contains(argument(&place.file())), "{stderr}");

    place.set("/tuning/chunk", 3);
    place.set("/tuning/ffn_value/rows", 4);
    assert_eq!(place.is_tuned(&[]), true);
    assert_eq!(place.is_tuned(&["--no-tuned"]), false);
    assert_eq!(place.is_tuned(&["--no-cache"]), false);
    assert_eq!(
        place.is_tuned(&["--activations", "q8"]),
        false,
        "that is another key"
    );
    let cases = |flags: &[&str]| place.run(&[&BENCH, flags].concat()).json()["cases"].clone();
    assert_eq!(cases(&[])[0]["chunk_size"], 3);
    assert_ne!(cases(&["--no-tuned"])[0]["chunk_size"], 3);
    assert_eq!(
        cases(&["--chunk-size", "4"])[0]["chunk_size"],
        4,
        "flags win"
    );

    for flags in [&[][..], &["--no-tuned"]] {
        let run = place.generate(flags);
        assert!(!run.stderr.contains("warning"), "{}", run.stderr);
        assert_eq!(run.text(), untuned);
    }
}

#[test]
fn candidates_and_the_tuning_are_there_as_json() {
    let place = Place::new();
    let found = place.run(&["tune", "--json", "--seconds", "1"]).json();
    assert_eq!(found["kept_in"], argument(&place.file()));
    assert_eq!(read(&place.file())["tuning"], found["tuning"]);
    let trials = found["trials"].as_array().unwrap();
    assert!(trials.len() > 16, "{found}");
    for trial in trials {
        assert_ne!(trial["before"], trial["candidate"], "{trial}");
        assert!(trial["taken"].is_boolean());
    }
    assert!(
        place
            .run(&["tune", "--seconds", "1"])
            .stderr
            .contains("were not tried within 1 s")
    );
    assert_eq!(place.files().len(), 1, "one file for one key");
}

#[test]
fn files_that_are_no_good_are_ignored_with_a_warning() {
    let place = Place::new();
    let untuned = place.generate(&[]).text();
    place.run(&["tune", "--seconds", "1"]).text();
    let path = place.file();
    let whole = read(&path);
    let with = |choice: &str, value: Value| {
        let mut changed = whole.clone();
        *changed.pointer_mut(choice).unwrap() = value;
        changed.to_string()
    };
    let faults = [
        (String::new(), "EOF"),
        ("{\"for\": 1".to_owned(), "EOF"),
        (with("/for", json!("another device")), "another device"),
        (with("/tuning", json!({})), "missing field"),
        (
            with("/tuning/ffn_value/lanes", json!(48)),
            "lanes is 48, expected 8 or 16 or 32 or 64 or 128",
        ),
        (with("/tuning/ffn_value/lanes", json!(-8)), "invalid number"),
        (with("/tuning/block_size", json!(64)), "block size is 64"),
        (with("/tuning/chunk", json!(0)), "0"),
        (
            with("/tuning/chunk", json!(4_000_000_000_u32)),
            "4000000000",
        ),
        (with("/tuning/few_tokens/tile", json!("huge")), "huge"),
    ];
    for (contents, fault) in faults {
        std::fs::write(&path, &contents).unwrap();
        let run = place.generate(&[]);
        for part in ["warning", argument(&path), fault, "thalweg tune"] {
            assert!(
                run.stderr.contains(part),
                "'{part}' is missing for {contents}: {}",
                run.stderr
            );
        }
        assert_eq!(run.stderr.matches("warning").count(), 1, "{}", run.stderr);
        assert_eq!(run.text(), untuned);
        assert!(!place.generate(&["--no-tuned"]).stderr.contains("warning"));
    }
}

#[test]
fn without_a_gpu_there_is_nothing_to_tune() {
    let place = Place::new();
    let tune = ["tune", "-m", argument(&place.model), "--backend", "cpu"];
    crate::program::run(&tune).assert_fails(4, &["nothing to tune", "--backend"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_tuning_keeps_nothing() {
    let place = Place::new();
    let tune = ["tune", "-m", argument(&place.model), "--backend", "vulkan"];
    let child = command(&tune)
        .env("THALWEG_CACHE_DIR", &place.cache)
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    crate::interrupts::press_ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty());
    assert_eq!(place.files(), Vec::<PathBuf>::new());
}
