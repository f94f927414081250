//! What an earlier run measured, to go on with.

use std::path::{Path, PathBuf};

use thalweg_bench::{Case, Report, Setting};

use crate::commands::results_file;
use crate::failure::Failure;

/// What an earlier run measured.
pub(super) struct Former {
    path: PathBuf,
    report: Report,
}

impl Former {
    pub(super) fn read(path: &Path) -> Result<Former, Failure> {
        Ok(Former {
            path: path.to_owned(),
            report: results_file::read(path)?,
        })
    }

    /// Refuses what was measured by another program, on another machine, or with another model.
    pub(super) fn check(&self, report: &Report) -> Result<(), Failure> {
        match report.difference_from(&self.report) {
            None => Ok(()),
            Some(difference) => Err(Failure::Usage(format!(
                "{} cannot be resumed: {difference}; leave --resume out to measure anew",
                self.path.display()
            ))),
        }
    }

    /// What it measured in the very same setting.
    pub(super) fn case(&self, setting: &Setting) -> Option<&Case> {
        let mut cases = self.report.cases.iter();
        cases.find(|case| case.setting == *setting)
    }
}
