//! Reports for people: a table for a terminal, one for an issue, and one for a spreadsheet.

mod csv;
mod markdown;
mod text;

use crate::{Activations, Case};

pub(crate) fn or_nothing(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A number with three digits that say something, more only before the point.
pub(crate) fn three_digits(number: f64) -> String {
    let digits = match number.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{number:.digits$}")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// What matrices meet, where any case has something else than floats.
fn activations(case: &Case, cases: &[Case]) -> String {
    let is_float = |case: &Case| case.setting.activations == Activations::F32;
    match cases.iter().all(is_float) {
        true => String::new(),
        false => case.setting.activations.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_are_exact() {
        let numbers = [18657.6, 499.99, 23.25, 1.234, 0.0912].map(three_digits);
        assert_eq!(numbers, ["18658", "500", "23.2", "1.23", "0.091"]);
    }
}
