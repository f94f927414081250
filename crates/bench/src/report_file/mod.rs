//! The report of all results: a Markdown file of which parts are generated from raw results, between markers, and the
//! rest is written by people.

mod best;
mod document;
mod engine;
mod grids;
mod profile;
mod results;
mod rivals;
mod runs;
mod sections;
mod targets;
pub(crate) mod words;

pub use document::MarkerFault;
pub use results::Results;

use crate::Error;
use sections::SECTIONS;

/// A report with what became of its sections.
#[derive(Debug, Clone)]
pub struct ReportFile {
    /// The whole file.
    pub text: String,
    /// Sections that the file has no place for.
    pub without_place: Vec<&'static str>,
}

impl Results {
    /// The report: `existing` with its generated sections written anew and everything else as it is, or a new one with all
    /// sections.
    ///
    /// # Errors
    /// [`Error::Marker`] if a marker of `existing` is broken or names no section; [`Error::NoMarkers`] if it has none.
    pub fn report_file(&self, existing: Option<&str>) -> Result<ReportFile, Error> {
        let results = self.completed();
        let skeleton = sections::skeleton();
        let text = document::fill(existing.unwrap_or(&skeleton), |name| {
            let section = SECTIONS.iter().find(|section| section.name == name)?;
            Some(section.text(&results))
        })?;
        let names = SECTIONS.iter().map(|section| section.name);
        let without_place = names.filter(|name| !text.contains(&document::beginning(name)));
        Ok(ReportFile {
            without_place: without_place.collect(),
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{case, decode, parallel, prefill, report};
    use crate::{Limits, Report, Setting};

    fn sweep() -> Report {
        let mut cases = vec![
            case(prefill(512, 128), &[2.0, 1.0, 4.0]),
            case(prefill(512, 64), &[4.0, 4.0, 4.0]),
            case(decode(64), &[0.5]),
            case(parallel(16, 8), &[1.0]),
            case(parallel(16, 32), &[2.0]),
        ];
        for chunk in [64, 128] {
            let setting = Setting {
                block_size: Some(8),
                ..prefill(512, chunk)
            };
            cases.push(case(setting, &[8.0]));
        }
        let arguments = ["bench", "-m", "/home/me/a.gguf", "--prefill", "512"];
        Report {
            arguments: arguments.map(str::to_owned).into(),
            cases,
            ..report()
        }
    }

    fn results(reports: &[(&str, Report)]) -> Results {
        let mut results = Results::default();
        for (file, report) in reports {
            results.add(file, &report.to_json().to_string()).unwrap();
        }
        results
    }

    fn written(results: &Results) -> String {
        results.report_file(None).unwrap().text
    }

    #[test]
    fn a_new_report_has_all_sections() {
        let file = results(&[("card-a.json", sweep())])
            .report_file(None)
            .unwrap();
        assert!(file.without_place.is_empty());
        for expected in [
            "reads **256 tok/s** (pp512 in chunks of 128; from 128 to 512 in 3 samples)",
            "| card-a | thalweg 1.2.3 | ",
            "thalweg bench -m a.gguf --prefill 512    # card-a\n",
            "| 128        | **256** |",
            "| 8            |     64.0 |      64.0 |",
            "| 32        | **256** |",
            "thalweg bench -m model.gguf --backend metal --prefill",
        ] {
            assert!(file.text.contains(expected), "{expected}\n{}", file.text);
        }
        assert!(!file.text.contains("/home/me"), "{}", file.text);
    }

    #[test]
    fn pictures_are_shown_from_where_they_are() {
        let mut results = results(&[("a.json", sweep())]);
        let pictures = results.pictures().unwrap();
        assert_eq!(pictures[0].name, "a-chunk-size");
        results.show_pictures("docs/my pictures", &pictures);
        let text = written(&results);
        assert!(
            text.contains("![a-chunk-size](<docs/my pictures/a-chunk-size.svg>)"),
            "{text}"
        );
    }

    #[test]
    fn a_report_without_results_says_what_to_run() {
        let text = written(&Results::default());
        assert!(text.contains("thalweg profile -m model.gguf"), "{text}");
    }

    #[test]
    fn written_again_it_stays_the_same() {
        let results = results(&[("a.json", sweep())]);
        let once = written(&results);
        assert_eq!(results.report_file(Some(&once)).unwrap().text, once);
    }

    #[test]
    fn what_people_wrote_stays() {
        let mine = "# Mine\r\n\n  How it was found.\n<!-- generated: claim -->\nold\n<!-- end -->\nWhat failed: `<!-- end -->`";
        let file = results(&[("a.json", sweep())])
            .report_file(Some(mine))
            .unwrap();
        assert!(
            file.text
                .starts_with("# Mine\r\n\n  How it was found.\n<!-- generated: claim -->\n\n- ")
        );
        assert!(
            file.text
                .ends_with("\n\n<!-- end -->\nWhat failed: `<!-- end -->`")
        );
        assert!(!file.text.contains("old"));
        assert!(file.without_place.contains(&"runs") && !file.without_place.contains(&"claim"));
    }

    #[test]
    fn limits_and_work_serve_other_runs_of_the_device_and_the_model() {
        let mut old = sweep();
        old.model.work = None;
        let mut new = sweep();
        new.limits = Some(Limits {
            read_bytes_per_s: 1e9,
            fma_flop_per_s: 1e12,
            matrix_flop_per_s: None,
            dispatch_s: 2e-6,
            round_trip_s: 9e-5,
        });
        new.cases.clear();
        let text = written(&results(&[
            ("new.json", new.clone()),
            ("old.json", old.clone()),
        ]));
        assert!(text.contains("% of limit"), "{text}");
        new.device.name = "Another card".to_owned();
        let text = written(&results(&[("new.json", new), ("old.json", old)]));
        assert!(!text.contains("% of limit"), "{text}");
    }

    #[test]
    fn names_cannot_break_tables_or_markers() {
        let mut report = sweep();
        report.device.name = "A | <!-- end -->\n<!-- end -->".to_owned();
        report.arguments.push("x\n<!-- end -->".to_owned());
        let results = results(&[("a.json", report)]);
        let once = written(&results);
        assert_eq!(results.report_file(Some(&once)).unwrap().text, once);
        assert!(
            once.contains("A \\| &lt;!-- end --> &lt;!-- end -->"),
            "{once}"
        );
    }

    #[test]
    fn targets_are_those_of_their_device_and_model() {
        let mut report = sweep();
        report.device.name = "NVIDIA H200".to_owned();
        report.device.precision = "fast".to_owned();
        (report.model.layers, report.model.width) = (32, 2560);
        let text = written(&results(&[("a.json", report.clone())]));
        assert!(text.contains(" 13,000 |"), "{text}");
        let row = text
            .lines()
            .find(|line| line.contains(" 13,000 |"))
            .unwrap();
        assert!(
            row.contains(" 256 |") && row.contains("2 %") && row.contains("**no**"),
            "{row}"
        );
        report.device.name = "Another".to_owned();
        let text = written(&results(&[("a.json", report)]));
        assert!(!text.contains("**no**"), "{text}");
    }

    #[test]
    fn rivals_stand_beside_with_how_they_were_run() {
        let mut results = results(&[("card.json", sweep())]);
        let test = r#"[{"backends": "CUDA", "build_commit": "abc", "model_filename": "/x/a.gguf", "model_type": "rwkv7",
            "model_size": 1500000, "n_batch": 2048, "n_ubatch": 512, "n_gpu_layers": 99, "n_prompt": 512, "n_gen": 0,
            "avg_ts": 128.0, "samples_ts": [128.0, 128.0]}]"#;
        results.add("llama.json", test).unwrap();
        let text = written(&results);
        assert!(text.contains("llama-bench -m a.gguf -p 512 -n 0 -d 0 -b 2048 -ub 512 -ngl 99 -r 2    # abc, CUDA\n"), "{text}");
        assert!(text.contains("CUDA, ubatch 512 |  2.00 |"), "{text}");
    }

    #[test]
    fn profiles_are_tables_of_kernels() {
        let mut results = results(&[("card.json", sweep())]);
        let profile = crate::profile::tests::profile();
        results
            .add("profile.json", &profile.to_json().to_string())
            .unwrap();
        let text = written(&results);
        for expected in [
            "**profile**, decode",
            "- 4 dispatches, 2.0 a layer",
            "| matvec ",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let fault = |text: &str| {
            Results::default()
                .add("a.json", text)
                .unwrap_err()
                .to_string()
        };
        assert!(fault("").contains("empty"));
        assert!(fault("{").contains("no report"), "{}", fault("{"));
        assert!(fault("{\"rows\": []}").contains("another kind"));
        assert!(fault("[]").contains("llama-bench"));
        assert!(fault("{\"stages\": 1}").contains("thalweg profile"));
        assert!(fault("{\"cases\": []}").contains("missing field"));
    }
}
