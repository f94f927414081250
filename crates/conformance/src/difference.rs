//! Largest differences, held against limits.

/// The largest `|found - expected|`; not a number counts as infinitely far.
pub(crate) fn largest(found: &[f32], expected: &[f32]) -> f64 {
    let distance = |(&found, &expected): (&f32, &f32)| {
        let distance = (f64::from(found) - f64::from(expected)).abs();
        if distance.is_nan() {
            f64::INFINITY
        } else {
            distance
        }
    };
    found.iter().zip(expected).map(distance).fold(0.0, f64::max)
}

/// Largest absolute value.
pub(crate) fn magnitude(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |largest, &value| {
        f64::max(largest, f64::from(value).abs())
    })
}

/// Describes a difference that is within its limit, or one that is not.
pub(crate) fn within(what: &str, difference: f64, limit: f64) -> Result<String, String> {
    if difference.is_nan() || difference > limit {
        return Err(format!(
            "{what} {difference:.1e} from the golden, expected at most {limit:.1e}"
        ));
    }
    Ok(format!("{what} {difference:.1e}"))
}

/// As many numbers found as expected, and none further off than the limit.
pub(crate) fn all_within(
    what: &str,
    found: &[f32],
    expected: &[f32],
    limit: f64,
) -> Result<String, String> {
    if found.len() != expected.len() {
        return Err(format!(
            "{} {what}, expected {}",
            found.len(),
            expected.len()
        ));
    }
    within(what, largest(found, expected), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_found() {
        assert_eq!(
            all_within("x", &[1.0, 2.5], &[1.0, 2.0], 0.5).unwrap(),
            "x 5.0e-1"
        );
        assert!(all_within("x", &[1.0, 2.5], &[1.0, 2.0], 0.4).is_err());
        assert!(all_within("x", &[f32::NAN], &[1.0], 0.4).is_err());
        assert!(all_within("x", &[1.0], &[1.0, 1.0], 0.4).is_err());
        assert!(within("x", f64::NAN, 1.0).is_err());
    }
}
