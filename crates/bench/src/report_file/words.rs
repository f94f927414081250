//! How a report writes numbers, names and commands.

use crate::{Activations, Setting, Summary};

/// A rate: whole, in groups of three digits, or with one decimal if it is small.
pub(super) fn rate(rate: f64) -> String {
    if rate < 99.95 {
        return format!("{rate:.1}");
    }
    let digits = format!("{rate:.0}");
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(String::from_utf8_lossy);
    let groups: Vec<_> = (first > 0)
        .then(|| head.into())
        .into_iter()
        .chain(groups)
        .collect();
    groups.join(",")
}

/// The least and the greatest sample.
pub(super) fn range(rate_: &Summary) -> String {
    match rate_.count {
        1 => "a single sample".to_owned(),
        count => format!(
            "from {} to {} in {count} samples",
            rate(rate_.min),
            rate(rate_.max)
        ),
    }
}

/// Activations where they are worth a word.
pub(super) fn activations(setting: &Setting) -> &'static str {
    match setting.activations {
        Activations::F32 => "",
        Activations::Q8 => "q8",
    }
}

/// A name that comes from a file, on one line, so that it neither ends a cell nor a section.
pub(crate) fn name(name: &str) -> String {
    one_line(name).replace('|', "\\|").replace('<', "&lt;")
}

/// The command with these arguments, without the folder of its model.
pub(super) fn command(arguments: &[String]) -> String {
    let mut words = vec!["thalweg".to_owned()];
    let mut before = "";
    for argument in arguments {
        let is_model = matches!(before, "-m" | "--model");
        let shown = if is_model {
            file_name(argument)
        } else {
            argument
        };
        words.push(word(shown));
        before = argument;
    }
    words.join(" ")
}

/// The part of a path behind its folders.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A word as a shell takes it.
pub(crate) fn word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,=:+@%".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", one_line(word).replace('\'', "'\\''")),
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Commands as a block of code.
pub(crate) fn block(commands: &[String]) -> String {
    format!("```sh\n{}\n```\n", commands.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_readable() {
        let rates = [1_234_567.4, 18_657.6, 999.6, 500.0, 99.96, 13.44];
        let expected = ["1,234,567", "18,658", "1,000", "500", "100", "13.4"];
        assert_eq!(rates.map(rate), expected);
    }

    #[test]
    fn commands_can_be_given_to_a_shell() {
        assert_eq!(word("256..2048*2"), "'256..2048*2'");
        assert_eq!(word("--prefill"), "--prefill");
        assert_eq!(word("it's\nmine"), "'it'\\''s mine'");
        assert_eq!(word(""), "''");
        assert_eq!(file_name("C:\\models\\a.gguf"), "a.gguf");
    }
}
