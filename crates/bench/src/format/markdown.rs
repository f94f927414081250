//! The report as rows that can be put under llama-bench's: everything that a figure depends on in each of them.

use super::{or_nothing, three_digits};
use crate::{Case, Check, Report, Table};

const HEADINGS: [&str; 18] = [
    "model",
    "size",
    "backend",
    "adapter",
    "driver",
    "features",
    "precision",
    "activations",
    "chunk",
    "block",
    "test",
    "tok/s",
    "median",
    "ms/token",
    "GB/s",
    "TFLOP/s",
    "% of limit",
    "GPU memory",
];

impl Report {
    /// A table in Markdown. `tok/s` is mean ± sample deviation, as llama-bench has it. What a check found out stands below.
    pub fn to_markdown(&self) -> String {
        let mut table = Table::new(HEADINGS);
        self.cases.iter().for_each(|case| table.row(self.row(case)));
        let lines = self.check.as_ref().map(Check::to_string);
        let lines = lines.unwrap_or_default();
        let list = lines.lines().map(|line| format!("\n- {line}"));
        let list: String = list.collect();
        match list.is_empty() {
            true => table.without_empty_columns().to_string(),
            false => format!("{}{list}\n", table.without_empty_columns()),
        }
    }

    fn row(&self, case: &Case) -> Vec<String> {
        let Report { device, model, .. } = self;
        let work = model.work.as_ref();
        let rate = case.tokens_per_s();
        let mean = rate.map(|rate| format!("{:.2} ± {:.2}", rate.mean, rate.deviation));
        vec![
            model.name().to_owned(),
            binary_size(model.file_bytes),
            device.backend.clone(),
            device.name.clone(),
            device.driver.clone(),
            device.features.join(" "),
            device.precision.clone(),
            case.setting.activations.name().to_owned(),
            or_nothing(case.setting.prompt_chunk()),
            or_nothing(case.setting.block_size),
            case.setting.test().to_string(),
            or_nothing(mean),
            or_nothing(rate.map(|rate| format!("{:.2}", rate.median))),
            or_nothing(case.ms_per_token().map(three_digits)),
            or_nothing(work.and_then(|work| work.gb_per_s(case)).map(three_digits)),
            or_nothing(
                work.and_then(|work| work.tflop_per_s(case))
                    .map(three_digits),
            ),
            or_nothing(self.share_of_limit(case)),
            or_nothing(case.device_bytes.map(binary_size)),
        ]
    }
}

fn binary_size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;
    match bytes {
        GIB.. => format!("{:.2} GiB", bytes as f64 / GIB as f64),
        _ => format!("{:.2} MiB", bytes as f64 / MIB as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::report;

    #[test]
    fn each_row_says_what_its_figure_depends_on() {
        let markdown = report().to_markdown();
        let mut lines = markdown.lines();
        assert!(
            lines
                .next()
                .unwrap()
                .contains("| model |     size | backend |"),
            "{markdown}"
        );
        let cells = |line: &str| -> Vec<String> {
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let row = cells(lines.nth(1).unwrap());
        let expected = [
            "",
            "a",
            "1.43 MiB",
            "vulkan",
            "A card",
            "driver 5",
            "subgroup f16",
            "exact",
            "f32",
            "128",
            "16",
            "pp512",
            "298.67 ± 195.52",
            "256.00",
            "3.91",
            "0.002",
            "0.001",
            "2.86 MiB",
            "",
        ];
        assert_eq!(row, expected);
        assert_eq!(cells(lines.next().unwrap())[11], "tg64");
    }

    #[test]
    fn sizes_are_as_llama_bench_has_them() {
        assert_eq!(binary_size(1_875_857_536), "1.75 GiB");
    }
}
