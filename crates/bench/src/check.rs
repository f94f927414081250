//! Whether a device computes what it should: its results beside those of a reference, and how far they may be off.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::{Activations, Device};

/// What a run found out about its results before it measured anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Seconds that it took.
    pub seconds: f64,
    /// One a way to read or to choose tokens.
    pub findings: Vec<Finding>,
}

/// Results of one kind beside those that they should equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What was computed.
    pub what: String,
    /// What the results were held against.
    pub reference: String,
    /// What matrices met.
    pub activations: Activations,
    /// Tokens that were read, of all sequences together.
    pub tokens: usize,
    /// Rows of logits that were compared.
    pub rows: usize,
    /// The largest difference of two logits, in standard deviations of the row; infinite if one is no number.
    #[serde(deserialize_with = "infinite_if_null")]
    pub logits: f64,
    /// States that were compared.
    pub states: usize,
    /// The largest difference of two numbers of a state, over the largest number of their part of it.
    #[serde(deserialize_with = "infinite_if_null")]
    pub state: f64,
    /// Most probable tokens that were compared: where the second is so near that rounding decides, none is.
    pub choices: usize,
    /// Those of them that were others.
    pub wrong_choices: usize,
    /// What both differences may be at the most.
    pub tolerance: f64,
}

/// JSON has no infinity; it is written as null.
fn infinite_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    Ok(number.unwrap_or(f64::INFINITY))
}

/// How far results of a device may be off those of the CPU twins, and of its own for other chunks: logits in standard deviations of
/// their row, numbers of a state in parts of the largest.
///
/// - On the CPU, which adds in the same order whatever the chunks are, nothing.
/// - Exact, 1e-3: sums in another order change large models with random weights, which magnify it, by 1e-4, and by 9e-4 after a single token.
/// - Fast, or activations q8, 0.5: operands of 16 bits change the logits of a trained model of 12 layers by 2e-3, but those of one of 32 layers with
///   random weights by 0.25, as much as it magnifies what exact sums change; 8 bits change them by 2e-2 and more.
///
/// A product that is wrong changes logits by several deviations, whatever the arithmetic.
pub fn tolerance(device: &Device, activations: Activations) -> f64 {
    match (
        device.backend.as_str(),
        activations,
        device.precision.as_str(),
    ) {
        ("cpu", ..) => 0.0,
        (_, Activations::Q8, _) | (_, Activations::F32, "fast") => 0.5,
        (_, Activations::F32, _) => 1e-3,
    }
}

impl Check {
    /// Whether every result is what it should be.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(Finding::passed)
    }

    /// The findings that should not be.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.passed())
    }

    /// All findings of one kind of activations taken together, kind by kind: sums of counts, and largest differences.
    pub fn sums(&self) -> Vec<Finding> {
        let mut sums: Vec<Finding> = Vec::new();
        for finding in &self.findings {
            match sums
                .iter_mut()
                .find(|sum| sum.activations == finding.activations)
            {
                Some(sum) => sum.add(finding),
                None => sums.push(finding.clone()),
            }
        }
        sums
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut json = json!(self);
        json["passed"] = json!(self.passed());
        let with_outcome = |finding: &Finding| {
            let mut json = json!(finding);
            json["passed"] = json!(finding.passed());
            json
        };
        json["findings"] = self.findings.iter().map(with_outcome).collect();
        json
    }
}

/// A line a kind of activations.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sum in self.sums() {
            let outcome = match sum.passed() {
                true => "passed",
                false => "FAILED",
            };
            writeln!(
                f,
                "check, activations {}: {outcome}: {} tokens in {:.1} s, {}",
                sum.activations.name(),
                sum.tokens,
                self.seconds,
                sum.differences()
            )?;
        }
        Ok(())
    }
}

impl Finding {
    /// Nothing compared yet of `what`, which is held against `reference`.
    pub fn new(what: String, reference: &str, activations: Activations, tolerance: f64) -> Finding {
        Finding {
            what,
            reference: reference.to_owned(),
            activations,
            tokens: 0,
            rows: 0,
            logits: 0.0,
            states: 0,
            state: 0.0,
            choices: 0,
            wrong_choices: 0,
            tolerance,
        }
    }

    /// Compares the logits after a token, `[vocab]`.
    pub fn compare_logits(&mut self, found: &[f32], expected: &[f32]) {
        let off = relative(largest_difference(found, expected), deviation(expected));
        self.rows += 1;
        self.logits = self.logits.max(off);
    }

