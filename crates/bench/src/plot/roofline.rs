//! A stage's kernels under the roofs of what the device does at the most.

use plotters::coord::combinators::IntoLogRange;
use plotters::element::{Circle, PathElement};
use plotters::prelude::{ChartBuilder, Color, DrawingBackend};

use super::{Canvas, Drawing, Fault, Picture, picture, style};
use crate::profile::{Profile, Stage};
use crate::{Error, Limits};

/// Kernels of less than this part of the time are left out.
const LEAST_SHARE: f64 = 0.01;
/// More have no colours.
const MOST: usize = 7;

struct Roofline {
    title: String,
    subtitle: String,
    limits: Limits,
    points: Vec<Point>,
}

/// A kernel by its operations a byte and its operations a second.
struct Point {
    label: String,
    flop_per_byte: f64,
    flop_per_s: f64,
}

/// The picture, if the limits are known and a kernel does any arithmetic.
pub(super) fn of_stage(profile: &Profile, stage: &Stage) -> Result<Option<Picture>, Error> {
    let points = points(stage);
    let Some(limits) = profile.limits.filter(|_| !points.is_empty()) else {
        return Ok(None);
    };
    let roofline = Roofline {
        title: format!("{}: kernels under the device's roofs", stage.name),
        subtitle: super::subtitle_of_profile(profile),
        limits,
        points,
    };
    let name = format!("roofline-{}", stage.name).replace(' ', "-");
    picture(&name, (900, 600), &roofline).map(Some)
}

fn points(stage: &Stage) -> Vec<Point> {
    let kernels = stage.kernels();
    let points = kernels
        .iter()
        .filter(|kernel| kernel.share >= LEAST_SHARE)
        .filter_map(|kernel| {
            let works = kernel.bytes > 0.0 && kernel.flops > 0.0;
            Some(Point {
                label: format!("{} ({:.0} %)", kernel.kernel, kernel.share * 100.0),
                flop_per_byte: kernel.flops / kernel.bytes,
                flop_per_s: kernel.flops_per_s().filter(|_| works)?,
            })
        });
    points.take(MOST).collect()
}

impl Roofline {
    /// The roofs by their names: operations a second at the most, where memory does not limit them.
    fn roofs(&self) -> Vec<(String, f64)> {
        let tera = |name: &str, rate: f64| (format!("{name}, {:.1} TFLOP/s", rate / 1e12), rate);
        let matrices = self
            .limits
            .matrix_flop_per_s
            .map(|rate| tera("matrices", rate));
        let mut roofs = vec![tera("32-bit", self.limits.fma_flop_per_s)];
        roofs.extend(matrices);
        roofs
    }

    /// From where to where the axes go.
    fn axes(&self) -> [std::ops::Range<f64>; 2] {
        let read = self.limits.read_bytes_per_s;
        let most = self.roofs().iter().map(|roof| roof.1).fold(0.0, f64::max);
        let intensities = self.points.iter().map(|point| point.flop_per_byte);
        let rates = self.points.iter().map(|point| point.flop_per_s);
        let least_intensity = intensities.clone().fold(1.0, f64::min) / 2.0;
        let most_intensity = intensities.fold(most / read, f64::max) * 4.0;
        let least_rate = rates.fold(most / 1e3, f64::min) / 2.0;
        [least_intensity..most_intensity, least_rate..most * 2.0]
    }
}

impl Drawing for Roofline {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let canvas = canvas.titled(&self.title, style::letters(22))?;
        let canvas = canvas.titled(&self.subtitle, style::letters(14))?;
        let [across, up] = self.axes();
        let mut chart = ChartBuilder::on(&canvas)
            .margin(14)
            .margin_right(24)
            .x_label_area_size(52)
            .y_label_area_size(76)
            .build_cartesian_2d(across.clone().log_scale(), up.clone().log_scale())?;
        chart
            .configure_mesh()
            .bold_line_style(style::FAINT)
            .light_line_style(style::GROUND)
            .axis_style(style::INK)
            .label_style(style::letters(15))
            .axis_desc_style(style::letters(16))
            .x_desc("operations a byte")
            .y_desc("TFLOP/s")
            .x_label_formatter(&|intensity| intensity.to_string())
            .y_label_formatter(&|rate| (rate / 1e12).to_string())
            .draw()?;
        let read = self.limits.read_bytes_per_s;
        for (index, (name, rate)) in self.roofs().into_iter().enumerate() {
            let style = match index {
                0 => style::INK.stroke_width(2),
                _ => style::INK.mix(0.5).stroke_width(2),
            };
            let ridge = rate / read;
            let begin = (up.start / read).max(across.start);
            let roof = [(begin, begin * read), (ridge, rate), (across.end, rate)];
            chart
                .draw_series([PathElement::new(roof, style)])?
                .label(format!("{name}; {:.0} GB/s", read / 1e9))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        }
        for (index, point) in self.points.iter().enumerate() {
            let colour = style::series(index).filled();
            let place = (point.flop_per_byte, point.flop_per_s);
            chart
                .draw_series([Circle::new(place, 6, colour)])?
                .label(point.label.clone())
                .legend(move |(x, y)| Circle::new((x + 11, y), 6, colour));
        }
        style::legend(&mut chart, 14)
    }
}
