//! Operations for people: what they ran on, then a table.

use std::fmt;

use super::{FormTimes, OperationTimes, Operations};
use crate::Table;
use crate::format::{or_nothing, three_digits};
use crate::report_file::words;

const HEADINGS: [&str; 10] = [
    "operation",
    "shape",
    "tokens",
    "form",
    "dispatches",
    "alone us",
    "launched us",
    "launched / alone",
    "unfused / fused",
    "launched too",
];

impl Operations {
    /// The same as on a terminal, with a heading in Markdown.
    pub fn to_markdown(&self) -> String {
        let [program, device, model] = self.head();
        format!("- {program}\n- {device}\n- {model}\n\n{}", self.table())
    }

    fn head(&self) -> [String; 3] {
        let Operations {
            program,
            platform,
            device,
            model,
            ..
        } = self;
        let driver = match device.driver.is_empty() {
            true => String::new(),
            false => format!(", {}", device.driver),
        };
        let features = match device.features.is_empty() {
            true => String::new(),
            false => format!(", features {}", device.features.join(" ")),
        };
        [
            format!("{program} on {platform}"),
            format!(
                "device: {} ({}{driver}), precision {}{features}",
                device.name, device.backend, device.precision
            ),
            format!("shapes: {model}; weights and inputs are random"),
        ]
    }

    /// A row for each form of each operation: medians in microseconds, and ratios of them.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(HEADINGS);
        for operation in &self.operations {
            for form in &operation.forms {
                table.row(cells(operation, form));
            }
        }
        table.without_empty_columns()
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [program, device, model] = self.head();
        write!(f, "{program}\n{device}\n{model}\n\n{}", self.table())
    }
}

fn cells(operation: &OperationTimes, form: &FormTimes) -> Vec<String> {
    let microseconds = |seconds: f64| three_digits(seconds * 1e6);
    let against = operation.form("unfused").filter(|_| form.form == "fused");
    let gain = |time: fn(&FormTimes) -> Option<f64>| {
        let (unfused, fused) = (time(against?)?, time(form)?);
        Some(format!("{:.2}", unfused / fused))
    };
    vec![
        words::name(&operation.operation),
        words::name(&operation.shape),
        operation.tokens.to_string(),
        match form.form.as_str() {
            "single" => String::new(),
            name => words::name(name),
        },
        or_nothing(form.dispatches),
        or_nothing(form.alone().map(microseconds)),
        or_nothing(form.launched().map(microseconds)),
        or_nothing(form.launch_costs().map(|times| format!("{times:.1}"))),
        or_nothing(gain(FormTimes::alone)),
        or_nothing(gain(FormTimes::launched)),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::operations;

    #[test]
    fn people_get_a_row_for_each_form() {
        let expected = "\
            thalweg 1.2.3 on linux x86_64\n\
            device: A card (vulkan, driver 5), precision exact, features subgroup f16\n\
            shapes: a.gguf; weights and inputs are random\n\
            \n\
            | operation           |        shape | tokens |    form | dispatches | alone us | launched us | launched / alone | unfused / fused | launched too |\n\
            |:--------------------|-------------:|-------:|--------:|-----------:|---------:|------------:|-----------------:|----------------:|-------------:|\n\
            | softmax             |         1024 |      1 |         |          1 |     4.00 |        80.0 |             20.0 |                 |              |\n\
            | layer norm, product | 64 x 64, f16 |      1 | unfused |          2 |     9.00 |        90.0 |             10.0 |                 |              |\n\
            | layer norm, product | 64 x 64, f16 |      1 |   fused |          1 |     6.00 |        60.0 |             10.0 |            1.50 |         1.50 |\n";
        assert_eq!(operations().to_string(), expected);
        let page = operations().to_markdown();
        assert!(page.starts_with("- thalweg 1.2.3") && page.contains("\n\n| operation "));
    }

    #[test]
    fn the_cpu_has_no_launches() {
        let mut operations = operations();
        for operation in &mut operations.operations {
            operation.forms.truncate(1);
            for form in &mut operation.forms {
                form.form = "single".to_owned();
                form.dispatches = None;
                form.launched_s.clear();
            }
        }
        let text = operations.to_string();
        let heading = "| operation           |        shape | tokens | alone us |\n";
        assert!(text.contains(heading), "{text}");
    }
}
