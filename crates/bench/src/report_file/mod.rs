//! The report of all results: a Markdown file of which parts are generated from raw results, between markers, and the
//! rest is written by people.

mod best;
mod check;
mod document;
mod engine;
mod grids;
mod limits;
mod operations;
mod profile;
mod results;
mod rivals;
mod runs;
mod sections;
mod targets;
pub(crate) mod words;
mod yardsticks;

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
    use crate::{Activations, Check, Finding, Limits, Report, Setting};

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
            "thalweg bench -m model.gguf --backend metal --check --prefill",
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
        assert!(
            text.contains("- What new measured serves, too: old\n"),
            "{text}"
        );
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

    const TARGETS: &str = r#"{"device": "H200", "source": "a plan", "models": [{"name": "2.9B", "layers": 32, "width": 2560}],
        "targets": [{"model": "2.9B", "how": "fast", "task": "prefill", "size": 512, "tokens_per_s": 13000},
            {"model": "2.9B", "how": "fast", "task": "decode", "size": 8, "tokens_per_s": 100}]}"#;

    #[test]
    fn targets_are_those_of_their_device_and_model() {
        let of = |report: Report| {
            let mut results = results(&[("a.json", report)]);
            results.add("targets.json", TARGETS).unwrap();
            written(&results)
        };
        let mut report = sweep();
        report.device.name = "NVIDIA H200".to_owned();
        report.device.precision = "fast".to_owned();
        (report.model.layers, report.model.width) = (32, 2560);
        let text = of(report.clone());
        assert!(
            text.contains(" 13,000 |") && text.contains("come from a plan"),
            "{text}"
        );
        let row = text
            .lines()
            .find(|line| line.contains(" 13,000 |"))
            .unwrap();
        assert!(
            row.contains(" 256 |") && row.contains("-98 %") && row.contains("**no**"),
            "{row}"
        );
        let missed = "- 2.9B on an H200, fast, a prompt of 512: 256 of the 13,000 tok/s that were wanted (pp512 in a)";
        assert!(text.contains(missed), "{text}");
        assert!(!text.contains("8 sequences: "), "{text}");
        report.device.name = "Another".to_owned();
        let text = of(report);
        assert!(!text.contains("**no**"), "{text}");
        assert!(
            text.contains("no target that was measured was missed"),
            "{text}"
        );
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
    fn what_others_do_stands_beside_the_best_of_ours() {
        let mut report = sweep();
        report.device.name = "NVIDIA H200".to_owned();
        let mut results = results(&[("a.json", report)]);
        let peers = r#"{"device": "H200", "beside": "exact", "source": "a table", "models": [{"name": "S", "layers": 2, "width": 64}],
            "peers": [{"name": "One", "how": "in F16", "figures": [
                {"model": "S", "task": "decode", "size": 32, "tokens_per_s": 64},
                {"model": "S", "task": "prefill", "size": 512, "tokens_per_s": 512},
                {"model": "S", "task": "prefill", "size": 7, "tokens_per_s": 9}]}]}"#;
        results.add("rivals.json", peers).unwrap();
        let text = written(&results);
        let cells = |what: &str| -> Vec<String> {
            let row = text.lines().find(|line| line.contains(what)).unwrap();
            row.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let sequences = [
            "",
            "S",
            "decoding, 32 sequences",
            "256",
            "64.0 (4.00)",
            "a",
            "tg16 x32",
            "",
        ];
        assert_eq!(cells("32 sequences"), sequences);
        assert_eq!(cells("a prompt of 512")[3..5], ["256", "512 (0.50)"]);
        assert_eq!(cells("a prompt of 7")[3..5], ["", "9.0"]);
        assert!(
            text.contains("come from a table") && text.contains("- One: in F16"),
            "{text}"
        );
    }

    #[test]
    fn runs_say_whether_they_are_right() {
        let finding = |found: f32| {
            let mut finding =
                Finding::new("a prompt".to_owned(), "the twins", Activations::F32, 1e-3);
            finding.compare_logits(&[0.0, found], &[0.0, 1.0]);
            finding
        };
        let checked = |found: f32| Report {
            check: Some(Check {
                seconds: 1.0,
                findings: vec![finding(1.0), finding(found)],
            }),
            ..sweep()
        };
        let runs = [("old.json", sweep()), ("new.json", checked(1.0001))];
        let text = written(&results(&runs));
        let row = |text: &str, of: &str| {
            let lines = text.lines().filter(|line| line.starts_with(of));
            lines
                .map(str::to_owned)
                .find(|line| line.contains("the twins"))
                .unwrap()
        };
        assert!(
            row(&text, "| new ").contains(" 2.0e-4 |") && row(&text, "| new ").ends_with(" yes |"),
            "{text}"
        );
        assert!(text.contains("Not checked: old."), "{text}");
        assert!(text.contains("No check that was made failed"), "{text}");
        let text = written(&results(&[("new.json", checked(f32::NAN))]));
        assert!(row(&text, "| new ").ends_with(" **no** |"), "{text}");
        assert!(
            text.contains("- **new computes wrongly**: a prompt, activations f32: "),
            "{text}"
        );
        let text = written(&results(&[("old.json", sweep())]));
        assert!(
            text.contains("`thalweg bench -m model.gguf --check -o json` makes one"),
            "{text}"
        );
    }

    #[test]
    fn models_of_one_name_must_be_one_model() {
        let mut other = sweep();
        other.model.width = 128;
        let mut results = results(&[("one.json", sweep())]);
        let fault = results
            .add("two.json", &other.to_json().to_string())
            .unwrap_err()
            .to_string();
        assert!(
            fault
                .contains("one and two are of different models, 2 layers of width 64 and 2 of 128"),
            "{fault}"
        );
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
            "- 4 dispatches in 2 passes, 1.0 a layer and pass",
            "| matvec ",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn operations_are_tables_of_forms() {
        let mut results = Results::default();
        let operations = crate::operations::tests::operations();
        results
            .add("ops.json", &operations.to_json().to_string())
            .unwrap();
        let text = written(&results);
        for expected in [
            "**ops**: shapes of a.gguf on A card (vulkan, driver 5), precision exact",
            "| layer norm, product | 64 x 64, f16 |      1 |   fused |",
            "thalweg bench --ops -m a.gguf    # ops\n",
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
        assert!(fault("{\"peers\": 1}").contains("neither targets nor figures"));
        assert!(fault("{\"cases\": []}").contains("missing field"));
    }
}
