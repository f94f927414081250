//! What a task has to install on the machine, never without consent.

use std::io::{IsTerminal as _, Write as _};
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// Permission to install software: given beforehand, or asked for at the terminal.
#[derive(clap::Args)]
pub(crate) struct Consent {
    /// Install what is missing without asking, as CI=true does.
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Returns when `command` may run; refusal is an error that says how to go on without it.
    pub(crate) fn obtain(&self, command: &str) -> Result<()> {
        if self.yes || std::env::var_os("CI").is_some_and(|value| value == "true") {
            return Ok(());
        }
        if std::io::stdin().is_terminal() && confirmed(command)? {
            return Ok(());
        }
        bail!("nothing was installed; run `{command}` yourself, or this task again with --yes")
    }
}

fn confirmed(command: &str) -> Result<bool> {
    eprint!("Run `{command}`? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Installs packages of Debian or a system derived from it.
///
/// # Errors
///
/// When the system has no apt-get, consent is refused, or apt-get fails.
pub(crate) fn install_debian_packages(packages: &[&str], consent: &Consent) -> Result<()> {
    if shell::output(Command::new("apt-get").arg("--version"))?.is_none() {
        bail!(
            "this system has no apt-get to install {} with; install what they hold in its own way",
            packages.join(" and ")
        );
    }
    let mut install = apt_get()?;
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    consent.obtain(&shell::command_line(&install))?;
    shell::run(apt_get()?.arg("update"))?;
    shell::run(&mut install)
}

/// apt-get with the rights it needs: as it is for root, through sudo for others.
fn apt_get() -> Result<Command> {
    let user = shell::output(Command::new("id").arg("-u"))?;
    if user.is_some_and(|id| id.trim() == "0") {
        return Ok(Command::new("apt-get"));
    }
    let mut command = Command::new("sudo");
    command.arg("apt-get");
    Ok(command)
}
