//! `thalweg-conformance DIR [cpu|gpu]`: runs all comparisons that DIR has goldens for, on the CPU or on whatever GPU or software
//! adapter there is, and prints one line each.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use thalweg_conformance::{Backend, check_directory};
use thalweg_gpu::Context;
use thalweg_rwkv::GpuOptions;

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut arguments = std::env::args_os().skip(1);
    let given = (arguments.next(), arguments.next(), arguments.next());
    let backend = match &given {
        (Some(_), None, None) => Ok(Backend::Cpu),
        (Some(_), Some(backend), None) if backend == "cpu" => Ok(Backend::Cpu),
        (Some(_), Some(backend), None) if backend == "gpu" => gpu(),
        _ => Err(
            "usage: thalweg-conformance DIR [cpu|gpu], where DIR has 'golden', 'models' and 'demo-model' in it"
                .to_owned(),
        ),
    };
    let (dir, backend) = match (given.0, backend) {
        (Some(dir), Ok(backend)) => (dir, backend),
        (_, backend) => {
            // Nothing can be done where not even a message can be written.
            let _ = writeln!(err, "{}", backend.err().unwrap_or_default());
            return ExitCode::from(2);
        }
    };
    let (mut passed, mut failed) = (0, 0);
    check_directory(dir.as_ref(), &backend, &mut |outcome| {
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

fn gpu() -> Result<Backend, String> {
    let context = Context::of_any_kind().map_err(|error| error.to_string())?;
    Ok(Backend::Gpu(Arc::new(context), GpuOptions::default()))
}
