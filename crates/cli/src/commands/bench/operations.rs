//! `thalweg bench --ops`: small operations of a model, one by one.

use std::time::{Duration, Instant};

use thalweg_bench::operations::{FormTimes, OperationTimes, Operations};
use thalweg_rwkv::operations::{CpuOperation, Form, GpuForm, GpuOperations, Operation, Sizes};

use super::action::stop_if_interrupted;
use super::{Args, Format};
use crate::failure::Failure;
use crate::flags::{Activations, Precision};
use crate::{cli, output};

/// Tokens of what a model computes for many at once.
const MANY: usize = 256;

/// A device that has idled runs at a fraction of its clock, for up to two seconds at first.
const FIRST_WARM_UP: Duration = Duration::from_millis(2000);
/// As it does a little while an operation's weights are made and its kernels compiled.
const WARM_UP: Duration = Duration::from_millis(50);
/// A sample on the CPU takes so long at the least.
const LEAST: Duration = Duration::from_millis(5);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    check_format(args.output)?;
    let file = args.path.open()?;
    let compute = args.compute.open(Precision::Fast, Activations::F32)?;
    let _kernels = compute.kernels();
    let measurement = Measurement {
        repeat: args.repeat.into(),
        sizes: Sizes::of(&file)?,
        on_device: compute.operations(&file, MANY)?,
        has_own_clock: compute.is_gpu(),
    };
    let name = file.path().file_name().unwrap_or_default();
    let mut report = Operations {
        program: cli::program(),
        arguments: std::env::args().skip(1).collect(),
        platform: cli::platform(),
        device: compute.device(),
        model: name.to_string_lossy().into_owned(),
        operations: Vec::new(),
    };
    let measured = measurement.run(&mut report.operations);
    // What was measured before a Ctrl-C or a failure is not lost.
    let shown = match report.operations.is_empty() {
        true => Ok(()),
        false => show(args.output, &report),
    };
    measured.and(shown)
}

fn check_format(format: Format) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Md | Format::Json => Ok(()),
        Format::Jsonl | Format::Csv => Err(Failure::Usage(
            "--ops has neither JSON lines nor CSV; expected --output table, md or json".to_owned(),
        )),
    }
}

fn show(format: Format, report: &Operations) -> Result<(), Failure> {
    match format {
        Format::Json => output::line(report.to_json()),
        Format::Md => output::write(report.to_markdown().as_bytes()),
        _ => output::write(report.to_string().as_bytes()),
    }
}

/// What is to be measured, and on what.
struct Measurement {
    /// Samples of each form.
    repeat: usize,
    sizes: Sizes,
    /// Nothing if the CPU computes.
    on_device: Option<GpuOperations>,
    /// Whether the device has a clock that must get up first.
    has_own_clock: bool,
}

impl Measurement {
    /// Measures everything. What was measured until an error is in `measured`.
    fn run(&self, measured: &mut Vec<OperationTimes>) -> Result<(), Failure> {
        let operations = Operation::all(MANY);
        let bar = output::progress(operations.len(), 3, "measuring");
        for operation in bar.wrap_iter(operations.iter()) {
            let forms = match &self.on_device {
                None => on_cpu(operation, &self.sizes, self.repeat)?,
                Some(on_device) => {
                    let warm_up = match (self.has_own_clock, measured.is_empty()) {
                        (false, _) => Duration::ZERO,
                        (true, true) => FIRST_WARM_UP,
                        (true, false) => WARM_UP,
                    };
                    on_gpu(&on_device.prepare(operation)?, self.repeat, warm_up)?
                }
            };
            if !forms.is_empty() {
                measured.push(OperationTimes {
                    operation: operation.name().to_owned(),
                    shape: operation.shape(&self.sizes),
                    tokens: operation.tokens,
                    forms,
                });
            }
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Samples of the forms in turn.
fn on_gpu(forms: &[GpuForm], repeat: usize, warm_up: Duration) -> Result<Vec<FormTimes>, Failure> {
    let empty = |form: &GpuForm| FormTimes {
        form: form.form().name().to_owned(),
        dispatches: Some(form.dispatches()),
        alone_s: Vec::new(),
        launched_s: Vec::new(),
    };
    let mut times: Vec<FormTimes> = forms.iter().map(empty).collect();
    let start = Instant::now();
    while start.elapsed() < warm_up {
        for form in forms {
            form.alone_s()?;
        }
    }
    for _ in 0..repeat {
        for (form, times) in forms.iter().zip(&mut times) {
            stop_if_interrupted()?;
            times.alone_s.push(form.alone_s()?);
            times.launched_s.push(form.launched_s()?);
        }
    }
    Ok(times)
}

/// Samples of what the twins take, each the mean of as many runs as fill it.
fn on_cpu(operation: &Operation, sizes: &Sizes, repeat: usize) -> Result<Vec<FormTimes>, Failure> {
    let Some(mut operation) = CpuOperation::new(operation, sizes) else {
        return Ok(Vec::new());
    };
    let mut seconds_of = |runs: u32| -> Result<Duration, Failure> {
        stop_if_interrupted()?;
        let start = Instant::now();
        for _ in 0..runs {
            operation.run()?;
        }
        Ok(start.elapsed())
    };
    let mut runs = 1;
    while seconds_of(runs)? < LEAST {
        runs *= 2;
    }
    let samples = (0..repeat).map(|_| Ok(seconds_of(runs)?.as_secs_f64() / f64::from(runs)));
    Ok(vec![FormTimes {
        form: Form::Single.name().to_owned(),
        dispatches: None,
        alone_s: samples.collect::<Result<_, Failure>>()?,
        launched_s: Vec::new(),
    }])
}
