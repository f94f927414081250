//! A stage's kernels under the roofs of what the device does at the most.

use plotters::coord::combinators::IntoLogRange;
use plotters::element::{Circle, EmptyElement, PathElement, Text};
use plotters::prelude::{ChartBuilder, Color, DrawingBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Canvas, Drawing, Fault, Picture, picture, style};
use crate::format::three_digits;
use crate::profile::{Profile, Stage};
use crate::{Error, Limits};

/// Kernels of less than this part of the time are left out.
const LEAST_SHARE: f64 = 0.01;
/// More have no colours.
const MOST: usize = 7;

/// Sizes in points of the picture: titles with all margins, the chart, a line that names a kernel, a kernel's mark.
const TITLES_HEIGHT: i32 = 86;
const CHART_HEIGHT: i32 = 480;
const LINE: i32 = 22;
const RADIUS: i32 = 5;
/// Points this near to one another, in parts of the axes, share a number's place.
const NEAR: (f64, f64) = (0.04, 0.04);

struct Roofline {
    title: String,
    subtitle: String,
    limits: Limits,
    points: Vec<Point>,
}

/// A kernel by its operations a byte and its operations a second.
struct Point {
    /// Its name and its share.
    label: String,
    flop_per_byte: f64,
    flop_per_s: f64,
}

/// The picture, if the limits are known and a kernel does any arithmetic. It says which other result measured the limits.
pub(super) fn of_stage(
    profile: &Profile,
    stage: &Stage,
    limits_of: Option<&str>,
) -> Result<Option<Picture>, Error> {
    let points = points(stage);
    let Some(limits) = profile.limits.filter(|_| !points.is_empty()) else {
        return Ok(None);
    };
    let roofline = Roofline {
        title: format!("{}: kernels under the device's roofs", stage.name),
        subtitle: match limits_of {
            None => super::subtitle_of_profile(profile),
            Some(lender) => format!(
                "{}; roofs measured by {lender}",
                super::subtitle_of_profile(profile)
            ),
        },
        limits,
        points,
    };
    let name = format!("roofline-{}", stage.name).replace(' ', "-");
    let height = TITLES_HEIGHT + CHART_HEIGHT + LINE * roofline.points.len() as i32;
    picture(&name, (900, height as u32), &roofline).map(Some)
}

fn points(stage: &Stage) -> Vec<Point> {
    let kernels = stage.kernels();
    let points = kernels
        .iter()
        .filter(|kernel| kernel.share >= LEAST_SHARE)
        .filter_map(|kernel| {
            let works = kernel.bytes > 0.0 && kernel.flops > 0.0;
            Some(Point {
                label: format!(
                    "{}, {:.0} % of the time",
                    kernel.kernel,
                    kernel.share * 100.0
                ),
                flop_per_byte: kernel.flops / kernel.bytes,
                flop_per_s: kernel.flops_per_s().filter(|_| works)?,
            })
        });
    points.take(MOST).collect()
}

impl Roofline {
    /// The roofs by their names: operations a second at the most, where memory does not limit them.
    fn roofs(&self) -> Vec<(String, f64)> {
        let tera = |name: &str, rate: f64| {
            (
                format!("{name}, {} TFLOP/s", three_digits(rate / 1e12)),
                rate,
            )
        };
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

    /// Numbers of points, those that lie so near to one another that their numbers would, too, together.
    fn groups(&self) -> Vec<Vec<usize>> {
        let [across, up] = self.axes();
        let place = |point: &Point| {
            let part = |value: f64, range: &std::ops::Range<f64>| {
                (value / range.start).ln() / (range.end / range.start).ln()
            };
            (
                part(point.flop_per_byte, &across),
                part(point.flop_per_s, &up),
            )
        };
        let is_near = |one: &Point, other: &Point| {
            let (one, other) = (place(one), place(other));
            (one.0 - other.0).abs() < NEAR.0 && (one.1 - other.1).abs() < NEAR.1
        };
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (index, point) in self.points.iter().enumerate() {
            let first_is_near = |group: &&mut Vec<usize>| is_near(&self.points[group[0]], point);
            match groups.iter_mut().find(first_is_near) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        groups
    }

    /// Names the points by their numbers, under the chart.
    fn draw_names<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let left = style::letters(14).pos(Pos::new(HPos::Left, VPos::Center));
        for (index, point) in self.points.iter().enumerate() {
            let at = LINE * index as i32 + LINE / 2;
            let colour = style::series(index).filled();
            canvas.draw(&Circle::new((90, at), RADIUS, colour))?;
            let name = format!("{}  {}", index + 1, point.label);
            canvas.draw(&Text::new(name, (104, at), left.clone()))?;
        }
        Ok(())
    }
}

impl Drawing for Roofline {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let canvas = canvas.titled(&self.title, style::letters(22))?;
        let canvas = canvas.titled(&self.subtitle, style::letters(14))?;
        let (canvas, names) = canvas.split_vertically(CHART_HEIGHT);
        self.draw_names(&names)?;
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
                .label(format!(
                    "{name}; reading, {} GB/s",
                    three_digits(read / 1e9)
                ))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        }
        for (index, point) in self.points.iter().enumerate() {
            let colour = style::series(index).filled();
            let place = (point.flop_per_byte, point.flop_per_s);
            chart.draw_series([Circle::new(place, RADIUS, colour)])?;
        }
        for group in self.groups() {
            let numbers: Vec<String> = group.iter().map(|index| (index + 1).to_string()).collect();
            let point = &self.points[group[0]];
            // On the side where the memory's roof is not.
            let is_above = point.flop_per_s > read * point.flop_per_byte;
            let (side, away) = if is_above {
                (HPos::Right, -10)
            } else {
                (HPos::Left, 10)
            };
            let letters = style::letters(15).pos(Pos::new(side, VPos::Center));
            let number = Text::new(numbers.join(", "), (away, 0), letters);
            let place = EmptyElement::at((point.flop_per_byte, point.flop_per_s));
            chart.draw_series([place + number])?;
        }
        style::legend(&mut chart, 14)
    }
}