    /// Compares the parts of a state, each with its like.
    pub fn compare_state<const PARTS: usize>(
        &mut self,
        found: [&[f32]; PARTS],
        expected: [&[f32]; PARTS],
    ) {
        let pairs = found.into_iter().zip(expected);
        let off = pairs.map(|(found, expected)| {
            relative(largest_difference(found, expected), magnitude(expected))
        });
        self.states += 1;
        self.state = off.fold(self.state, f64::max);
    }

    /// Compares a token that was chosen as the most probable one, if any was, with the best of the logits that it should have been
    /// chosen from. Returns whether it is the same, or the choice is too near for it to matter.
    pub fn compare_choice(&mut self, found: Option<u32>, expected: &[f32]) -> bool {
        let (token, margin) = best(expected);
        if found.is_some() && margin <= 2.0 * self.tolerance * deviation(expected) {
            return true;
        }
        let is_same = found == Some(token);
        self.choices += 1;
        self.wrong_choices += usize::from(!is_same);
        is_same
    }

    /// Notes that numbers ran away, so that there are no results.
    pub fn ran_away(&mut self) {
        self.rows += 1;
        self.logits = f64::INFINITY;
    }

    /// Whether anything was compared, and all that was is what it should be.
    pub fn passed(&self) -> bool {
        let compared = self.rows + self.states + self.choices;
        compared > 0
            && self.logits <= self.tolerance
            && self.state <= self.tolerance
            && self.wrong_choices == 0
    }

    /// What was compared, and how far it is off.
    pub fn differences(&self) -> String {
        format!(
            "{} rows of logits off by {} of their deviation at most, {} states by {} of their largest number, {} choices of which {} \
             are wrong; the tolerance is {:.0e}, against {}",
            self.rows,
            difference(self.logits),
            self.states,
            difference(self.state),
            self.choices,
            self.wrong_choices,
            self.tolerance,
            self.reference,
        )
    }

    fn add(&mut self, other: &Finding) {
        self.tokens += other.tokens;
        self.rows += other.rows;
        self.logits = self.logits.max(other.logits);
        self.states += other.states;
        self.state = self.state.max(other.state);
        self.choices += other.choices;
        self.wrong_choices += other.wrong_choices;
        if !self.reference.contains(&other.reference) {
            self.reference = format!("{} and {}", self.reference, other.reference);
        }
    }
}

/// A difference for people.
pub(crate) fn difference(difference: f64) -> String {
    match difference {
        0.0 => "0".to_owned(),
        difference if difference.is_finite() => format!("{difference:.1e}"),
        _ => "what is no number".to_owned(),
    }
}

/// The largest difference of two numbers; infinite if one of them is none, or one list is longer.
fn largest_difference(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let pairs = found.iter().zip(expected);
    let differences =
        pairs.map(|(found, expected)| (f64::from(*found) - f64::from(*expected)).abs());
    differences.fold(0.0, |largest, difference| match difference.is_nan() {
        true => f64::INFINITY,
        false => f64::max(largest, difference),
    })
}

