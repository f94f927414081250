//! The letters of all pictures: a part of DejaVu Sans that the program carries, so that pictures are the same on every
//! machine and no font need be installed. A reader of the SVG may have a sans-serif font of its own.

use plotters::style::{FontStyle, register_font};

use super::Fault;

static FONT: &[u8] = include_bytes!("../../assets/DejaVuSans-latin.ttf");

/// Makes the letters known to the drawing library, which forgets nothing: to do it again changes nothing.
pub(super) fn register() -> Result<(), Fault> {
    register_font("sans-serif", FontStyle::Normal, FONT)
        .map_err(|_| Fault::from("its font cannot be read"))
}
