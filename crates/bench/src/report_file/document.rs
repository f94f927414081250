//! Where in a report the generated sections are.

use std::fmt;

use crate::Error;

/// What ends a generated section.
pub(super) const END: &str = "<!-- end -->";

/// What can be wrong with a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkerFault {
    /// A section begins and does not end.
    Unended,
    /// A section begins within another one.
    Nested,
    /// A section ends that did not begin.
    Unbegun,
    /// The marker is not as it should be.
    Malformed,
    /// There is no such section.
    Unknown(String),
}

impl fmt::Display for MarkerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MarkerFault::Unended => write!(f, "found a generated section without an end"),
            MarkerFault::Nested => write!(f, "found a generated section within another one"),
            MarkerFault::Unbegun => write!(f, "found the end of a section that does not begin"),
            MarkerFault::Malformed => write!(f, "found a marker that cannot be read"),
            MarkerFault::Unknown(name) => {
                write!(f, "found a generated section '{name}', which is unknown")
            }
        }
    }
}

/// What begins the section of that name.
pub(super) fn beginning(name: &str) -> String {
    format!("<!-- generated: {name} -->")
}

enum Line<'a> {
    Begin(&'a str),
    End,
    Text,
}

impl Line<'_> {
    fn of(line: &str) -> Result<Line<'_>, MarkerFault> {
        let line = line.trim();
        if line == END {
            return Ok(Line::End);
        }
        let Some(inside) = line.strip_prefix("<!-- generated") else {
            return Ok(Line::Text);
        };
        let name = inside
            .strip_prefix(": ")
            .and_then(|inside| inside.strip_suffix(" -->"));
        name.map(Line::Begin).ok_or(MarkerFault::Malformed)
    }
}

/// The document with what `section` says of each name between its markers, and all else as it is.
pub(super) fn fill(
    document: &str,
    section: impl Fn(&str) -> Option<String>,
) -> Result<String, Error> {
    let mut filled = String::new();
    let mut begun_at: Option<usize> = None;
    let mut sections = 0;
    for (line, text) in (1..).zip(document.split_inclusive('\n')) {
        let broken = |fault| Error::Marker { line, fault };
        match (Line::of(text).map_err(broken)?, begun_at) {
            (Line::Begin(_), Some(_)) => return Err(broken(MarkerFault::Nested)),
            (Line::End, None) => return Err(broken(MarkerFault::Unbegun)),
            (Line::Begin(name), None) => {
                let generated =
                    section(name).ok_or_else(|| broken(MarkerFault::Unknown(name.to_owned())))?;
                filled += &format!("{}\n\n{}\n\n", text.trim_end(), generated.trim_end());
                begun_at = Some(line);
                sections += 1;
            }
            (Line::End, Some(_)) => {
                filled += text;
                begun_at = None;
            }
            (Line::Text, None) => filled += text,
            (Line::Text, Some(_)) => {}
        }
    }
    match begun_at {
        Some(line) => Err(Error::Marker {
            line,
            fault: MarkerFault::Unended,
        }),
        None if sections == 0 => Err(Error::NoMarkers),
        None => Ok(filled),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn section(name: &str) -> Option<String> {
        (name == "a" || name == "b").then(|| format!("of {name}\n"))
    }

    #[test]
    fn broken_markers_are_named_with_their_line() {
        let fault = |document: &str| match fill(document, section).unwrap_err() {
            Error::Marker { line, fault } => (line, fault),
            other => panic!("{other}"),
        };
        use MarkerFault::{Malformed, Nested, Unbegun, Unended, Unknown};
        assert_eq!(fault("x\n<!-- generated: a -->\nold"), (2, Unended));
        assert_eq!(
            fault("<!-- generated: a -->\n<!-- generated: b -->\n<!-- end -->"),
            (2, Nested)
        );
        assert_eq!(fault("x\n\n<!-- end -->"), (3, Unbegun));
        assert_eq!(fault("<!-- generated a -->\n<!-- end -->"), (1, Malformed));
        assert_eq!(
            fault("<!-- generated: c -->\n<!-- end -->"),
            (1, Unknown("c".to_owned()))
        );
    }

    #[test]
    fn a_document_without_a_place_is_refused() {
        assert!(matches!(fill("# Text\n", section), Err(Error::NoMarkers)));
        assert!(matches!(fill("", section), Err(Error::NoMarkers)));
    }

    proptest! {
        #[test]
        fn text_around_sections_stays(before in "[^<]*", between in "[^<]*", after in "[^<]*") {
            let document = |a: &str, b: &str| format!(
                "{before}\n<!-- generated: a -->{a}<!-- end -->\n{between}\n<!-- generated: b -->{b}<!-- end -->\n{after}"
            );
            let filled = fill(&document("\nold\n", "\n"), section).unwrap();
            prop_assert_eq!(&filled, &document("\n\nof a\n\n", "\n\nof b\n\n"));
            prop_assert_eq!(fill(&filled, section).unwrap(), filled);
        }
    }
}
