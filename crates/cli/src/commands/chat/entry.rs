//! What a line typed into a chat means.

/// Shown by `/help`.
pub(super) const HELP: &str = "\
/exit         leave (so do Ctrl-D, and Ctrl-C twice)
/reset        forget the conversation, keep the system text
/regen        another reply to the last message
/system TEXT  what the model is told before the conversation; nothing clears it
/temp T       sampling temperature, from 0 to 100
anything else is said to the model";

/// A line, understood.
#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    Say(String),
    Help,
    Exit,
    Reset,
    Regenerate,
    System(String),
    Temperature(f32),
    /// Something that looks like a command and is none; what to tell about it.
    Mistake(String),
    Nothing,
}

impl Entry {
    pub(super) fn parse(line: &str) -> Self {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (word, rest.trim()) {
            ("", _) => Self::Nothing,
            ("/help", "") => Self::Help,
            ("/exit", "") => Self::Exit,
            ("/reset", "") => Self::Reset,
            ("/regen", "") => Self::Regenerate,
            ("/system", text) => Self::System(text.to_owned()),
            ("/temp", number) => Self::temperature(number),
            _ if word.starts_with('/') => {
                Self::Mistake(format!("'{line}' is no command; /help lists them"))
            }
            _ => Self::Say(line.to_owned()),
        }
    }

    fn temperature(number: &str) -> Self {
        match number.parse() {
            Ok(temperature) => Self::Temperature(temperature),
            Err(_) => Self::Mistake(format!(
                "/temp '{number}': expected a number from 0 to 100, as in /temp 0.8"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let cases = [
            ("  Hello there ", Entry::Say("Hello there".into())),
            ("", Entry::Nothing),
            ("/help", Entry::Help),
            ("/exit ", Entry::Exit),
            ("/reset", Entry::Reset),
            ("/regen", Entry::Regenerate),
            ("/system Be brief. ", Entry::System("Be brief.".into())),
            ("/system", Entry::System(String::new())),
            ("/temp 0.5", Entry::Temperature(0.5)),
        ];
        for (line, entry) in cases {
            assert_eq!(Entry::parse(line), entry, "{line}");
        }
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for line in ["/quit", "/exit now", "/temp", "/temp warm"] {
            let Entry::Mistake(message) = Entry::parse(line) else {
                panic!("{line}")
            };
            assert!(
                message.contains("/help") || message.contains("/temp 0.8"),
                "{message}"
            );
        }
    }
}
