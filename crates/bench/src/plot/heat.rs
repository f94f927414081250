//! Block size by chunk size, as a map whose cells say and show how fast they are.

use std::ops::RangeInclusive;

use plotters::coord::ranged1d::{IntoSegmentedCoord, SegmentValue};
use plotters::element::{Rectangle, Text};
use plotters::prelude::{ChartBuilder, Color, DrawingBackend, RGBColor, WHITE};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Canvas, Drawing, Fault, Picture, picture, style, subtitle};
use crate::{Error, Report, Setting, Test};

const SLOWEST: RGBColor = RGBColor(226, 237, 247);
const FASTEST: RGBColor = RGBColor(8, 69, 130);

/// Cells of a map in each direction: what does not vary is no map, and more of them nobody reads.
const EXTENTS: RangeInclusive<usize> = 2..=64;

/// The cells of one test, and what they are in each direction.
struct Map {
    title: String,
    subtitle: String,
    chunks: Vec<usize>,
    blocks: Vec<u32>,
    /// Medians, of those that were measured.
    cells: Vec<(usize, u32, f64)>,
}

/// A map for each prompt that was read with several block sizes and several chunk sizes.
pub(super) fn block_by_chunk(report: &Report) -> Result<Vec<Picture>, Error> {
    let mut kinds: Vec<(Test, Setting)> = Vec::new();
    for case in &report.cases {
        let setting = case.setting;
        let is_known = |(test, known): &(Test, Setting)| {
            (*test, known.activations) == (setting.test(), setting.activations)
        };
        if setting.prompt_chunk().is_some() && !kinds.iter().any(is_known) {
            kinds.push((setting.test(), setting));
        }
    }
    let pictures = kinds
        .iter()
        .map(|(test, setting)| draw(report, *test, setting));
    pictures.filter_map(Result::transpose).collect()
}

fn draw(report: &Report, test: Test, like: &Setting) -> Result<Option<Picture>, Error> {
    let map = Map::new(report, like);
    let extents = [map.chunks.len(), map.blocks.len()];
    if !extents.iter().all(|extent| EXTENTS.contains(extent)) {
        return Ok(None);
    }
    let activations = like.activations.name();
    let name = format!("block-size-by-chunk-size-{test}-{activations}").replace(" @ ", "-");
    let size = (
        240 + 95 * map.chunks.len() as u32,
        190 + 75 * map.blocks.len() as u32,
    );
    picture(&name, (size.0.max(640), size.1), &map).map(Some)
}

impl Drawing for Map {
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let canvas = canvas.titled(&self.title, style::letters(21))?;
        let canvas = canvas.titled(&self.subtitle, style::letters(14))?;
        self.draw_cells(&canvas)
    }
}

impl Map {
    fn new(report: &Report, like: &Setting) -> Map {
        let cell = |case: &crate::Case| {
            let setting = case.setting;
            let is_like = setting.test() == like.test() && setting.activations == like.activations;
            let rate = case.tokens_per_s().filter(|_| is_like)?;
            Some((setting.chunk_size, setting.block_size?, rate.median))
        };
        let cells: Vec<_> = report.cases.iter().filter_map(cell).collect();
        let (test, activations) = (like.test(), like.activations.name());
        Map {
            title: format!("{test}, tok/s by block size and chunk size, activations {activations}"),
            subtitle: subtitle(report),
            chunks: sorted(cells.iter().map(|cell| cell.0)),
            blocks: sorted(cells.iter().map(|cell| cell.1)),
            cells,
        }
    }

    fn draw_cells<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<(), Fault>
    where
        DB::ErrorType: 'static,
    {
        let columns = 0..self.chunks.len() as i32 - 1;
        let rows = 0..self.blocks.len() as i32 - 1;
        let mut chart = ChartBuilder::on(canvas)
            .margin(14)
            .margin_right(24)
            .x_label_area_size(52)
            .y_label_area_size(76)
            .build_cartesian_2d(columns.into_segmented(), rows.into_segmented())?;
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(style::INK)
            .label_style(style::letters(16))
            .axis_desc_style(style::letters(16))
            .x_labels(self.chunks.len() + 1)
            .y_labels(self.blocks.len() + 1)
            .x_desc("chunk size")
            .y_desc("block size")
            .x_label_formatter(&|place| of_center(place, &self.chunks))
            .y_label_formatter(&|place| of_center(place, &self.blocks))
            .draw()?;
        let rates = self.cells.iter().map(|cell| cell.2);
        let (least, most) = rates.fold((f64::INFINITY, 0.0f64), |(least, most), rate| {
            (least.min(rate), most.max(rate))
        });
        for &(chunk, block, rate) in &self.cells {
            let (x, y) = (place(&self.chunks, chunk), place(&self.blocks, block));
            let share = (rate - least) / (most - least).max(f64::MIN_POSITIVE);
            let corners = [
                (SegmentValue::Exact(x), SegmentValue::Exact(y)),
                (SegmentValue::Exact(x + 1), SegmentValue::Exact(y + 1)),
            ];
            chart.draw_series([Rectangle::new(corners, between(share).filled())])?;
            let ink = if share > 0.6 { WHITE } else { style::INK };
            let letters = style::letters(17)
                .color(&ink)
                .pos(Pos::new(HPos::Center, VPos::Center));
            let center = (SegmentValue::CenterOf(x), SegmentValue::CenterOf(y));
            chart.draw_series([Text::new(format!("{rate:.0}"), center, letters)])?;
        }
        Ok(())
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn place<T: PartialEq>(values: &[T], value: T) -> i32 {
    values.iter().position(|other| *other == value).unwrap_or(0) as i32
}

fn of_center<T: ToString>(place: &SegmentValue<i32>, values: &[T]) -> String {
    match place {
        SegmentValue::CenterOf(index) => values
            .get(*index as usize)
            .map_or_else(String::new, T::to_string),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    }
}

/// The colour at such a share of the way from the slowest to the fastest.
fn between(share: f64) -> RGBColor {
    let mix = |from: u8, to: u8| {
        (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8
    };
    RGBColor(
        mix(SLOWEST.0, FASTEST.0),
        mix(SLOWEST.1, FASTEST.1),
        mix(SLOWEST.2, FASTEST.2),
    )
}
