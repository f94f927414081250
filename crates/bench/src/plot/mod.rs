//! Pictures of reports and comparisons, as SVG on a light ground of their own, so that they are readable in light pages
//! and dark ones.

mod bars;
mod curves;
mod heat;
mod style;

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};

use crate::{Comparison, Error, Report};

/// A picture with the name that a file of it should have.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The name, without an ending.
    pub name: String,
    /// The picture itself.
    pub svg: String,
}

/// What pictures can be made of the report: throughput against chunk size, block size by chunk size, throughput against
/// sequences at once; each where there are several of what it is about.
///
/// # Errors
/// [`Error::Picture`] if the drawing library fails.
pub fn of_report(report: &Report) -> Result<Vec<Picture>, Error> {
    let mut pictures = Vec::new();
    pictures.extend(curves::chunk_sizes(report)?);
    pictures.extend(heat::block_by_chunk(report)?);
    pictures.extend(curves::sequences(report)?);
    Ok(pictures)
}

/// The ratios of a comparison as bars.
///
/// # Errors
/// [`Error::Picture`] if the drawing library fails.
pub fn of_comparison(comparison: &Comparison) -> Result<Picture, Error> {
    bars::ratios(comparison)
}

/// What drawing can fail with.
type Fault = Box<dyn std::error::Error>;
/// A picture being drawn.
type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A picture of so many points by so many, filled with the ground and then drawn on.
fn picture(
    name: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Canvas<'_>) -> Result<(), Fault>,
) -> Result<Picture, Error> {
    let mut svg = String::new();
    let drawn = {
        let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let filled = canvas.fill(&style::GROUND).map_err(Fault::from);
        filled
            .and_then(|()| draw(&canvas.margin(10, 0, 0, 0)))
            .and_then(|()| canvas.present().map_err(Fault::from))
    };
    drawn.map_err(|fault| Error::Picture {
        picture: name.to_owned(),
        fault: fault.to_string(),
    })?;
    Ok(Picture {
        name: name.to_owned(),
        svg,
    })
}

/// What all cases of a report have in common, as a line under a title.
fn subtitle(report: &Report) -> String {
    let device = &report.device;
    format!(
        "{}: {}, {}, {}",
        report.model.name(),
        device.name,
        device.backend,
        device.precision
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{case, decode, parallel, prefill, report};
    use crate::{Case, Setting};

    fn of_cases(cases: Vec<Case>) -> Vec<Picture> {
        of_report(&Report { cases, ..report() }).unwrap()
    }

    fn names(pictures: &[Picture]) -> Vec<&str> {
        pictures
            .iter()
            .map(|picture| picture.name.as_str())
            .collect()
    }

    #[test]
    fn what_was_not_varied_makes_no_picture() {
        assert!(of_cases(Vec::new()).is_empty());
        let cases = vec![case(prefill(512, 64), &[1.0]), case(decode(64), &[1.0])];
        assert!(of_cases(cases).is_empty());
        let unmeasured = [64, 128].map(|chunk| case(prefill(512, chunk), &[]));
        assert!(of_cases(unmeasured.into()).is_empty());
    }

    #[test]
    fn sweeps_make_pictures() {
        let sizes = [(64, 8), (128, 8), (64, 16), (128, 16)];
        let mut cases: Vec<Case> = sizes
            .map(|(chunk, block)| {
                let setting = Setting {
                    block_size: Some(block),
                    ..prefill(512, chunk)
                };
                case(setting, &[1.0, 1.1, f64::from(block) / 10.0])
            })
            .into();
        cases.extend([1, 8, 32].map(|sequences| case(parallel(16, sequences), &[1.0, 1.2])));
        let pictures = of_cases(cases);
        let expected = [
            "chunk-size",
            "block-size-by-chunk-size-pp512-f32",
            "sequences",
        ];
        assert_eq!(names(&pictures), expected);
        for picture in &pictures {
            assert!(picture.svg.starts_with("<svg") && picture.svg.trim_end().ends_with("</svg>"));
            assert!(
                picture.svg.contains("A card, vulkan, exact"),
                "{}",
                picture.name
            );
        }
        assert!(pictures[0].svg.contains("pp512, block 16"));
        assert!(pictures[1].svg.contains("block size"));
    }

    #[test]
    fn names_of_models_cannot_break_the_picture() {
        let mut report = report();
        report.model.file = "<a> & \"b\".gguf".to_owned();
        report.cases = [64, 128]
            .map(|chunk| case(prefill(512, chunk), &[1.0]))
            .into();
        let pictures = of_report(&report).unwrap();
        assert!(
            pictures[0].svg.contains("&lt;a&gt; &amp; "),
            "{}",
            pictures[0].svg
        );
    }

    #[test]
    fn comparisons_are_bars_with_their_verdicts() {
        let run = |label: &str, factor: f64| {
            let cases = vec![case(
                decode(64),
                &[1.0, 1.01, 0.99, 1.0].map(|time| time * factor),
            )];
            (label.to_owned(), Report { cases, ..report() })
        };
        let comparison = Comparison::new(&[run("one", 1.0), run("two", 0.5)]).unwrap();
        let picture = of_comparison(&comparison).unwrap();
        assert!(
            picture.svg.contains("2.00, 128 tok/s (faster)"),
            "{}",
            picture.svg
        );
        assert!(picture.svg.contains("as a multiple of one"));
    }
}
