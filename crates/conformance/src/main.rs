//! `thalweg-conformance DIR`: runs all comparisons that DIR has goldens for and prints one line each.

use std::io::Write;
use std::process::ExitCode;
use thalweg_conformance::check_directory;

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut arguments = std::env::args_os().skip(1);
    let (Some(dir), None) = (arguments.next(), arguments.next()) else {
        // Nothing can be done where not even a message can be written.
        let _ = writeln!(
            err,
            "usage: thalweg-conformance DIR, a directory with 'golden' and 'models' in it"
        );
        return ExitCode::from(2);
    };
    let (mut passed, mut failed) = (0, 0);
    check_directory(dir.as_ref(), &mut |outcome| {
        if outcome.passed() {
            passed += 1
        } else {
            failed += 1
        }
        let _ = writeln!(out, "{outcome}");
    });
    let _ = writeln!(out, "{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
