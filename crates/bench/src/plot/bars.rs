//! The ratios of a comparison as bars, with the first run as the line at one.

use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::{ChartBuilder, Color, DrawingBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Canvas, Drawing, Fault, Picture, picture, style};
use crate::{Comparison, Entry, Error, Row};

/// Points from bar to bar.
const BAR_HEIGHT: u32 = 26;
/// Rows with which there would be more lines are left to the table: nobody reads a picture of more.
const MOST_LINES: usize = 400;

/// One bar.
struct Bar {
    run: usize,
    ratio: f64,
    caption: String,
}

/// The rows that have any ratio, from top to bottom, each with the bars of its runs.
pub(super) fn ratios(comparison: &Comparison) -> Result<Picture, Error> {
    let mut groups = Vec::new();
    let mut lines = 0;
    for row in &comparison.rows {
        let bars = bars(row);
        if !bars.is_empty() && lines + bars.len() < MOST_LINES {
            lines += bars.len() + 1;
            groups.push((name(row), bars));
        }
    }
    let height = 180 + BAR_HEIGHT * (lines + comparison.runs.len() + 1) as u32;
    let chart = Chart {
        comparison,
        groups,
        lines,
    };
    picture("comparison", (960, height), &chart)
}

/// The bars of all rows.
struct Chart<'a> {
    comparison: &'a Comparison,
    /// Rows by their names.
    groups: Vec<(String, Vec<Bar>)>,
    /// Bars and names of rows.
    lines: usize,
}

impl Drawing for Chart<'_> {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let runs = &self.comparison.runs;
        let first = runs.first().map_or("", |run| run.label.as_str());
        let title = format!("Throughput, as a multiple of {first}");
        let canvas = canvas.titled(&title, style::letters(22))?;
        draw(&canvas, self.comparison, &self.groups, self.lines)
    }
}

fn name(row: &Row) -> String {
    let chunk = row.chunk();
    let chunk = if chunk.is_empty() {
        chunk
    } else {
        format!(", chunk {chunk}")
    };
    let block = row.block();
    let block = if block.is_empty() {
        block
    } else {
        format!(", block {block}")
    };
    let activations = row.activations();
    let activations = if activations == "f32" {
        String::new()
    } else {
        format!(", {activations}")
    };
    format!("{}{chunk}{block}{activations}", row.test)
}

fn bars(row: &Row) -> Vec<Bar> {
    let bar = |(run, entry): (usize, &Option<Entry>)| {
        let Entry {
            tokens_per_s,
            ratio,
            verdict,
        } = entry.as_ref()?;
        Some(Bar {
            run,
            ratio: (*ratio)?,
            caption: format!(
                "{:.2}, {} tok/s ({})",
                (*ratio)?,
                style::rate(tokens_per_s.median),
                (*verdict)?.name()
            ),
        })
    };
    row.entries.iter().enumerate().filter_map(bar).collect()
}

fn draw<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    comparison: &Comparison,
    groups: &[(String, Vec<Bar>)],
    lines: usize,
) -> Result<(), Fault>
where
    DB::ErrorType: 'static,
{
    let ratios = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|bar| bar.ratio);
    let widest = ratios.fold(1.0, f64::max);
    let keys = comparison.runs.len() as f64 + 1.0;
    let mut chart = ChartBuilder::on(canvas)
        .margin(14)
        .x_label_area_size(48)
        .y_label_area_size(10)
        .build_cartesian_2d(0.0..widest * 1.45, 0.0..lines as f64 + keys)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .bold_line_style(style::FAINT)
        .light_line_style(style::GROUND)
        .axis_style(style::INK)
        .label_style(style::letters(15))
        .axis_desc_style(style::letters(16))
        .x_desc("times as fast")
        .draw()?;
    let left = |points: u32| style::letters(points).pos(Pos::new(HPos::Left, VPos::Center));
    let mut top = lines as f64 + keys;
    for (label, bars) in groups {
        chart.draw_series([Text::new(
            label.clone(),
            (widest * 0.01, top - 0.55),
            left(15),
        )])?;
        top -= 1.0;
        for bar in bars {
            let corners = [(0.0, top - 0.1), (bar.ratio, top - 0.9)];
            chart.draw_series([Rectangle::new(corners, style::series(bar.run).filled())])?;
            let caption = (widest * 1.03, top - 0.5); // beyond all bars, in a column
            chart.draw_series([Text::new(bar.caption.clone(), caption, left(14))])?;
            top -= 1.0;
        }
    }
    chart.draw_series([PathElement::new(
        [(1.0, keys), (1.0, lines as f64 + keys)],
        style::INK.stroke_width(2),
    )])?;
    for (run, description) in comparison.runs.iter().enumerate() {
        let (label, device) = (&description.label, &description.device);
        let y = keys - 1.0 - run as f64;
        let (left_edge, right_edge) = (widest * 0.01, widest * 0.04);
        // The first run is the line at one.
        if run == 0 {
            let line = [(left_edge, y), (right_edge, y)];
            chart.draw_series([PathElement::new(line, style::INK.stroke_width(2))])?;
        } else {
            let mark = [(left_edge, y + 0.25), (right_edge, y - 0.25)];
            chart.draw_series([Rectangle::new(mark, style::series(run).filled())])?;
        }
        let text = format!(
            "{label}: {} {}, {}",
            device.backend, device.name, device.precision
        );
        chart.draw_series([Text::new(text, (widest * 0.055, y), left(15))])?;
    }
    Ok(())
}