/// A difference in parts of a scale. Where the scale is nothing, so must be the difference.
fn relative(difference: f64, scale: f64) -> f64 {
    match difference == 0.0 && scale.is_finite() {
        true => 0.0,
        false => Some(difference / scale)
            .filter(|off| off.is_finite())
            .unwrap_or(f64::INFINITY),
    }
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let squares = values.iter().map(|v| (f64::from(*v) - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}

fn magnitude(values: &[f32]) -> f64 {
    let magnitudes = values.iter().map(|value| f64::from(value.abs()));
    magnitudes.fold(0.0, f64::max)
}

/// The token with the largest logit, and how far behind the next is.
fn best(logits: &[f32]) -> (u32, f64) {
    let (mut token, mut first, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (index, logit) in (0..).zip(logits.iter().map(|logit| f64::from(*logit))) {
        if logit > first {
            (token, first, second) = (index, logit, first);
        } else {
            second = second.max(logit);
        }
    }
    (token, first - second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOLERANCE: f64 = 1e-3;

    fn finding() -> Finding {
        Finding::new("x".to_owned(), "y", Activations::F32, TOLERANCE)
    }

    fn with_logits(found: &[f32], expected: &[f32]) -> Finding {
        let mut finding = finding();
        finding.compare_logits(found, expected);
        finding
    }

    /// Logits of deviation 1.
    const LOGITS: [f32; 4] = [-1.0, 1.0, -1.0, 1.0];

    #[test]
    fn nothing_compared_is_nothing_passed() {
        assert!(!finding().passed());
    }

    #[test]
    fn what_is_not_a_number_or_not_there_fails() {
        for found in [
            &[-1.0, f32::NAN, -1.0, 1.0][..],
            &[-1.0, f32::INFINITY, -1.0, 1.0],
            &LOGITS[..3],
            &[],
        ] {
            let finding = with_logits(found, &LOGITS);
            assert!(!finding.passed() && finding.logits.is_infinite());
        }
        assert!(!with_logits(&LOGITS, &[f32::NAN; 4]).passed());
        assert!(!with_logits(&[f32::INFINITY; 4], &[f32::INFINITY; 4]).passed());
        let mut lost = with_logits(&LOGITS, &LOGITS);
        assert!(lost.passed());
        lost.ran_away();
        assert!(!lost.passed());
    }

    #[test]
    fn each_part_of_a_state_has_its_own_scale() {
        let mut finding = finding();
        let expected: [&[f32]; 2] = [&[1000.0, 0.0], &[0.5, 0.001]];
        finding.compare_state([&[1000.5, 0.0], &[0.5, 0.001]], expected);
        assert!((finding.state - 5e-4).abs() < 1e-12 && finding.passed());
        finding.compare_state([&[1000.0, 0.0], &[0.5, 0.002]], expected);
        assert!((finding.state - 2e-3).abs() < 1e-9 && !finding.passed());
        assert_eq!(finding.states, 2);
    }

    #[test]
    fn choices_count_where_rounding_does_not_decide() {
        let mut finding = finding();
        assert!(finding.compare_choice(Some(1), &[0.0, 1.0, 0.999_9]));
        assert!(finding.compare_choice(Some(2), &[0.0, 1.0, 0.999_9]));
        assert_eq!(finding.choices, 0);
        assert!(finding.compare_choice(Some(1), &[0.0, 1.0, 0.5]));
        assert!(finding.passed());
        assert!(!finding.compare_choice(Some(2), &[0.0, 1.0, 0.5]));
        assert_eq!((finding.choices, finding.wrong_choices), (2, 1));
        assert!(!finding.passed());
        assert!(!finding.compare_choice(None, &[0.0, 1.0, 0.999_9]));
    }

    #[test]
    fn an_even_row_has_no_scale() {
        assert!(with_logits(&[2.0; 4], &[2.0; 4]).passed());
        assert!(!with_logits(&[2.0, 2.0, 2.0, 2.000_001], &[2.0; 4]).passed());
    }

    #[test]
    fn tolerances_widen_with_what_is_rounded() {
        let device = |backend: &str, precision: &str| Device {
            backend: backend.to_owned(),
            precision: precision.to_owned(),
            name: String::new(),
            driver: String::new(),
            features: Vec::new(),
        };
        let tolerances = [
            tolerance(&device("cpu", "exact"), Activations::F32),
            tolerance(&device("vulkan", "exact"), Activations::F32),
            tolerance(&device("vulkan", "fast"), Activations::F32),
            tolerance(&device("vulkan", "exact"), Activations::Q8),
        ];
        assert_eq!(tolerances[0], 0.0);
        assert!(tolerances.is_sorted());
    }

    #[test]
    fn what_is_written_is_read_back_even_if_it_is_infinite() {
        let wrong = with_logits(&[f32::NAN; 4], &LOGITS);
        let check = Check {
            seconds: 1.0,
            findings: vec![with_logits(&LOGITS, &LOGITS), wrong],
        };
        let json = check.to_json();
        assert_eq!(json["passed"], false);
        assert_eq!(json["findings"][0]["passed"], true);
        assert_eq!(json["findings"][1]["logits"], Value::Null);
        let read: Check = serde_json::from_value(json).unwrap();
        assert_eq!(read, check);
        assert!(read.to_string().contains("FAILED: 0 tokens"), "{read}");
        assert_eq!(read.faults().count(), 1);
        assert_eq!(read.sums()[0].rows, 2);
    }

    proptest! {
        #[test]
        fn a_logit_that_is_off_by_more_than_the_tolerance_fails(
            expected in proptest::collection::vec(-10.0f32..10.0, 2..50),
            place in any::<prop::sample::Index>(),
            off in -20.0f32..20.0,
        ) {
            let mut found = expected.clone();
            let wrong = place.get_mut(&mut found);
            let before = *wrong;
            *wrong += off;
            let moved = (f64::from(*wrong) - f64::from(before)).abs();
            let is_within = moved <= TOLERANCE * deviation(&expected);
            prop_assert_eq!(with_logits(&found, &expected).passed(), is_within);
        }
    }
}
