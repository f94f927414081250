//! `cargo xtask check-targets`: type-checks for the platforms that are not here.
//!
//! A type-check needs the standard library of the platform. Rustup delivers it ready made; where
//! rustup is missing or cannot reach its server, Debian's second compiler, which comes with the
//! library's sources, builds it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::machine::{self, Consent};
use crate::shell;

/// A platform, and the part of the workspace that must build there.
struct Target {
    triple: &'static str,
    /// Arguments of `cargo check`.
    selection: &'static [&'static str],
}

const TARGETS: [Target; 3] = [
    Target {
        triple: "x86_64-pc-windows-msvc",
        selection: EVERYTHING,
    },
    Target {
        triple: "aarch64-apple-darwin",
        selection: EVERYTHING,
    },
    Target {
        triple: "wasm32-unknown-unknown",
        selection: LIBRARIES,
    },
];

const EVERYTHING: &[&str] = &["--workspace", "--all-targets"];

/// All but the programs, the benches, and the reports and pictures of `bench`, which plotters has no fonts for in a browser; so that a new library is included without being named.
const LIBRARIES: &[&str] = &[
    "--workspace",
    "--lib",
    "--exclude=thalweg",
    "--exclude=thalweg-bench",
    "--exclude=thalweg-benches",
    "--exclude=thalweg-conformance",
    "--exclude=xtask",
];

const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const DEBIAN_COMPILER: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// Where the standard library of a platform comes from.
enum StandardLibrary {
    /// Ready made, installed by rustup beside the compiler in use.
    Rustup,
    /// Built on the way, from Debian's sources by Debian's compiler.
    DebianSources,
}

pub(crate) fn run(consent: &Consent) -> Result<()> {
    let library = find_standard_library(consent)?;
    for target in &TARGETS {
        let started = Instant::now();
        shell::run(check(target, &library).args(target.selection))
            .with_context(|| format!("the workspace does not type-check for {}", target.triple))?;
        eprintln!(
            "{}: type-checked in {} s",
            target.triple,
            started.elapsed().as_secs()
        );
    }
    Ok(())
}

/// Takes what is there, and installs only when neither way is open yet.
fn find_standard_library(consent: &Consent) -> Result<StandardLibrary> {
    let installed = shell::output(Command::new("rustup").args(["target", "list", "--installed"]))?;
    if installed.as_deref().is_some_and(has_every_target) {
        return Ok(StandardLibrary::Rustup);
    }
    if installed.is_some() && !debian_has_the_sources() && added_by_rustup(consent)? {
        return Ok(StandardLibrary::Rustup);
    }
    if !debian_has_the_sources() {
        machine::install_debian_packages(&DEBIAN_PACKAGES, consent)?;
    }
    eprintln!("the standard library is built from Debian's sources, by {DEBIAN_COMPILER}");
    Ok(StandardLibrary::DebianSources)
}

fn has_every_target(installed: &str) -> bool {
    TARGETS
        .iter()
        .all(|target| installed.lines().any(|line| line == target.triple))
}

/// Whether rustup could fetch the targets; without consent to try it is an error.
fn added_by_rustup(consent: &Consent) -> Result<bool> {
    let mut add = Command::new("rustup");
    add.args(["target", "add"])
        .args(TARGETS.iter().map(|target| target.triple));
    consent.obtain(&shell::command_line(&add))?;
    let added = shell::run(&mut add);
    if let Err(error) = &added {
        eprintln!("{error:#}");
    }
    Ok(added.is_ok())
}

fn debian_has_the_sources() -> bool {
    Path::new(DEBIAN_COMPILER).exists() && Path::new(DEBIAN_SOURCES).exists()
}

/// `cargo check` for a platform, before the selection of packages.
fn check(target: &Target, library: &StandardLibrary) -> Command {
    let mut check = shell::cargo();
    check.args(["check", "--target", target.triple]);
    if matches!(library, StandardLibrary::DebianSources) {
        // Two compilers in one target folder would rebuild each other's work.
        check
            .arg("-Zbuild-std=std,panic_abort")
            .arg("--target-dir")
            .arg(debian_target_dir());
        check
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", DEBIAN_COMPILER);
    }
    check
}

fn debian_target_dir() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = xtask.ancestors().nth(2).unwrap_or(xtask);
    workspace.join("target/check-targets")
}
