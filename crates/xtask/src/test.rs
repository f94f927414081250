//! `cargo xtask test`: the machine made ready, then every test of the workspace.

use anyhow::Result;

use crate::machine::Consent;
use crate::shell;

/// The tests of today need no more than Rust itself, so consent is not asked for.
pub(crate) fn run(_consent: &Consent) -> Result<()> {
    shell::run(shell::cargo().args(["test", "--workspace"]))
}
