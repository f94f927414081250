//! Whether a series of samples moved while it was taken.

use crate::Summary;

/// A change of this share is worth a warning.
pub const DRIFT: f64 = 0.05;

/// By which share the rate of the later half of the samples lies above that of the earlier half, both by their medians;
/// nothing for fewer than four samples. The samples are times, in the order of measurement; of an odd number the one in
/// the middle counts in neither half.
pub fn drift(samples_s: &[f64]) -> Option<f64> {
    let half = samples_s.len() / 2;
    if half < 2 {
        return None;
    }
    let median = |samples: &[f64]| Summary::of(samples).map(|summary| summary.median);
    let earlier = median(&samples_s[..half])?;
    let later = median(&samples_s[samples_s.len() - half..])?;
    Some(earlier / later - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_compared_by_their_medians() {
        assert_eq!(
            drift(&[1.0, 1.0, 9.0, 2.0, 2.0]),
            Some(-0.5),
            "half as fast"
        );
        assert_eq!(drift(&[2.0, 2.0, 1.0, 1.0]), Some(1.0), "twice as fast");
        assert_eq!(
            drift(&[1.0, 1.0, 7.0, 1.0, 1.0, 1.0]),
            Some(0.0),
            "an outlier"
        );
    }

    #[test]
    fn few_samples_tell_nothing() {
        assert_eq!(drift(&[]), None);
        assert_eq!(drift(&[1.0, 5.0, 9.0]), None);
    }
}
