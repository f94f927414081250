//! Raw results: which kinds there are, and what one says of another.

use serde_json::Value;

use crate::plot::{self, Picture};
use crate::profile::Profile;
use crate::{Device, Error, Figures, Limits, LlamaBench, Report};

/// Raw results, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Results {
    pub(super) runs: Vec<Named<Report>>,
    pub(super) rivals: Vec<Named<LlamaBench>>,
    pub(super) profiles: Vec<Named<Profile>>,
    pub(super) figures: Vec<Named<Figures>>,
    /// Names of pictures, and where they are, as seen from the report.
    pub(super) pictures: Vec<(String, String)>,
}

/// What a file holds, with what the report calls it: the file's name without an ending.
#[derive(Debug, Clone)]
pub(super) struct Named<T> {
    pub(super) label: String,
    pub(super) content: T,
}

impl Results {
    /// Adds what a file of this name holds: a result of `thalweg bench`, of `thalweg profile`, of `llama-bench`, or of
    /// `engine-figures`.
    ///
    /// # Errors
    /// [`Error::NoResult`] if it is JSON of another kind; what the readers of the kinds say if it is none.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        let label = file
            .rsplit_once('.')
            .map_or(file, |(stem, _)| stem)
            .to_owned();
        match Kind::of(text)? {
            Kind::Run => self.runs.push(Named {
                label,
                content: Report::from_json(text)?,
            }),
            Kind::Rival => self.rivals.push(Named {
                label,
                content: LlamaBench::from_json(text)?,
            }),
            Kind::Profile => self.profiles.push(Named {
                label,
                content: Profile::from_json(text)?,
            }),
            Kind::Figures => self.figures.push(Named {
                label,
                content: Figures::from_json(text)?,
            }),
        }
        Ok(())
    }

    /// What can be drawn of them; a picture's name begins with that of its result.
    ///
    /// # Errors
    /// [`Error::Picture`] if the drawing library fails.
    pub fn pictures(&self) -> Result<Vec<Picture>, Error> {
        let mut pictures = Vec::new();
        for Named { label, content } in &self.runs {
            let of_run = plot::of_report(content)?
                .into_iter()
                .map(|picture| Picture {
                    name: format!("{label}-{}", picture.name),
                    ..picture
                });
            pictures.extend(of_run);
        }
        for Named { label, content } in &self.completed().profiles {
            let of_profile = plot::of_profile(content)?
                .into_iter()
                .map(|picture| named(label, picture));
            pictures.extend(of_profile);
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
        for Named { content, .. } in &mut results.runs {
            content.limits = content.limits.or(self.limits_of(&content.device));
            let mut others = self.runs.iter().map(|other| &other.content.model);
            let work =
                others.find_map(|other| other.work.filter(|_| other.is_same_as(&content.model)));
            content.model.work = content.model.work.or(work);
        }
        for Named { content, .. } in &mut results.profiles {
            content.limits = content.limits.or(self.limits_of(&content.device));
        }
        results
    }

    fn limits_of(&self, device: &Device) -> Option<Limits> {
        let is_same =
            |other: &Device| (&other.name, &other.backend) == (&device.name, &device.backend);
        let of_runs = self
            .runs
            .iter()
            .map(|run| (&run.content.device, run.content.limits));
        let profiles = self.profiles.iter();
        let of_profiles = profiles.map(|profile| (&profile.content.device, profile.content.limits));
        let mut all = of_runs.chain(of_profiles);
        all.find_map(|(other, limits)| limits.filter(|_| is_same(other)))
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
        } else if has("figures") {
            Ok(Kind::Figures)
        } else if first.is_array() || has("n_prompt") {
            Ok(Kind::Rival)
        } else {
            Err(Error::NoResult)
        }
    }
}
