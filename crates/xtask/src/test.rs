//! `cargo xtask test`: the machine made ready, then every test of the workspace.

use anyhow::Result;

use crate::machine::Consent;
use crate::{adapter, shell};

pub(crate) fn run(consent: &Consent) -> Result<()> {
    adapter::provide(consent)?;
    shell::run(shell::cargo().args(["test", "--workspace"]))
}
