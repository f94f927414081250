//! What was measured on what: the claim, the runs, the limits of devices, what drifted, and what nobody measured.

use super::results::{Named, Results};
use super::words;
use super::{best, check, targets};
use crate::{Case, DRIFT, Report, Table, Task};

impl Named<Report> {
    /// The command that it was measured by.
    pub(super) fn command(&self) -> String {
        let file = words::name(&self.label);
        format!("{}    # {file}", words::command(&self.content.arguments))
    }
}

/// The most that each model did on each device, with the range of samples.
pub(super) fn claim(results: &Results) -> String {
    let mut claims = String::new();
    for (model, runs) in results.by_model() {
        let mut devices: Vec<(&str, &str)> = runs.iter().map(|run| device(run)).collect();
        devices.sort_unstable();
        devices.dedup();
        for of in devices {
            let runs: Vec<_> = runs
                .iter()
                .copied()
                .filter(|run| device(run) == of)
                .collect();
            let deeds = [("reads", true), ("writes", false)]
                .map(|(verb, prompts)| deed(verb, &runs, prompts));
            let deeds: Vec<String> = deeds.into_iter().flatten().collect();
            if !deeds.is_empty() {
                let (name, backend) = (words::name(of.0), of.1);
                claims += &format!(
                    "- {} on {name} ({backend}) {}\n",
                    words::name(model),
                    deeds.join(", and ")
                );
            }
        }
    }
    claims
}

fn device(run: &Named<Report>) -> (&str, &str) {
    let device = &run.content.device;
    (&device.name, &device.backend)
}

/// The fastest that a single sequence was read, or written.
fn deed(verb: &str, runs: &[&Named<Report>], prompts: bool) -> Option<String> {
    let cases = runs.iter().flat_map(|run| {
        let is_wanted = |setting: &crate::Setting| {
            (setting.task == Task::Prefill) == prompts && setting.sequences == 1
        };
        let best = best::of_run(&run.content, is_wanted);
        best.into_iter().map(|case| (&run.content, case))
    });
    let median = |case: &Case| case.tokens_per_s().map_or(0.0, |rate| rate.median);
    let (run, case) = cases.max_by(|(_, one), (_, other)| median(one).total_cmp(&median(other)))?;
    let rate = case.tokens_per_s()?;
    let setting = &case.setting;
    let chunk = setting
        .prompt_chunk()
        .map_or_else(String::new, |size| format!(" in chunks of {size}"));
    let activations = match words::activations(setting) {
        "" => String::new(),
        activations => format!(", activations {activations}"),
    };
    Some(format!(
        "{verb} **{} tok/s** ({}{chunk}; {}) with precision {}{activations}",
        words::rate(rate.median),
        setting.test(),
        words::range(&rate),
        words::name(&run.device.precision),
    ))
}

/// Program, machine and model of each run, and what got faster or slower in it.
pub(super) fn runs(results: &Results) -> String {
    let mut table = Table::new([
        "run",
        "program",
        "platform",
        "backend",
        "adapter",
        "driver",
        "features",
        "precision",
        "tuned",
        "model",
        "MB",
        "hash",
        "load s",
        "device MB",
        "host MB",
    ]);
    let mut notes = String::new();
    for run in &results.runs {
        table.row(cells(run));
        notes += &drift(run);
    }
    match results.runs.is_empty() {
        true => String::new(),
        false => format!("{}\n{notes}", table.without_empty_columns()),
    }
}

fn cells(run: &Named<Report>) -> Vec<String> {
    let Report {
        device,
        model,
        loads,
        ..
    } = &run.content;
    let megabytes = |bytes: Option<u64>| {
        bytes.map_or_else(String::new, |bytes| format!("{:.0}", bytes as f64 / 1e6))
    };
    let load = loads.first();
    let names = [
        &run.label,
        &run.content.program,
        &run.content.platform,
        &device.backend,
        &device.name,
        &device.driver,
        &device.features.join(" "),
        &device.precision,
    ];
    let mut cells: Vec<String> = names.map(|name| words::name(name)).into();
    cells.extend([
        if run.content.tuned { "yes" } else { "" }.to_owned(),
        words::name(model.name()),
        megabytes(Some(model.file_bytes)),
        words::name(model.hash.as_deref().unwrap_or_default()),
        load.map_or_else(String::new, |load| format!("{:.2}", load.seconds)),
        megabytes(load.and_then(|load| load.device_bytes)),
        megabytes(
            load.and_then(|load| load.host_memory)
                .map(|memory| memory.anonymous_bytes),
        ),
    ]);
    cells
}

fn drift(run: &Named<Report>) -> String {
    let name = |(case, change): (&Case, f64)| {
        let chunk = case
            .setting
            .prompt_chunk()
            .map_or_else(String::new, |size| format!(" in chunks of {size}"));
        format!("{}{chunk} by {:+.0} %", case.setting.test(), change * 100.0)
    };
    let drifting: Vec<String> = run.content.drifting().map(name).collect();
    match drifting.is_empty() {
        true => String::new(),
        false => format!(
            "- {}: later samples differ from earlier ones by more than {:.0} %, for {}\n",
            words::name(&run.label),
            DRIFT * 100.0,
            drifting.join(", ")
        ),
    }
}

/// What was drawn of the results.
pub(super) fn pictures(results: &Results) -> String {
    let shown = results.pictures.iter().map(|(name, place)| {
        let (name, place) = (words::name(name), words::name(place).replace('>', "&gt;"));
        format!("![{name}](<{place}>)\n")
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// Checks that failed, and targets that were missed.
pub(super) fn failed(results: &Results) -> String {
    let lines = check::faults(results) + &targets::missed(results);
    match (lines.is_empty(), results.runs.is_empty()) {
        (false, _) => lines,
        (true, true) => String::new(),
        (true, false) => {
            "No check that was made failed, and no target that was measured was missed.".to_owned()
        }
    }
}

/// Backends that no run is of, with the command for somebody who has them.
pub(super) fn missing(results: &Results) -> String {
    const ON_GPU: &str = "--limits --block-size 8,16 ";
    const BACKENDS: [(&str, &str, &str); 4] = [
        ("vulkan", "Vulkan, on Linux, Windows or Android", ON_GPU),
        ("metal", "Metal, on a Mac", ON_GPU),
        ("dx12", "DX12, on Windows", ON_GPU),
        ("cpu", "the CPU, anywhere", ""),
    ];
    let has_run = |backend: &str| {
        results
            .runs
            .iter()
            .any(|run| run.content.device.backend == backend)
    };
    let mut text = String::new();
    for (backend, name, flags) in BACKENDS.iter().filter(|(backend, ..)| !has_run(backend)) {
        let command = format!(
            "thalweg bench -m model.gguf --backend {backend} --check --prefill 64,256,512,1024 --chunk-size '64..1024*2' {flags}\
             --parallel 1,8,32 -o json > {backend}.json"
        );
        let profile = (*backend != "cpu").then(|| {
            format!(
                "thalweg profile -m model.gguf --backend {backend} -o json > {backend}-profile.json"
            )
        });
        text += &format!(
            "No result is of {name}. Who has it:\n\n{}\n",
            words::block(&std::iter::once(command).chain(profile).collect::<Vec<_>>())
        );
    }
    match text.is_empty() {
        true => "Each backend has a result.".to_owned(),
        false => text,
    }
}
