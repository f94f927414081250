//! An adapter that computes: what the tests of the kernels need on any machine.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};

use crate::machine::{Consent, install_debian_packages};
use crate::shell;

/// Vulkan's loader, and drivers for it that compute on the CPU where there is no GPU.
const SOFTWARE_DRIVER: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];

/// Installs a software driver where there is no adapter at all.
///
/// # Errors
///
/// When there is none afterwards either: tests that cannot run must not look as if they had passed.
pub(crate) fn provide(consent: &Consent) -> Result<()> {
    if count()? > 0 {
        return Ok(());
    }
    if !cfg!(target_os = "linux") {
        bail!(
            "no adapter was found for the tests of the kernels; install the driver of this machine's GPU"
        );
    }
    install_debian_packages(&SOFTWARE_DRIVER, consent)
        .context("the tests of the kernels need an adapter, at least a software Vulkan driver")?;
    ensure!(
        count()? > 0,
        "no adapter was found even with {} installed; see what `vulkaninfo --summary` says",
        SOFTWARE_DRIVER.join(" and ")
    );
    Ok(())
}

/// How many adapters the program itself finds, software drivers included.
fn count() -> Result<usize> {
    let mut command = shell::cargo();
    command
        .args(["run", "--package", "thalweg", "--", "devices", "--json"])
        .stderr(Stdio::inherit());
    let line = shell::command_line(&command);
    let listing = shell::output(&mut command)?.with_context(|| format!("`{line}` failed"))?;
    let listing: serde_json::Value =
        serde_json::from_str(&listing).with_context(|| format!("`{line}` did not print JSON"))?;
    let adapters = listing["adapters"].as_array();
    Ok(adapters
        .with_context(|| format!("`{line}` lists no adapters"))?
        .len())
}
