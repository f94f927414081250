//! Reports as JSON: written with the numbers that samples come to, read back from the samples alone.

use serde_json::{Value, json};

use crate::{Activations, Case, Check, Error, Report, drift};

/// What a sample may take: from less than any clock tells to thirty years.
pub(crate) const TIMES_S: std::ops::Range<f64> = 1e-9..1e9;

impl Report {
    /// The report as one JSON object. What follows from the samples stands beside them, for programs that only want that.
    pub fn to_json(&self) -> Value {
        let cases = self.cases.iter();
        self.json_with(cases.map(|case| self.case_json(case)).collect())
    }

    /// The report as JSON lines: one a case, each a whole report of that case alone.
    pub fn to_json_lines(&self) -> String {
        let line = |case: &Case| {
            let json = self.json_with(Value::from(vec![self.case_json(case)]));
            format!("{json}\n")
        };
        self.cases.iter().map(line).collect()
    }

    fn json_with(&self, cases: Value) -> Value {
        let mut json = json!(self);
        json["cases"] = cases;
        json["check"] = json!(self.check.as_ref().map(Check::to_json));
        json
    }

    fn case_json(&self, case: &Case) -> Value {
        let mut json = json!(case);
        let work = self.model.work.as_ref();
        json["test"] = json!(case.setting.test().to_string());
        json["tokens_per_s"] = json!(case.tokens_per_s());
        json["tokens_per_s_a_sequence"] = json!(case.tokens_per_s_a_sequence());
        json["ms_per_token"] = json!(case.ms_per_token());
        json["gb_per_s"] = json!(work.and_then(|work| work.gb_per_s(case)));
        json["tflop_per_s"] = json!(work.and_then(|work| work.tflop_per_s(case)));
        json["share_of_limit"] = json!(self.share_of_limit(case));
        json["drift"] = json!(drift(&case.samples_s));
        json
    }

    /// Reads what [`to_json`](Report::to_json) or [`to_json_lines`](Report::to_json_lines) wrote, also in former versions.
    /// Lines must be of one run.
    ///
    /// # Errors
    /// [`Error::Json`] if it is no JSON, or not that of a report; [`Error::Sample`] for a time that is none;
    /// [`Error::Mixed`] for lines of several runs; [`Error::NoReport`] if there is nothing.
    pub fn from_json(text: &str) -> Result<Report, Error> {
        let mut whole: Option<Report> = None;
        for part in serde_json::Deserializer::from_str(text).into_iter::<Report>() {
            let mut part = part.map_err(Error::Json)?;
            part.check()?;
            part.split_precision();
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => whole.append(part)?,
            }
        }
        whole.ok_or(Error::NoReport)
    }

    fn append(&mut self, part: Report) -> Result<(), Error> {
        if let Some(difference) = self.difference_from(&part) {
            return Err(Error::Mixed(difference));
        }
        self.cases.extend(part.cases);
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        for case in &self.cases {
            let is_time = |seconds: &&f64| TIMES_S.contains(*seconds);
            let samples = case.samples_s.iter().chain(&case.first_s);
            if let Some(&found) = samples.clone().find(|seconds| !is_time(seconds)) {
                return Err(Error::Sample {
                    test: case.setting.test().to_string(),
                    found,
                });
            }
            let setting = &case.setting;
            if [setting.tokens, setting.sequences, setting.chunk_size].contains(&0) {
                return Err(Error::NothingRead {
                    test: case.setting.test().to_string(),
                });
            }
        }
        Ok(())
    }

    /// Former reports name the activations of all their cases with the precision.
    fn split_precision(&mut self) {
        if let Some((precision, "q8")) = self.device.precision.split_once(", activations ") {
            self.device.precision = precision.to_owned();
            for case in &mut self.cases {
                case.setting.activations = Activations::Q8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{case, decode, prefill, report};

    #[test]
    fn what_is_written_is_read_back() {
        let report = report();
        for text in [report.to_json().to_string(), report.to_json_lines()] {
            let read = Report::from_json(&text).unwrap();
            assert_eq!(json!(read), json!(report));
        }
        assert_eq!(report.to_json_lines().lines().count(), report.cases.len());
    }

    #[test]
    fn programs_get_every_sample_and_what_they_come_to() {
        let mut report = report();
        report.cases = vec![
            case(prefill(512, 128), &[2.0, 1.0, 4.0]),
            case(decode(64), &[]),
        ];
        let json = report.to_json();
        let first = &json["cases"][0];
        assert_eq!(first["task"], "prefill");
        assert_eq!(first["test"], "pp512");
        assert_eq!(first["block_size"], 16);
        assert_eq!(first["samples_s"], json!([2.0, 1.0, 4.0]));
        assert_eq!(first["tokens_per_s"]["median"], 256.0);
        assert_eq!(first["ms_per_token"], 2000.0 / 512.0);
        assert!(first["gb_per_s"].as_f64() > Some(0.0));
        assert_eq!(json["cases"][1]["tokens_per_s"], Value::Null);
        assert_eq!(
            json["loads"][0]["host_memory"]["anonymous_bytes"],
            20_000_000
        );
    }

    #[test]
    fn reports_of_the_first_form_are_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/results");
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
            Report::from_json(&text).unwrap()
        };
        let fast = read("h200-vulkan-2.9b-q4_k_m-fast");
        assert_eq!(fast.device.precision, "fast");
        assert_eq!(fast.cases.len(), 6);
        let rate = fast.cases[5].tokens_per_s().unwrap();
        assert!((rate.median - 499.991).abs() < 1e-3);
        let q8 = read("h200-vulkan-2.9b-q4_k_m-fast-q8");
        assert_eq!(q8.device, fast.device);
        let activations = q8.cases.iter().map(|case| case.setting.activations);
        assert!(activations.into_iter().all(|a| a == Activations::Q8));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let fault = |text: &str| Report::from_json(text).unwrap_err();
        assert!(matches!(fault(""), Error::NoReport));
        assert!(matches!(fault("{"), Error::Json(_)));
        assert!(matches!(fault("[{\"n_prompt\": 512}]"), Error::Json(_)));
        assert!(fault("{}").to_string().contains("missing field"));
        for seconds in ["0.0", "-1.0", "1e999", "1e-320", "1e300"] {
            let text = report().to_json().to_string();
            let text = text.replacen("\"samples_s\":[", &format!("\"samples_s\":[{seconds},"), 1);
            let fault = fault(&text);
            assert!(
                matches!(fault, Error::Sample { .. } | Error::Json(_)),
                "{fault}"
            );
        }
    }

    #[test]
    fn lines_of_another_run_are_refused() {
        let mut other = report();
        other.device.driver = "driver 6".to_owned();
        let lines = report().to_json_lines() + &other.to_json_lines();
        let fault = Report::from_json(&lines).unwrap_err();
        assert!(fault.to_string().contains("driver 6"), "{fault}");
    }
}
