//! Profiles for people: tables for a terminal, which are Markdown too.

use std::fmt;

use super::{KernelTime, Profile, Stage, Timestamps};
use crate::{Limits, Table};

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

/// The profile as a Markdown page: its head as a list, its stages under headings.
#[derive(Debug, Clone, Copy)]
pub struct Markdown<'a>(pub &'a Profile);

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, "- ")
    }
}

impl Profile {
    /// `bullet` stands before each line of text, and says whether stages have headings.
    fn write(&self, f: &mut fmt::Formatter<'_>, bullet: &str) -> fmt::Result {
        writeln!(f, "{bullet}{} on {}", self.program, self.platform)?;
        let device = self.device.summary();
        writeln!(f, "{bullet}device: {device} ({})", self.device.driver)?;
        writeln!(f, "{bullet}model: {}", self.model)?;
        writeln!(f, "{bullet}timestamps: {}", self.timestamps.explained())?;
        if let Some(limits) = &self.limits {
            writeln!(f, "{bullet}limits: {limits}")?;
        }
        for stage in &self.stages {
            match bullet.is_empty() {
                true => writeln!(f, "\n{}", stage.name)?,
                false => writeln!(f, "\n## {}\n", stage.name)?,
            }
            stage.write(f, bullet, self.limits.as_ref())?;
        }
        Ok(())
    }
}

impl Timestamps {
    fn explained(self) -> &'static str {
        match self {
            Timestamps::InPasses => {
                "two for each kernel, within a pass; they keep kernels apart and take time themselves"
            }
            Timestamps::AroundPasses => {
                "this device has none within passes, so each kernel has a pass of its own, which takes longer"
            }
        }
    }
}

impl Stage {
    /// Its times, its kernels, and the host's part.
    pub(crate) fn write(
        &self,
        f: &mut impl fmt::Write,
        bullet: &str,
        limits: Option<&Limits>,
    ) -> fmt::Result {
        self.write_sums(f, bullet)?;
        writeln!(f, "\n{}\n{}", self.kernel_table(limits), self.host_table())
    }

    fn write_sums(&self, f: &mut impl fmt::Write, bullet: &str) -> fmt::Result {
        let wall = microseconds(self.wall_s);
        let looped = self.loop_s.map_or_else(String::new, |seconds| {
            format!(
                ", {} us in a loop that is not waited for",
                microseconds(seconds)
            )
        });
        writeln!(
            f,
            "{bullet}without timestamps: {wall} us until the host has the result{looped}"
        )?;
        writeln!(
            f,
            "{bullet}with two: {} us from begin to end on the device",
            microseconds(self.device_s)
        )?;
        let kernels = self.dispatches.len();
        let gaps_s: f64 = self.gaps_s().iter().sum();
        write!(
            f,
            "{bullet}with two a kernel: {} us in {kernels} kernels, {} us between them",
            microseconds(self.dispatches_s()),
            microseconds(gaps_s)
        )?;
        let more_s = (self.dispatches_s() + gaps_s - self.device_s) / kernels.max(1) as f64;
        match more_s > 0.0 {
            true => writeln!(
                f,
                "; {} us a kernel more than with two",
                microseconds(more_s)
            ),
            false => writeln!(f),
        }
    }

    fn kernel_table(&self, limits: Option<&Limits>) -> Table {
        let mut table = Table::new([
            "kernel",
            "count",
            "mean us",
            "total us",
            "share",
            "gaps us",
            "MB",
            "MFLOP",
            "GB/s",
            "TFLOP/s",
            "% of limit",
        ]);
        let kernels = self.kernels();
        kernels
            .iter()
            .for_each(|kernel| table.row(kernel.cells(limits)));
        let sum = |of: fn(&KernelTime) -> f64| kernels.iter().map(of).sum::<f64>();
        table.row([
            "all".to_owned(),
            self.dispatches.len().to_string(),
            String::new(),
            microseconds(sum(|kernel| kernel.total_s)),
            String::new(),
            microseconds(sum(|kernel| kernel.gaps_s)),
            millions(sum(|kernel| kernel.bytes)),
            millions(sum(|kernel| kernel.flops)),
        ]);
        table.without_empty_columns()
    }

