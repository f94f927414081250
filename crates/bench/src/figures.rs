//! Single numbers, and what they are to be.

use serde::{Deserialize, Serialize};

use crate::report_file::words;
use crate::{Error, Table};

/// Figures that a program of the benches measured on a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The program and its arguments.
    pub command: String,
    /// The device's name.
    pub device: String,
    /// The model's file.
    pub model: String,
    /// Those of a section stand together.
    pub figures: Vec<Figure>,
}

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was done.
    pub section: String,
    /// What of it was measured.
    pub name: String,
    /// The median of the samples.
    pub value: f64,
    /// Of the value.
    pub unit: String,
    /// What was to be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Figures {
    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`Error::Figures`] if it is not that.
    pub fn from_json(text: &str) -> Result<Figures, Error> {
        serde_json::from_str(text).map_err(Error::Figures)
    }

    /// As text that can be kept.
    ///
    /// # Errors
    /// [`Error::Figures`] if a value is no number.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self).map_err(Error::Figures)
    }

    /// In Markdown: what was measured with what, and a table a section.
    pub fn to_markdown(&self) -> String {
        let (model, device) = (words::name(&self.model), words::name(&self.device));
        let mut text = format!(
            "{model} on {device}\n\n{}\n",
            words::block(std::slice::from_ref(&self.command))
        );
        for of_section in self.figures.chunk_by(|a, b| a.section == b.section) {
            let mut table = Table::new(["", "measured", "target", ""]);
            for figure in of_section {
                table.row(figure.cells());
            }
            let section = words::name(&of_section[0].section);
            text += &format!("**{section}**\n\n{}\n", table.without_empty_columns());
        }
        text
    }
}

impl Figure {
    /// The same, to be no less than this.
    pub fn at_least(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtLeast(bound));
        self
    }

    /// The same, to be no more than this.
    pub fn at_most(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtMost(bound));
        self
    }

    fn cells(&self) -> [String; 4] {
        let Figure {
            name, value, unit, ..
        } = self;
        let unit = words::name(unit);
        let number = |value: f64| match value.abs() {
            0.0..10.0 => format!("{value:.2} {unit}"),
            _ => format!("{value:.1} {unit}"),
        };
        let (target, missed) = match self.target {
            None => (String::new(), false),
            Some(Target::AtLeast(bound)) => (format!("at least {bound} {unit}"), *value < bound),
            Some(Target::AtMost(bound)) => (format!("at most {bound} {unit}"), *value > bound),
        };
        let missed = if missed { "missed" } else { "" };
        [words::name(name), number(*value), target, missed.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let figure = |section: &str, name: &str, value, target| Figure {
            section: section.to_owned(),
            name: name.to_owned(),
            value,
            unit: "ms".to_owned(),
            target,
        };
        Figures {
            command: "engine-figures -m a.gguf".to_owned(),
            device: "A | B".to_owned(),
            model: "a.gguf".to_owned(),
            figures: vec![
                figure("One", "a", 1.0, Some(Target::AtMost(2.0))),
                figure("One", "b", 1.0, Some(Target::AtLeast(2.0))),
                figure("Two", "c", 120.04, None),
            ],
        }
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let figures = figures();
        let text = figures.to_json().unwrap();
        assert_eq!(Figures::from_json(&text).unwrap(), figures);
        assert!(matches!(Figures::from_json("{}"), Err(Error::Figures(_))));
    }

    #[test]
    fn tables_say_what_was_missed() {
        let text = figures().to_markdown();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in [
            "a.gguf on A \\| B",
            "| a | 1.00 ms | at most 2 ms | |",
            "| b | 1.00 ms | at least 2 ms | missed |",
            "**Two**",
            "| c | 120.0 ms |",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line} in {text}");
        }
    }
}
