//! The time of kernels, stacked: a bar a stage.

use plotters::element::{Rectangle, Text};
use plotters::prelude::{ChartBuilder, Color, DrawingBackend, RGBColor};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Canvas, Drawing, Fault, Picture, picture, style};
use crate::Error;
use crate::profile::{Profile, Stage};

/// Kernels with a colour of their own; the others share one.
const NAMED: usize = 6;
const OTHERS: &str = "others";
const OTHERS_COLOUR: RGBColor = RGBColor(150, 150, 146);
/// A part of less percent has no room for its number.
const LEAST_WRITTEN: f64 = 4.0;

/// The bars of all stages that have a kernel.
struct Chart {
    subtitle: String,
    /// The kernels with a colour of their own, those that take most first.
    kernels: Vec<String>,
    /// What a stage is called, and the percent of each of the kernels and of the others.
    bars: Vec<(String, Vec<f64>)>,
}

pub(super) fn kernels(profile: &Profile) -> Result<Option<Picture>, Error> {
    let chart = Chart::new(profile);
    if chart.bars.is_empty() {
        return Ok(None);
    }
    let lines = chart.bars.len() * 2 + chart.kernels.len() + 1;
    picture("kernels", (900, 170 + 30 * lines as u32), &chart).map(Some)
}

impl Chart {
    fn new(profile: &Profile) -> Chart {
        let stages: Vec<&Stage> = profile
            .stages
            .iter()
            .filter(|stage| stage.dispatches_s() > 0.0)
            .collect();
        let mut all: Vec<(String, f64)> = Vec::new();
        for kernel in stages.iter().flat_map(|stage| stage.kernels()) {
            match all.iter_mut().find(|(name, _)| *name == kernel.kernel) {
                Some((_, share)) => *share += kernel.share,
                None => all.push((kernel.kernel, kernel.share)),
            }
        }
        all.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let kernels: Vec<String> = all.into_iter().take(NAMED).map(|(name, _)| name).collect();
        let bars = stages.iter().map(|stage| {
            let mut percents = vec![0.0; kernels.len() + 1];
            for kernel in stage.kernels() {
                let place = kernels.iter().position(|name| *name == kernel.kernel);
                percents[place.unwrap_or(kernels.len())] += kernel.share * 100.0;
            }
            (
                format!(
                    "{}: {:.0} us of kernels",
                    stage.name,
                    stage.dispatches_s() * 1e6
                ),
                percents,
            )
        });
        let bars = bars.collect();
        Chart {
            subtitle: super::subtitle_of_profile(profile),
            kernels,
            bars,
        }
    }

    fn colour(&self, kernel: usize) -> RGBColor {
        match kernel < self.kernels.len() {
            true => style::series(kernel),
            false => OTHERS_COLOUR,
        }
    }
}

impl Drawing for Chart {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let canvas = canvas.titled("Where the device's time goes", style::letters(22))?;
        let canvas = canvas.titled(&self.subtitle, style::letters(14))?;
        let keys = self.kernels.len() as f64 + 1.0;
        let mut top = 2.0 * self.bars.len() as f64 + keys;
        let mut chart = ChartBuilder::on(&canvas)
            .margin(14)
            .margin_right(24)
            .x_label_area_size(48)
            .build_cartesian_2d(0.0..100.0, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .bold_line_style(style::FAINT)
            .light_line_style(style::GROUND)
            .axis_style(style::INK)
            .label_style(style::letters(15))
            .axis_desc_style(style::letters(16))
            .x_desc("% of the time of all kernels")
            .x_label_formatter(&|percent| format!("{percent:.0}"))
            .draw()?;
        let left = style::letters(15).pos(Pos::new(HPos::Left, VPos::Center));
        let center = style::letters(14).pos(Pos::new(HPos::Center, VPos::Center));
        for (name, percents) in &self.bars {
            chart.draw_series([Text::new(name.clone(), (0.5, top - 0.5), left.clone())])?;
            let mut begin = 0.0;
            for (kernel, &percent) in percents.iter().enumerate() {
                let corners = [(begin, top - 1.05), (begin + percent, top - 1.85)];
                chart.draw_series([Rectangle::new(corners, self.colour(kernel).filled())])?;
                let written = (percent >= LEAST_WRITTEN).then(|| {
                    let middle = (begin + percent / 2.0, top - 1.45);
                    Text::new(
                        format!("{percent:.0}"),
                        middle,
                        center.clone().color(&style::GROUND),
                    )
                });
                chart.draw_series(written)?;
                begin += percent;
            }
            top -= 2.0;
        }
        let names = self.kernels.iter().map(String::as_str).chain([OTHERS]);
        for (kernel, name) in names.enumerate() {
            let mark = [(0.5, top - 0.25), (3.0, top - 0.75)];
            chart.draw_series([Rectangle::new(mark, self.colour(kernel).filled())])?;
            chart.draw_series([Text::new(name.to_owned(), (4.0, top - 0.5), left.clone())])?;
            top -= 1.0;
        }
        Ok(())
    }
}
