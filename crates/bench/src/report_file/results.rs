//! Raw results: which kinds there are, and what one says of another.

use serde_json::Value;

use super::yardsticks::{Peers, Targets};
use crate::operations::Operations;
use crate::plot::{self, Picture};
use crate::profile::Profile;
use crate::{Device, Error, Figures, Limits, LlamaBench, Report};

/// Raw results, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Results {
    pub(super) runs: Vec<Named<Report>>,
    pub(super) rivals: Vec<Named<LlamaBench>>,
    pub(super) profiles: Vec<Named<Profile>>,
    pub(super) operations: Vec<Named<Operations>>,
    pub(super) peers: Vec<Peers>,
    pub(super) targets: Vec<Targets>,
    pub(super) figures: Vec<Named<Figures>>,
    /// Names of pictures, and where they are, as seen from the report.
    pub(super) pictures: Vec<(String, String)>,
}

/// What a file holds, with what the report calls it: the file's name without an ending.
#[derive(Debug, Clone)]
pub(super) struct Named<T> {
    pub(super) label: String,
    pub(super) content: T,
    /// Which other result its limits come from, if they do.
    pub(super) limits_of: Option<String>,
}

impl<T> Named<T> {
    fn new(label: &str, content: T) -> Named<T> {
        Named {
            label: label.to_owned(),
            content,
            limits_of: None,
        }
    }
}

