//! Whether two sets of samples differ by more than their noise.

/// The rule, for people.
pub const RULE: &str = "faster and slower: the Mann-Whitney test of the samples gives p < 0.05 (two-sided) and the \
    medians differ by more than 1 %; else it is noise, or there are too few samples to tell (four of each at least)";

/// What a test of the samples may err in.
const SIGNIFICANCE: f64 = 0.05;
/// The same in standard deviations of a normal distribution, two-sided.
const NORMAL_QUANTILE: f64 = 1.96;
/// The least difference of medians that matters: clocks of the same device differ by that from hour to hour.
const LEAST_DIFFERENCE: f64 = 0.01;
/// Sets beyond this size are judged by the normal distribution, which the exact one is then indistinguishable from.
const MOST_EXACT: usize = 20;

/// What a comparison of two sets of rates comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The second is faster, beyond noise.
    Faster,
    /// The second is slower, beyond noise.
    Slower,
    /// They may as well be equal.
    Noise,
    /// So few samples cannot tell whatever they are.
    TooFew,
}

impl Verdict {
    /// Judges the rates `other`, held against `base`, whose medians have the given ratio.
    pub(crate) fn new(base: &[f64], other: &[f64], ratio: f64) -> Verdict {
        match is_beyond_chance(base, other) {
            None => Verdict::TooFew,
            Some(true) if ratio > 1.0 + LEAST_DIFFERENCE => Verdict::Faster,
            Some(true) if ratio < 1.0 - LEAST_DIFFERENCE => Verdict::Slower,
            Some(_) => Verdict::Noise,
        }
    }

    /// The verdict in a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Noise => "noise",
            Verdict::TooFew => "few samples",
        }
    }
}

/// Whether two samples of one distribution would seldom lie as far apart as these; nothing if they are too few to tell.
fn is_beyond_chance(a: &[f64], b: &[f64]) -> Option<bool> {
    let (n, m) = (a.len(), b.len());
    let pairs = (n * m) as f64;
    let u = wins(a, b);
    let u = u.min(pairs - u);
    if n.max(m) > MOST_EXACT && n.min(m) >= 4 {
        let deviation = (pairs * (n + m + 1) as f64 / 12.0).sqrt();
        return Some((pairs / 2.0 - u - 0.5) / deviation > NORMAL_QUANTILE);
    }
    if n.max(m) > MOST_EXACT {
        return None;
    }
    let arrangements = arrangements_by_u(n, m);
    let all: f64 = arrangements.iter().sum();
    let p = |u: usize| 2.0 * arrangements[..=u].iter().sum::<f64>() / all;
    (p(0) < SIGNIFICANCE).then(|| p(u.ceil() as usize) < SIGNIFICANCE)
}

/// Mann and Whitney's U: of all pairs, those in which the first number is the greater; equal ones count half.
fn wins(a: &[f64], b: &[f64]) -> f64 {
    let of_pair = |a: f64, b: f64| match a.total_cmp(&b) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    a.iter()
        .flat_map(|&a| b.iter().map(move |&b| of_pair(a, b)))
        .sum()
}

/// In how many of the arrangements of `n` and `m` numbers U is 0, 1, 2, ..., n m: the coefficients of the Gaussian
/// binomial, which is the product over k from 1 to n of (1 - x^(m + k)) / (1 - x^k).
fn arrangements_by_u(n: usize, m: usize) -> Vec<f64> {
    let mut counts = vec![0.0; n * m + 1];
    counts[0] = 1.0;
    for k in 1..=n {
        for u in (m + k..counts.len()).rev() {
            counts[u] -= counts[u - m - k];
        }
        for u in k..counts.len() {
            counts[u] += counts[u - k];
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(base: &[f64], other: &[f64], ratio: f64) -> Verdict {
        Verdict::new(base, other, ratio)
    }

    #[test]
    fn arrangements_of_known_sizes() {
        assert_eq!(arrangements_by_u(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(arrangements_by_u(3, 2), [1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0]);
        assert_eq!(
            arrangements_by_u(20, 20).iter().sum::<f64>(),
            137_846_528_820.0
        );
    }

    #[test]
    fn the_published_critical_values_at_five_percent() {
        // Two-sided, alpha 0.05: the largest U that is significant, from the usual table.
        for (n, m, critical) in [(4, 4, 0), (5, 5, 2), (7, 7, 8), (8, 5, 6), (20, 20, 127)] {
            let counts = arrangements_by_u(n, m);
            let all: f64 = counts.iter().sum();
            let p = |u: usize| 2.0 * counts[..=u].iter().sum::<f64>() / all;
            assert!(p(critical) < 0.05 && p(critical + 1) >= 0.05, "{n} {m}");
        }
    }

    #[test]
    fn clear_differences_are_told_from_noise() {
        let base = [100.0, 101.0, 99.0, 100.5, 99.5];
        let faster = base.map(|rate| rate * 1.1);
        assert_eq!(verdict(&base, &faster, 1.1), Verdict::Faster);
        assert_eq!(verdict(&faster, &base, 1.0 / 1.1), Verdict::Slower);
        let mixed = [100.2, 99.2, 101.5, 104.0, 98.0];
        assert_eq!(verdict(&base, &mixed, 1.02), Verdict::Noise);
        let a_little = base.map(|rate| rate + 3.0);
        assert_eq!(
            verdict(&base, &a_little, 1.005),
            Verdict::Noise,
            "below what matters"
        );
    }

    #[test]
    fn few_samples_tell_nothing_however_far_apart() {
        let three = [1.0, 2.0, 3.0];
        assert_eq!(
            verdict(&three, &[100.0, 200.0, 300.0], 100.0),
            Verdict::TooFew
        );
        assert_eq!(verdict(&[], &three, 1.0), Verdict::TooFew);
        assert_eq!(verdict(&[1.0], &[9.0; 100], 9.0), Verdict::TooFew);
        let four = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(
            verdict(&four, &four.map(|rate| rate * 10.0), 10.0),
            Verdict::Faster
        );
    }

    #[test]
    fn many_samples_go_by_the_normal_distribution() {
        let base: Vec<f64> = (0..100).map(|i| f64::from(i % 10)).collect();
        let faster: Vec<f64> = base.iter().map(|rate| rate + 4.0).collect();
        assert_eq!(verdict(&base, &faster, 2.0), Verdict::Faster);
        assert_eq!(verdict(&base, &base, 1.5), Verdict::Noise);
    }

    proptest! {
        #[test]
        fn turned_round_the_verdict_is_turned_round(
            a in prop::collection::vec(1.0..2.0f64, 0..30),
            b in prop::collection::vec(1.2..2.2f64, 0..30),
        ) {
            let forth = verdict(&a, &b, 1.2);
            let back = verdict(&b, &a, 1.0 / 1.2);
            prop_assert_eq!(forth == Verdict::Faster, back == Verdict::Slower);
            prop_assert_eq!(forth == Verdict::TooFew, back == Verdict::TooFew);
        }
    }
}
