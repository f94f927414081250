//! `cargo xtask conformance DIR`: the comparison with reference data kept outside the repository, on every backend.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::machine::Consent;
use crate::{adapter, shell};

pub(crate) fn run(dir: &Path, consent: &Consent) -> Result<()> {
    ensure!(dir.is_dir(), "{} is not a folder", dir.display());
    adapter::provide(consent)?;
    for backend in ["cpu", "gpu"] {
        shell::run(
            shell::cargo()
                .args(["run", "--release", "--package", "thalweg-conformance", "--"])
                .arg(dir)
                .arg(backend),
        )?;
    }
    Ok(())
}