    fn host_table(&self) -> Table {
        let host = &self.host;
        let text = match self.loop_s {
            Some(_) => "tokens to text (not in the wall time)",
            None => "text to tokens (not in the wall time)",
        };
        let mut table = Table::new(["host", "us"]);
        let rows = [
            ("writing inputs", Some(host.write_s)),
            ("submitting", Some(host.submit_s)),
            ("encoding what comes next", Some(host.encode_s)),
            ("waiting for the device", Some(host.wait_s)),
            ("reading back", Some(host.read_back_s)),
            ("the rest", Some(self.other_s())),
            (text, host.text_s),
        ];
        for (name, seconds) in rows {
            let known = seconds.map(|seconds| [name.to_owned(), microseconds(seconds)]);
            known.into_iter().for_each(|cells| table.row(cells));
        }
        if self.sampling_s() > 0.0 {
            let name = "choosing tokens, by the device's kernels".to_owned();
            table.row([name, microseconds(self.sampling_s())]);
        }
        table
    }
}

impl KernelTime {
    fn cells(&self, limits: Option<&Limits>) -> Vec<String> {
        let rate = |rate: Option<f64>, unit: f64, digits: usize| {
            rate.map_or_else(String::new, |rate| format!("{:.digits$}", rate / unit))
        };
        let share = limits.and_then(|limits| self.share_of_limit(limits));
        vec![
            self.kernel.clone(),
            self.count.to_string(),
            format!("{:.2}", self.mean_s() * 1e6),
            microseconds(self.total_s),
            format!("{:.1} %", 100.0 * self.share),
            microseconds(self.gaps_s),
            millions(self.bytes),
            millions(self.flops),
            rate(self.bytes_per_s(), 1e9, 1),
            rate(self.flops_per_s(), 1e12, 3),
            share.map_or_else(String::new, |share| share.to_string()),
        ]
    }
}

fn microseconds(seconds: f64) -> String {
    format!("{:.1}", seconds * 1e6)
}

fn millions(number: f64) -> String {
    format!("{:.2}", number / 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LIMITS, profile};
    use super::*;

    const KERNELS: &str = "\
        | kernel      | count | mean us | total us |  share | gaps us |   MB | MFLOP |  GB/s | TFLOP/s |\n\
        |:------------|------:|--------:|---------:|-------:|--------:|-----:|------:|------:|--------:|\n\
        | matvec      |     2 |   35.00 |     70.0 | 70.0 % |     3.0 | 4.00 |  8.00 |  57.1 |   0.114 |\n\
        | sample_best |     1 |   20.00 |     20.0 | 20.0 % |     0.0 | 2.00 |  4.00 | 100.0 |   0.200 |\n\
        | norm        |     1 |   10.00 |     10.0 | 10.0 % |     2.0 | 2.00 |  4.00 | 200.0 |   0.400 |\n\
        | all         |     4 |         |    100.0 |        |     5.0 | 8.00 | 16.00 |       |         |\n";

    #[test]
    fn a_terminal_gets_sums_kernels_and_the_host() {
        let text = profile().to_string();
        let head = "\
            thalweg 1.2.3 on linux x86_64\n\
            device: vulkan A card, exact (driver 5)\n\
            model: a.gguf\n\
            timestamps: two for each kernel, within a pass; they keep kernels apart and take time themselves\n\
            \n\
            decode\n\
            without timestamps: 100.0 us until the host has the result, 70.0 us in a loop that is not waited for\n\
            with two: 61.0 us from begin to end on the device\n\
            with two a kernel: 100.0 us in 4 kernels, 5.0 us between them; 11.0 us a kernel more than with two\n\
            \n";
        assert!(text.starts_with(&format!("{head}{KERNELS}")), "{text}");
        for row in ["| waiting for the device ", "| the rest ", "| 20.0 |"] {
            assert!(text.contains(row), "{row} in {text}");
        }
    }

    #[test]
    fn with_limits_kernels_say_how_near_they_come() {
        let profile = Profile {
            limits: Some(LIMITS),
            ..profile()
        };
        let text = profile.to_string();
        assert!(text.contains("\nlimits: read 1000.0 GB/s, "), "{text}");
        assert!(text.contains("| % of limit |"), "{text}");
        assert!(text.contains("|   0.400 |   40.0 FMA |"), "{text}");
    }

    #[test]
    fn a_page_has_lists_and_headings() {
        let profile = profile();
        let page = Markdown(&profile).to_string();
        assert!(page.starts_with("- thalweg 1.2.3"), "{page}");
        assert!(
            page.contains("\n\n## decode\n\n- without timestamps: "),
            "{page}"
        );
        assert!(page.contains(&format!("\n\n{KERNELS}")), "{page}");
    }
}
