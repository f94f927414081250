//! The report as comma-separated values (RFC 4180, lines ending as on Unix).

use super::or_nothing;
use crate::{Case, Report, drift};

const HEADINGS: &str = "model,model_bytes,backend,adapter,driver,features,precision,activations,chunk_size,block_size,\
    test,tokens,sequences,depth,tokens_per_s,tokens_per_s_min,tokens_per_s_25,tokens_per_s_75,tokens_per_s_max,\
    tokens_per_s_mean,tokens_per_s_deviation,ms_per_token,gb_per_s,tflop_per_s,percent_of_limit,limit,drift,first_s,device_bytes,samples_s\n";

impl Report {
    /// A line of headings and one a case. `tokens_per_s` is the median; samples are separated by spaces.
    pub fn to_csv(&self) -> String {
        let rows = self.cases.iter().map(|case| self.record(case));
        HEADINGS.to_owned() + &rows.collect::<String>()
    }

    fn record(&self, case: &Case) -> String {
        let Report { device, model, .. } = self;
        let (setting, work) = (&case.setting, model.work.as_ref());
        let rate = case.tokens_per_s();
        let share = self.share_of_limit(case);
        let rate_of = |pick: fn(&crate::Summary) -> f64| or_nothing(rate.as_ref().map(pick));
        let samples: Vec<String> = case.samples_s.iter().map(f64::to_string).collect();
        let fields = [
            model.name().to_owned(),
            model.file_bytes.to_string(),
            device.backend.clone(),
            device.name.clone(),
            device.driver.clone(),
            device.features.join(" "),
            device.precision.clone(),
            setting.activations.name().to_owned(),
            or_nothing(setting.prompt_chunk()),
            or_nothing(setting.block_size),
            setting.test().to_string(),
            setting.tokens.to_string(),
            setting.sequences.to_string(),
            setting.depth.to_string(),
            rate_of(|rate| rate.median),
            rate_of(|rate| rate.min),
            rate_of(|rate| rate.lower_quartile),
            rate_of(|rate| rate.upper_quartile),
            rate_of(|rate| rate.max),
            rate_of(|rate| rate.mean),
            rate_of(|rate| rate.deviation),
            or_nothing(case.ms_per_token()),
            or_nothing(work.and_then(|work| work.gb_per_s(case))),
            or_nothing(work.and_then(|work| work.tflop_per_s(case))),
            or_nothing(share.map(|share| share.percent)),
            or_nothing(share.map(|share| share.of.name())),
            or_nothing(drift(&case.samples_s)),
            or_nothing(case.first_s),
            or_nothing(case.device_bytes),
            samples.join(" "),
        ];
        fields.map(|field| quoted(&field)).join(",") + "\n"
    }
}

/// A field in quotation marks where it would be taken for several, or for something else, without.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::report;

    #[test]
    fn every_line_has_a_field_a_heading() {
        let csv = report().to_csv();
        let counts = csv.lines().map(|line| line.split(',').count());
        assert_eq!(counts.collect::<Vec<_>>(), [30; 3]);
        assert!(
            csv.contains(",pp512,512,1,0,256,") && csv.ends_with(",0.5 0.5 0.5\n"),
            "{csv}"
        );
    }

    #[test]
    fn commas_and_quotation_marks_are_no_separators() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
