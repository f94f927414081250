//! `cargo xtask conformance DIR`: the comparison with reference data kept outside the repository.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::shell;

pub(crate) fn run(dir: &Path) -> Result<()> {
    ensure!(dir.is_dir(), "{} is not a folder", dir.display());
    shell::run(
        shell::cargo()
            .args(["run", "--release", "--package", "thalweg-conformance", "--"])
            .arg(dir),
    )
}
