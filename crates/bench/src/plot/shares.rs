//! The time of kernels, stacked: a bar a stage, with its kernels under it.

use plotters::element::{Rectangle, Text};
use plotters::prelude::{ChartBuilder, Color, DrawingBackend, RGBColor};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Canvas, Drawing, Fault, Picture, picture, style};
use crate::Error;
use crate::profile::{Profile, Stage};

/// Kernels of a stage with a colour of their own; the others share one.
const NAMED: usize = 7;
const OTHERS_COLOUR: RGBColor = RGBColor(150, 150, 146);
/// A part of less percent has no room for its number.
const LEAST_WRITTEN: f64 = 4.0;
/// Lines of a stage besides its kernels: its name, its bar, and room below.
const OTHER_LINES: f64 = 2.6;

/// The bars of all stages that have a kernel.
struct Chart {
    subtitle: String,
    bars: Vec<Bar>,
}

/// A stage from left to right.
struct Bar {
    name: String,
    parts: Vec<Part>,
}

struct Part {
    name: String,
    percent: f64,
    colour: RGBColor,
}

pub(super) fn kernels(profile: &Profile) -> Result<Option<Picture>, Error> {
    let stages = profile.stages.iter();
    let bars: Vec<Bar> = stages
        .filter(|stage| stage.dispatches_s() > 0.0)
        .map(Bar::new)
        .collect();
    if bars.is_empty() {
        return Ok(None);
    }
    let chart = Chart {
        subtitle: super::subtitle_of_profile(profile),
        bars,
    };
    let height = 150 + (26.0 * chart.lines()) as u32;
    picture("kernels", (900, height), &chart).map(Some)
}

impl Bar {
    fn new(stage: &Stage) -> Bar {
        let kernels = stage.kernels();
        let (named, others) = kernels.split_at(kernels.len().min(NAMED));
        let part = |name: String, share: f64, seconds: f64, colour| {
            let percent = 100.0 * share;
            Part {
                name: format!("{name}: {percent:.1} %, {:.0} us", seconds * 1e6),
                percent,
                colour,
            }
        };
        let mut parts: Vec<Part> = Vec::new();
        for (index, kernel) in named.iter().enumerate() {
            let name = format!("{} ({}x)", kernel.kernel, kernel.count);
            let colour = style::series(index);
            parts.push(part(name, kernel.share, kernel.total_s, colour));
        }
        if !others.is_empty() {
            let share = others.iter().map(|kernel| kernel.share).sum();
            let seconds = others.iter().map(|kernel| kernel.total_s).sum();
            let name = format!("{} others", others.len());
            parts.push(part(name, share, seconds, OTHERS_COLOUR));
        }
        Bar {
            name: format!(
                "{}: {:.0} us in {} dispatches",
                stage.name,
                stage.dispatches_s() * 1e6,
                stage.dispatches.len()
            ),
            parts,
        }
    }

    fn lines(&self) -> f64 {
        self.parts.len() as f64 + OTHER_LINES
    }
}

impl Chart {
    fn lines(&self) -> f64 {
        self.bars.iter().map(Bar::lines).sum()
    }
}

impl Drawing for Chart {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let canvas = canvas.titled("Where the device's time goes", style::letters(22))?;
        let canvas = canvas.titled(&self.subtitle, style::letters(14))?;
        let mut top = self.lines();
        let mut chart = ChartBuilder::on(&canvas)
            .margin(14)
            .margin_right(24)
            .x_label_area_size(48)
            .build_cartesian_2d(0.0..100.0, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(style::INK)
            .label_style(style::letters(15))
            .axis_desc_style(style::letters(16))
            .x_desc("% of the time of all kernels")
            .x_label_formatter(&|percent| format!("{percent:.0}"))
            .draw()?;
        let left = style::letters(15).pos(Pos::new(HPos::Left, VPos::Center));
        let center = style::letters(14).pos(Pos::new(HPos::Center, VPos::Center));
        for bar in &self.bars {
            chart.draw_series([Text::new(bar.name.clone(), (0.0, top - 0.5), left.clone())])?;
            let mut begin = 0.0;
            for (line, part) in bar.parts.iter().enumerate() {
                let colour = part.colour;
                let corners = [(begin, top - 1.05), (begin + part.percent, top - 1.95)];
                chart.draw_series([Rectangle::new(corners, colour.filled())])?;
                let ink = style::ink_on(colour);
                let number = (part.percent >= LEAST_WRITTEN).then(|| {
                    let middle = (begin + part.percent / 2.0, top - 1.5);
                    let letters = center.clone().color(&ink);
                    Text::new(format!("{:.0}", part.percent), middle, letters)
                });
                chart.draw_series(number)?;
                let at = top - 2.65 - line as f64;
                let mark = [(0.0, at + 0.25), (2.4, at - 0.25)];
                chart.draw_series([Rectangle::new(mark, colour.filled())])?;
                chart.draw_series([Text::new(part.name.clone(), (3.4, at), left.clone())])?;
                begin += part.percent;
            }
            top -= bar.lines();
        }
        Ok(())
    }
}
