//! Throughput against something that was varied, with the quartiles as error bars.

use plotters::coord::combinators::{BindKeyPoints, IntoLogRange};
use plotters::element::{Circle, ErrorBar, PathElement};
use plotters::prelude::{ChartBuilder, Color, DrawingBackend, LineSeries, ShapeStyle};

use super::{Canvas, Drawing, Fault, Picture, picture, style, subtitle};
use crate::{Activations, Case, Error, Report, Summary, Task};

const SIZE: (u32, u32) = (900, 540);

/// Points of one colour, in the order of their places.
struct Curve {
    label: String,
    points: Vec<(usize, Summary)>,
}

/// Throughput of prompts against chunk size: a curve a test, block size and kind of activations.
pub(super) fn chunk_sizes(report: &Report) -> Result<Option<Picture>, Error> {
    let several_blocks = several(report.cases.iter().map(|case| case.setting.block_size));
    let curves = curves(report, |case| {
        let setting = &case.setting;
        let place = setting.prompt_chunk()?;
        let block = setting.block_size.filter(|_| several_blocks);
        let block = block.map_or_else(String::new, |size| format!(", block {size}"));
        Some((place, format!("{}{block}{}", setting.test(), rounded(case))))
    });
    draw(
        "chunk-size",
        "Throughput against chunk size",
        "tokens read at once",
        report,
        &curves,
    )
}

/// Throughput of all sequences together against their number.
pub(super) fn sequences(report: &Report) -> Result<Option<Picture>, Error> {
    let curves = curves(report, |case| {
        let mut setting = case.setting;
        let place = setting.sequences;
        if setting.task == Task::Prefill {
            return None;
        }
        if setting.task == Task::Parallel {
            setting.task = Task::Decode;
        }
        setting.sequences = 1;
        Some((place, format!("{}{}", setting.test(), rounded(case))))
    });
    draw(
        "sequences",
        "Throughput of all sequences together",
        "sequences at once",
        report,
        &curves,
    )
}

fn rounded(case: &Case) -> &'static str {
    match case.setting.activations {
        Activations::F32 => "",
        Activations::Q8 => ", q8",
    }
}

fn several<T: PartialEq>(mut values: impl Iterator<Item = T>) -> bool {
    let first = values.next();
    values.any(|value| Some(value) != first)
}

/// The cases that have a place, as one curve a label; of two cases in one place the first counts.
fn curves(report: &Report, place: impl Fn(&Case) -> Option<(usize, String)>) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for case in &report.cases {
        let Some(((place, label), rate)) = place(case).zip(case.tokens_per_s()) else {
            continue;
        };
        let known = curves.iter().position(|curve| curve.label == label);
        let index = known.unwrap_or_else(|| {
            curves.push(Curve {
                label,
                points: Vec::new(),
            });
            curves.len() - 1
        });
        let points = &mut curves[index].points;
        if points.iter().all(|(other, _)| *other != place) {
            points.push((place, rate));
            points.sort_by_key(|(place, _)| *place);
        }
    }
    curves
}

/// The curves on common axes; nothing if there is but one place on them.
fn draw(
    name: &str,
    title: &str,
    axis: &str,
    report: &Report,
    curves: &[Curve],
) -> Result<Option<Picture>, Error> {
    let mut places: Vec<usize> = curves
        .iter()
        .flat_map(|curve| &curve.points)
        .map(|point| point.0)
        .collect();
    places.sort_unstable();
    places.dedup();
    if places.len() < 2 {
        return Ok(None);
    }
    let chart = Chart {
        title,
        subtitle: subtitle(report),
        axis,
        places: places.into_iter().map(|place| place as f64).collect(),
        curves,
    };
    picture(name, SIZE, &chart).map(Some)
}

/// Curves on common axes.
struct Chart<'a> {
    title: &'a str,
    subtitle: String,
    axis: &'a str,
    /// All places that any curve has.
    places: Vec<f64>,
    curves: &'a [Curve],
}

impl Drawing for Chart<'_> {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let canvas = canvas.titled(self.title, style::letters(24))?;
        let canvas = canvas.titled(&self.subtitle, style::letters(15))?;
        draw_curves(&canvas, self.axis, &self.places, self.curves)
    }
}

fn draw_curves<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    axis: &str,
    places: &[f64],
    curves: &[Curve],
) -> Result<(), Fault>
where
    DB::ErrorType: 'static,
{
    let (least, most) = (places[0], places[places.len() - 1]);
    let rates = curves.iter().flat_map(|curve| &curve.points);
    let top = rates
        .map(|(_, rate)| rate.upper_quartile)
        .fold(0.0, f64::max);
    let across = (least / 1.15..most * 1.15).log_scale().base(2.0);
    let mut chart = ChartBuilder::on(canvas)
        .margin(14)
        .margin_right(24)
        .x_label_area_size(52)
        .y_label_area_size(70)
        .build_cartesian_2d(across.with_key_points(places.to_vec()), 0.0..top * 1.08)?;
    chart
        .configure_mesh()
        .bold_line_style(style::FAINT)
        .light_line_style(style::GROUND)
        .axis_style(style::INK)
        .label_style(style::letters(15))
        .axis_desc_style(style::letters(16))
        .x_desc(axis)
        .y_desc("tok/s")
        .x_label_formatter(&|place| format!("{place:.0}"))
        .y_label_formatter(&|rate| style::rate(*rate))
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let colour = style::series(index);
        let line = ShapeStyle {
            stroke_width: 2,
            ..colour.to_rgba().into()
        };
        let medians = curve
            .points
            .iter()
            .map(|(place, rate)| (*place as f64, rate.median));
        chart
            .draw_series(LineSeries::new(medians.clone(), line))?
            .label(curve.label.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], line));
        chart.draw_series(medians.map(|point| Circle::new(point, 3, colour.filled())))?;
        chart.draw_series(curve.points.iter().map(|(place, rate)| {
            ErrorBar::new_vertical(
                *place as f64,
                rate.lower_quartile,
                rate.median,
                rate.upper_quartile,
                line,
                12,
            )
        }))?;
    }
    style::legend(&mut chart, 15)
}
