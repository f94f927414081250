//! Where the time goes, by profiles: their kernels, and what the host does meanwhile.

use super::results::{Named, Results};
use super::words;
use crate::profile::{Profile, Stage};

/// The stages of all profiles.
pub(super) fn breakdown(results: &Results) -> String {
    let of_profile = |profile: &Named<Profile>| {
        let layers = results.layers(&profile.content.model);
        let stages = profile.content.stages.iter();
        let stages: String = stages
            .map(|stage| section(profile, stage, layers))
            .collect();
        let command = words::command(&profile.content.arguments);
        let command = format!("{command}    # {}", words::name(&profile.label));
        format!("{stages}{}", words::block(&[command]))
    };
    let profiles = results.profiles.iter().map(of_profile);
    profiles.collect::<Vec<_>>().join("\n")
}

fn section(profile: &Named<Profile>, stage: &Stage, layers: Option<usize>) -> String {
    let Profile {
        program,
        device,
        model,
        limits,
        ..
    } = &profile.content;
    let names = [
        &profile.label,
        &stage.name,
        model,
        &device.summary(),
        &device.driver,
        program,
    ]
    .map(|name| words::name(name));
    let [label, stage_name, model, device, driver, program] = names;
    let mut text =
        format!("**{label}**, {stage_name}: {model} on {device} ({driver}), {program}\n\n");
    if let Some(layers) = layers.filter(|layers| *layers > 0) {
        text += &dispatches(stage, layers);
    }
    if let Some(lender) = &profile.limits_of {
        let lender = words::name(lender);
        text += &format!("- % of limit by the limits that {lender} measured\n");
    }
    // To write into a string does not fail.
    let _ = stage.write(&mut text, "- ", limits.as_ref());
    text + "\n"
}

/// How many dispatches there are. What begins a pass runs once in each.
fn dispatches(stage: &Stage, layers: usize) -> String {
    let all = stage.dispatches.len();
    let mut kernels = stage.dispatches.iter().map(|dispatch| &dispatch.kernel);
    let first = kernels.next();
    let passes = 1 + kernels.filter(|kernel| Some(*kernel) == first).count();
    let a_layer = all as f64 / (layers * passes) as f64;
    match passes {
        1 => format!("- {all} dispatches, {a_layer:.1} a layer\n"),
        passes => format!("- {all} dispatches in {passes} passes, {a_layer:.1} a layer and pass\n"),
    }
}

impl Results {
    /// The layers of a model, if a run is of it.
    fn layers(&self, file: &str) -> Option<usize> {
        let mut models = self.runs.iter().map(|run| &run.content.model);
        models
            .find(|model| model.file == file)
            .map(|model| model.layers)
    }
}