impl Results {
    /// Adds what a file of this name holds: a result of `thalweg bench`, of `thalweg profile`, of `engine-figures`, or of `llama-bench`; or what
    /// results are held against: targets, or figures of others that were written down.
    ///
    /// # Errors
    /// [`Error::NoResult`] if it is JSON of another kind; what the readers of the kinds say if it is none;
    /// [`Error::OneName`] for a run of another model than one before it that calls it the same.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        let label = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        match Kind::of(text)? {
            Kind::Run => {
                let run = Named::new(label, Report::from_json(text)?);
                self.check_model(&run)?;
                self.runs.push(run);
            }
            Kind::Rival => self
                .rivals
                .push(Named::new(label, LlamaBench::from_json(text)?)),
            Kind::Profile => self
                .profiles
                .push(Named::new(label, Profile::from_json(text)?)),
            Kind::Operations => self
                .operations
                .push(Named::new(label, Operations::from_json(text)?)),
            Kind::Figures => self
                .figures
                .push(Named::new(label, Figures::from_json(text)?)),
            Kind::Peers => self.peers.push(Peers::from_json(text)?),
            Kind::Targets => self.targets.push(Targets::from_json(text)?),
        }
        Ok(())
    }

    /// Refuses another model of a name that there is: their figures would stand in one table.
    fn check_model(&self, run: &Named<Report>) -> Result<(), Error> {
        let model = &run.content.model;
        let is_other = |known: &&Named<Report>| {
            let known = &known.content.model;
            known.name() == model.name() && !known.has_shape_of(model)
        };
        match self.runs.iter().find(is_other) {
            None => Ok(()),
            Some(known) => Err(Error::OneName {
                name: model.name().to_owned(),
                one: known.label.clone(),
                other: run.label.clone(),
                models: Box::new([known.content.model.clone(), model.clone()]),
            }),
        }
    }

    /// What can be drawn of them; a picture's name begins with that of its result.
    ///
    /// # Errors
    /// [`Error::Picture`] if the drawing library fails.
    pub fn pictures(&self) -> Result<Vec<Picture>, Error> {
        let mut pictures = Vec::new();
        for Named { label, content, .. } in &self.runs {
            let of_run = plot::of_report(content)?.into_iter();
            pictures.extend(of_run.map(|picture| named(label, picture)));
        }
        for profile in &self.completed().profiles {
            let limits_of = profile.limits_of.as_deref();
            let of_profile = plot::of_profile(&profile.content, limits_of)?.into_iter();
            pictures.extend(of_profile.map(|picture| named(&profile.label, picture)));
        }
        Ok(pictures)
    }

    /// Has the report show these pictures, which lie in a folder as SVG.
    pub fn show_pictures(&mut self, folder: &str, pictures: &[Picture]) {
        let place = |picture: &Picture| {
            (
                picture.name.clone(),
                format!("{folder}/{}.svg", picture.name),
            )
        };
        self.pictures.extend(pictures.iter().map(place));
    }

    /// The same with what one run knows of a device or a model said of the others with that device or model, too: limits, and
    /// what the model's shape asks for.
    pub(super) fn completed(&self) -> Results {
        let mut results = self.clone();
        for run in &mut results.runs {
            self.complete_limits(
                &mut run.content.limits,
                &mut run.limits_of,
                &run.content.device,
            );
            let model = &mut run.content.model;
            let mut others = self.runs.iter().map(|other| &other.content.model);
            let work = others.find_map(|other| other.work.filter(|_| other.is_same_as(model)));
            model.work = model.work.or(work);
        }
        for profile in &mut results.profiles {
            let Profile { device, limits, .. } = &mut profile.content;
            self.complete_limits(limits, &mut profile.limits_of, device);
        }
        results
    }

    /// The limits that another result knows of the device, and which one it is, where there are none.
    fn complete_limits(
        &self,
        limits: &mut Option<Limits>,
        limits_of: &mut Option<String>,
        device: &Device,
    ) {
        if limits.is_none()
            && let Some((label, found)) = self.limits_of(device)
        {
            *limits = Some(found);
            *limits_of = Some(label.to_owned());
        }
    }

    fn limits_of(&self, device: &Device) -> Option<(&str, Limits)> {
        let of_runs = self
            .runs
            .iter()
            .map(|Named { label, content, .. }| (label.as_str(), &content.device, content.limits));
        let of_profiles = self
            .profiles
            .iter()
            .map(|Named { label, content, .. }| (label.as_str(), &content.device, content.limits));
        let is_same =
            |other: &Device| (&other.name, &other.backend) == (&device.name, &device.backend);
        let mut same = of_runs
            .chain(of_profiles)
            .filter(|(_, other, _)| is_same(other));
        same.find_map(|(label, _, limits)| Some((label, limits?)))
    }

    /// The runs model by model, the smallest model first.
    pub(super) fn by_model(&self) -> Vec<(&str, Vec<&Named<Report>>)> {
        let mut runs: Vec<&Named<Report>> = self.runs.iter().collect();
        runs.sort_by_key(|run| run.content.model.file_bytes);
        let mut models: Vec<(&str, Vec<&Named<Report>>)> = Vec::new();
        for run in runs {
            let name = run.content.model.name();
            match models.iter_mut().find(|(known, _)| *known == name) {
                Some((_, runs)) => runs.push(run),
                None => models.push((name, vec![run])),
            }
        }
        models
    }
}

/// A picture of a result.
fn named(label: &str, picture: Picture) -> Picture {
    Picture {
        name: format!("{label}-{}", picture.name),
        ..picture
    }
}

/// What a file can be.
enum Kind {
    Run,
    Rival,
    Profile,
    Operations,
    Peers,
    Targets,
    Figures,
}

impl Kind {
    fn of(text: &str) -> Result<Kind, Error> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let first = values.next().ok_or(Error::NoReport)?.map_err(Error::Json)?;
        let has = |key: &str| first.get(key).is_some();
        if has("cases") {
            Ok(Kind::Run)
        } else if has("stages") {
            Ok(Kind::Profile)
        } else if has("operations") {
            Ok(Kind::Operations)
        } else if has("peers") {
            Ok(Kind::Peers)
        } else if has("targets") {
            Ok(Kind::Targets)
        } else if has("figures") {
            Ok(Kind::Figures)
        } else if first.is_array() || has("n_prompt") {
            Ok(Kind::Rival)
        } else {
            Err(Error::NoResult)
        }
    }
}
