//! Colours and letters of all pictures.

use plotters::coord::CoordTranslate;
use plotters::prelude::{
    ChartContext, Color, DrawingBackend, FontDesc, FontFamily, FontStyle, RGBColor,
    SeriesLabelPosition, TextStyle,
};

use super::Fault;

/// What pictures are drawn on.
pub(super) const GROUND: RGBColor = RGBColor(252, 252, 250);
/// Letters and axes.
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
/// Lines that help the eye.
pub(super) const FAINT: RGBColor = RGBColor(214, 214, 210);

/// Okabe and Ito's colours, less the yellow that a light ground swallows: distinct for every kind of eye.
const SERIES: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(34, 34, 34),
];

/// The colour of a series; beyond the seventh they begin again.
pub(super) fn series(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()]
}

/// What is written on a colour: light on dark ones, dark on light ones.
pub(super) fn ink_on(colour: RGBColor) -> RGBColor {
    let RGBColor(red, green, blue) = colour;
    let lightness = 0.3 * f64::from(red) + 0.59 * f64::from(green) + 0.11 * f64::from(blue);
    match lightness > 125.0 {
        true => INK,
        false => GROUND,
    }
}

/// Letters of so many points.
pub(super) fn letters(points: u32) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(points), FontStyle::Normal);
    font.color(&INK.to_rgba())
}

/// A number of tokens a second as an axis shows it.
pub(super) fn rate(rate: f64) -> String {
    let tenths = |number: f64| (number * 10.0).round() / 10.0;
    match rate {
        1000.0.. => format!("{}k", tenths(rate / 1e3)),
        100.0.. => format!("{rate:.0}"),
        _ => tenths(rate).to_string(),
    }
}

/// Says in a corner of the chart what its series are.
pub(super) fn legend<'a, DB, Coordinates>(
    chart: &mut ChartContext<'a, DB, Coordinates>,
    points: u32,
) -> Result<(), Fault>
where
    DB: DrawingBackend + 'a,
    DB::ErrorType: 'static,
    Coordinates: CoordTranslate,
{
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .legend_area_size(30)
        .label_font(letters(points))
        .background_style(GROUND)
        .border_style(FAINT)
        .draw()?;
    Ok(())
}
