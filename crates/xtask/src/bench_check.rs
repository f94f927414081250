//! `cargo xtask bench-check`: counts that are the same on every machine and in every run, compared with what is expected.
//!
//! Times wobble on shared machines; how many dispatches, submissions or allocations a token takes does not. What grows
//! here unnoticed is what a benchmark would show only later, elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::machine::Consent;
use crate::{adapter, shell};

/// Numbers by the path to them in a JSON object.
type Counts = BTreeMap<String, u64>;

pub(crate) fn run(bless: bool, consent: &Consent) -> Result<()> {
    adapter::provide(consent)?;
    let found = count()?;
    let path = expectations();
    if bless {
        std::fs::write(&path, format!("{found:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("{EXPECTATIONS} holds what was counted");
        return Ok(());
    }
    let expected = read(&path)?;
    let (expected, found) = (numbers(&expected), numbers(&found));
    let differences = differences(&expected, &found);
    if differences.is_empty() {
        eprintln!("{} counts are as expected", found.len());
        return Ok(());
    }
    bail!(
        "{} of {} counts differ from {EXPECTATIONS}:\n{}\nFind out which change did it; if it is meant, `cargo xtask bench-check \
         --bless` writes the file anew, to be committed with a word on why",
        differences.len(),
        expected.len().max(found.len()),
        differences.join("\n")
    )
}

/// The file's place in the repository.
const EXPECTATIONS: &str = "benches/expectations.json";

fn expectations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(EXPECTATIONS)
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read {}; `cargo xtask bench-check --bless` makes it",
            path.display()
        )
    })?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is no JSON; take it from the last commit, or make it with `cargo xtask bench-check --bless`",
            path.display()
        )
    })
}

/// What the steps take now.
fn count() -> Result<Value> {
    let mut command = shell::cargo();
    command
        .args(["run", "--package", "thalweg-benches", "--bin", "counts"])
        .stderr(Stdio::inherit());
    let line = shell::command_line(&command);
    let counts = shell::output(&mut command)?.with_context(|| format!("`{line}` failed"))?;
    serde_json::from_str(&counts).with_context(|| format!("`{line}` did not print JSON"))
}

/// All numbers in the object; anything else counts as none.
fn numbers(value: &Value) -> Counts {
    let mut counts = Counts::new();
    collect(String::new(), value, &mut counts);
    counts
}

fn collect(path: String, value: &Value, counts: &mut Counts) {
    if let Some(number) = value.as_u64() {
        counts.insert(path, number);
        return;
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = match path.is_empty() {
            true => name.clone(),
            false => format!("{path} / {name}"),
        };
        collect(path, value, counts);
    }
}

/// A line for each count that is not as expected.
fn differences(expected: &Counts, found: &Counts) -> Vec<String> {
    let missing = expected.keys().filter(|path| !found.contains_key(*path));
    let missing =
        missing.map(|path| format!("  {path}: {} before, not counted now", expected[path]));
    let others = found
        .iter()
        .filter_map(|(path, found)| match expected.get(path) {
            Some(expected) if expected == found => None,
            Some(expected) => Some(format!("  {path}: {expected} before, {found} now")),
            None => Some(format!("  {path}: not counted before, {found} now")),
        });
    missing.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_says_what_changed_from_what_to_what() {
        let expected =
            json!({ "pipelines": 3, "steps": { "a token": { "maps": 1, "writes": 2 } } });
        let found = json!({ "pipelines": 3, "steps": { "a token": { "maps": 2, "copies": 5 } } });
        let differences = differences(&numbers(&expected), &numbers(&found));
        assert_eq!(
            differences,
            [
                "  steps / a token / writes: 2 before, not counted now",
                "  steps / a token / copies: not counted before, 5 now",
                "  steps / a token / maps: 1 before, 2 now",
            ]
        );
    }

    #[test]
    fn equal_counts_do_not_differ() {
        let counts = numbers(&json!({ "a": 1, "b": { "c": 0 } }));
        assert_eq!(counts.len(), 2);
        assert!(differences(&counts, &counts).is_empty());
    }

    #[test]
    fn what_is_expected_is_there_to_compare_with() {
        let expected = numbers(&read(&expectations()).unwrap());
        assert!(expected.len() > 50);
        assert!(
            expected
                .keys()
                .any(|path| path.ends_with("/ dispatches_a_layer"))
        );
    }
}
