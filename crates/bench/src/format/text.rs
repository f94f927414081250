//! The report for a terminal: what was measured on what, then a table.

use std::fmt;

use super::{activations, megabytes, or_nothing, three_digits};
use crate::{Case, DRIFT, Load, Report, Table, drift};

const HEADINGS: [&str; 17] = [
    "test",
    "chunk",
    "block",
    "act",
    "tok/s",
    "25 %",
    "75 %",
    "mean",
    "deviation",
    "samples",
    "drift",
    "a sequence",
    "ms/token",
    "GB/s",
    "TFLOP/s",
    "% of limit",
    "first ms",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        if self.cases.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(HEADINGS.into_iter().chain(["GPU memory"]));
        self.cases
            .iter()
            .for_each(|case| table.row(self.cells(case)));
        table.without_empty_columns().fmt(f)
    }
}

impl Report {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            program,
            platform,
            device,
            model,
            tuned,
            loads,
            seed,
            limits,
            check,
            ..
        } = self;
        writeln!(f, "{program} on {platform}")?;
        let features = match device.features.is_empty() {
            true => String::new(),
            false => format!(", features {}", device.features.join(" ")),
        };
        let driver = match device.driver.is_empty() {
            true => String::new(),
            false => format!(", {}", device.driver),
        };
        let tuned = if *tuned { ", tuned" } else { "" };
        writeln!(
            f,
            "device: {} ({}{driver}), precision {}{features}{tuned}",
            device.name, device.backend, device.precision
        )?;
        writeln!(
            f,
            "model: {}, {}, {} layers of width {}",
            model.file,
            megabytes(model.file_bytes),
            model.layers,
            model.width
        )?;
        if let Some(load) = loads.first() {
            writeln!(f, "loaded in {:.3} s{}", load.seconds, memory(load))?;
        }
        if let Some(limits) = limits {
            writeln!(f, "limits: {limits}")?;
        }
        if let Some(check) = check {
            write!(f, "{check}")?;
        }
        if let Some(seed) = seed {
            writeln!(
                f,
                "samples of all tests in turn, in a random order of seed {seed}"
            )?;
        }
        match self.cases.is_empty() {
            true => Ok(()),
            false => writeln!(f),
        }
    }

    fn cells(&self, case: &Case) -> Vec<String> {
        let setting = &case.setting;
        let work = self.model.work.as_ref();
        let rate = case.tokens_per_s();
        let rate_of = |pick: fn(&crate::Summary) -> f64| {
            or_nothing(rate.as_ref().map(|rate| format!("{:.1}", pick(rate))))
        };
        let noteworthy = drift(&case.samples_s).filter(|change| change.abs() > DRIFT);
        let a_sequence = case
            .tokens_per_s_a_sequence()
            .filter(|_| setting.sequences > 1);
        vec![
            setting.test().to_string(),
            or_nothing(setting.prompt_chunk()),
            or_nothing(setting.block_size),
            activations(case, &self.cases),
            rate_of(|rate| rate.median),
            rate_of(|rate| rate.lower_quartile),
            rate_of(|rate| rate.upper_quartile),
            rate_of(|rate| rate.mean),
            rate_of(|rate| rate.deviation),
            or_nothing(rate.map(|rate| rate.count)),
            or_nothing(noteworthy.map(|change| format!("{:+.1} %", change * 100.0))),
            or_nothing(a_sequence.map(|rate| format!("{:.1}", rate.median))),
            or_nothing(case.ms_per_token().map(three_digits)),
            or_nothing(work.and_then(|work| work.gb_per_s(case)).map(three_digits)),
            or_nothing(
                work.and_then(|work| work.tflop_per_s(case))
                    .map(three_digits),
            ),
            or_nothing(self.share_of_limit(case)),
            or_nothing(case.first_s.map(|seconds| three_digits(seconds * 1e3))),
            or_nothing(case.device_bytes.map(megabytes)),
        ]
    }
}

fn memory(load: &Load) -> String {
    let on_device = load
        .device_bytes
        .map(|bytes| format!(", {} on the device", megabytes(bytes)));
    let on_host = load.host_memory.map(|memory| {
        let bytes = megabytes(memory.anonymous_bytes);
        format!(", {bytes} of the host's own memory")
    });
    or_nothing(on_device) + &or_nothing(on_host)
}

#[cfg(test)]
mod tests {
    use crate::samples::{case, parallel, report};
    use crate::{Activations, Setting, Task};

    #[test]
    fn people_get_what_a_figure_depends_on_and_a_table() {
        let expected = "\
            thalweg 1.2.3 on linux x86_64\n\
            device: A card (vulkan, driver 5), precision exact, features subgroup f16\n\
            model: a.gguf, 1.5 MB, 2 layers of width 64\n\
            loaded in 0.250 s, 2.0 MB on the device, 20.0 MB of the host's own memory\n\
            samples of all tests in turn, in a random order of seed 1\n\
            \n\
            | test  | chunk | block | tok/s |  25 % |  75 % |  mean | deviation | samples | ms/token |  GB/s | TFLOP/s | first ms | GPU memory |\n\
            |:------|------:|------:|------:|------:|------:|------:|----------:|--------:|---------:|------:|--------:|---------:|-----------:|\n\
            | pp512 |   128 |    16 | 256.0 | 192.0 | 384.0 | 298.7 |     195.5 |       3 |     3.91 | 0.002 |   0.001 |     6500 |     3.0 MB |\n\
            | tg64  |       |       | 128.0 | 128.0 | 128.0 | 128.0 |       0.0 |       3 |     7.81 | 0.161 |   0.001 |          |            |\n";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn drift_is_shown_where_it_is_worth_a_warning() {
        let mut report = report();
        report.cases[1].samples_s = vec![0.5, 0.5, 0.4, 0.4];
        let text = report.to_string();
        assert!(
            text.contains("drift |") && text.contains("| +25.0 % |"),
            "{text}"
        );
        let drifting: Vec<_> = report.drifting().map(|(_, change)| change).collect();
        assert_eq!(drifting, [0.25]);
        report.cases[1].samples_s = vec![0.5, 0.5, 0.49, 0.49];
        assert!(!report.to_string().contains("drift"));
    }

    #[test]
    fn sequences_are_counted_together_and_one_by_one() {
        let mut report = report();
        report.model.work = None;
        let looped = Setting {
            task: Task::Loop,
            activations: Activations::Q8,
            ..parallel(16, 8)
        };
        report.cases = vec![case(parallel(16, 8), &[2.0]), case(looped, &[1.0])];
        let expected = "\
            | test         | act | tok/s |  25 % |  75 % |  mean | deviation | samples | a sequence | ms/token |\n\
            |:-------------|----:|------:|------:|------:|------:|----------:|--------:|-----------:|---------:|\n\
            | tg16 x8      | f32 |  64.0 |  64.0 |  64.0 |  64.0 |       0.0 |       1 |        8.0 |      125 |\n\
            | tg16-loop x8 |  q8 | 128.0 | 128.0 | 128.0 | 128.0 |       0.0 |       1 |       16.0 |     62.5 |\n";
        let text = report.to_string();
        assert!(text.ends_with(expected), "{text}");
    }
}
