//! Pictures of reports and comparisons, as SVG and PNG, on a light ground of their own, so that they are readable in light
//! pages and dark ones.

mod bars;
mod curves;
mod heat;
mod letters;
mod roofline;
mod shares;
mod style;

use plotters::coord::Shift;
use plotters::prelude::{BitMapBackend, DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend};

use crate::profile::Profile;
use crate::{Comparison, Error, Report};

/// A picture with the name that a file of it should have.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The name, without an ending.
    pub name: String,
    /// The picture as SVG.
    pub svg: String,
    /// The picture as PNG.
    pub png: Vec<u8>,
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

/// What pictures can be made of the profile: the time of kernels, stage by stage, and the kernels of each stage under the roofs
/// of what the device does at the most, if that is known: `limits_of` names the result that measured it if it is another one.
///
/// # Errors
/// [`Error::Picture`] if the drawing library fails.
pub fn of_profile(profile: &Profile, limits_of: Option<&str>) -> Result<Vec<Picture>, Error> {
    let mut pictures = Vec::new();
    pictures.extend(shares::kernels(profile)?);
    for stage in &profile.stages {
        pictures.extend(roofline::of_stage(profile, stage, limits_of)?);
    }
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
type Canvas<DB> = DrawingArea<DB, Shift>;

/// Something that can be drawn, whatever it is drawn by.
trait Drawing {
    /// Draws it.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static;
}

/// A picture of so many points by so many.
fn picture(name: &str, size: (u32, u32), drawing: &impl Drawing) -> Result<Picture, Error> {
    let made = letters::register()
        .and_then(|()| Ok((svg(size, drawing)?, png(size, drawing)?)))
        .map_err(|fault| Error::Picture {
            picture: name.to_owned(),
            fault: fault.to_string(),
        });
    let (svg, png) = made?;
    Ok(Picture {
        name: name.to_owned(),
        svg,
        png,
    })
}

fn svg(size: (u32, u32), drawing: &impl Drawing) -> Result<String, Fault> {
    let mut svg = String::new();
    draw_on(SVGBackend::with_string(&mut svg, size), drawing)?;
    Ok(svg)
}

fn png((width, height): (u32, u32), drawing: &impl Drawing) -> Result<Vec<u8>, Fault> {
    const BYTES_A_POINT: usize = 3;
    let mut pixels = vec![0; BYTES_A_POINT * width as usize * height as usize];
    draw_on(
        BitMapBackend::with_buffer(&mut pixels, (width, height)),
        drawing,
    )?;
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(png)
}

fn draw_on<DB: DrawingBackend>(backend: DB, drawing: &impl Drawing) -> Result<(), Fault>
where
    DB::ErrorType: 'static,
{
    let canvas = backend.into_drawing_area();
    canvas.fill(&style::GROUND)?;
    drawing.draw(&canvas.margin(10, 0, 0, 0))?;
    Ok(canvas.present()?)
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

/// What all stages of a profile have in common, likewise.
fn subtitle_of_profile(profile: &Profile) -> String {
    let model = profile
        .model
        .strip_suffix(".gguf")
        .unwrap_or(&profile.model);
    let device = &profile.device;
    format!(
        "{model}: {}, {}, {}",
        device.name, device.backend, device.precision
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

    /// Whether the ground is covered with something, letters among it, that leaves most of it free.
    fn has_ink(png: &[u8]) -> bool {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let inked = pixels
            .chunks(3)
            .filter(|pixel| pixel.iter().all(|part| *part < 90))
            .count();
        (pixels.len() / 3000..pixels.len() / 6).contains(&inked)
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
            assert!(has_ink(&picture.png), "{}", picture.name);
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
    fn profiles_are_shares_and_roofs() {
        let mut profile = crate::profile::tests::profile();
        profile.limits = None;
        assert_eq!(names(&of_profile(&profile, None).unwrap()), ["kernels"]);
        profile.limits = Some(crate::Limits {
            read_bytes_per_s: 1e12,
            fma_flop_per_s: 1e13,
            matrix_flop_per_s: Some(1e14),
            dispatch_s: 1e-6,
            round_trip_s: 1e-5,
        });
        let pictures = of_profile(&profile, Some("another run")).unwrap();
        assert!(pictures[1].svg.contains("by another run"));
        assert_eq!(names(&pictures), ["kernels", "roofline-decode"]);
        for picture in &pictures {
            assert!(
                picture.svg.contains("matvec") && has_ink(&picture.png),
                "{}",
                picture.name
            );
        }
        profile.stages[0].dispatches.clear();
        assert!(of_profile(&profile, None).unwrap().is_empty());
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
