//! A few numbers in the place of many.

use serde::Serialize;

/// What a set of samples has in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many samples there are.
    pub count: usize,
    /// The least sample.
    pub min: f64,
    /// The quantile at a quarter.
    pub lower_quartile: f64,
    /// The middle sample, or the mean of the two in the middle.
    pub median: f64,
    /// The quantile at three quarters.
    pub upper_quartile: f64,
    /// The greatest sample.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The sample standard deviation, with `count - 1` in the denominator; zero for one sample.
    pub deviation: f64,
}

impl Summary {
    /// Summarises the samples in any order; none, or one that is not a number, has no summary.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        if samples.is_empty() || samples.iter().any(|sample| sample.is_nan()) {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let mean = sorted.iter().sum::<f64>() / count as f64;
        let squares: f64 = sorted.iter().map(|sample| (sample - mean).powi(2)).sum();
        Some(Summary {
            count,
            min: sorted[0],
            lower_quartile: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            upper_quartile: quantile(&sorted, 0.75),
            max: sorted[count - 1],
            mean,
            deviation: (squares / (count.max(2) - 1) as f64).sqrt(),
        })
    }
}

/// The value below which the share `q` of the sorted samples lies, interpolated between neighbours (Hyndman and Fan's
/// definition 7, the usual default).
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_known_samples() {
        let summary = Summary::of(&[7.0, 1.0, 3.0, 5.0]).unwrap();
        let expected = Summary {
            count: 4,
            min: 1.0,
            lower_quartile: 2.5,
            median: 4.0,
            upper_quartile: 5.5,
            max: 7.0,
            mean: 4.0,
            deviation: (20.0f64 / 3.0).sqrt(),
        };
        assert_eq!(summary, expected);
    }

    #[test]
    fn one_sample_is_all_of_its_quantiles() {
        let summary = Summary::of(&[2.5]).unwrap();
        assert_eq!(
            [
                summary.min,
                summary.median,
                summary.upper_quartile,
                summary.max
            ],
            [2.5; 4]
        );
        assert_eq!(summary.deviation, 0.0);
    }

    #[test]
    fn nothing_and_nonsense_have_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
    }
}
