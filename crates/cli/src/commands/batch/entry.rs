//! What a line of the input says.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_tokenizer::chat::{Message, Role};

/// What a reply is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Number(u64),
    Text(String),
}

impl Id {
    /// The ids are all that is held of lines that are done with, so they must be short.
    fn is_usable(text: &str) -> bool {
        (1..=256).contains(&text.len())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
        }
    }
}

/// A line that makes sense as far as one can see without a model. What is not given is left to the flags.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    /// The number of the line, unless it says otherwise.
    pub(super) id: Id,
    pub(super) source: Source,
    pub(super) tokens: Option<usize>,
    pub(super) temp: Option<f32>,
    pub(super) top_k: Option<usize>,
    pub(super) top_p: Option<f32>,
    pub(super) min_p: Option<f32>,
    pub(super) presence_penalty: Option<f32>,
    pub(super) frequency_penalty: Option<f32>,
    pub(super) penalty_decay: Option<f32>,
    pub(super) seed: Option<u64>,
    pub(super) stop: Option<Vec<String>>,
    pub(super) logprobs: Option<usize>,
}

/// What is to be continued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    Prompt(String),
    Messages(Vec<Message>),
}

/// What is wrong with a line, and the name under which that is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) id: Id,
    pub(super) what: String,
}

/// The keys of a line. Their values are looked at one by one, so that a wrong one can be named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
struct Keys {
    id: Option<Value>,
    prompt: Option<Value>,
    messages: Option<Value>,
    #[serde(alias = "n")]
    tokens: Option<Value>,
    temp: Option<Value>,
    #[serde(alias = "top-k")]
    top_k: Option<Value>,
    #[serde(alias = "top-p")]
    top_p: Option<Value>,
    #[serde(alias = "min-p")]
    min_p: Option<Value>,
    #[serde(alias = "presence-penalty")]
    presence_penalty: Option<Value>,
    #[serde(alias = "frequency-penalty")]
    frequency_penalty: Option<Value>,
    #[serde(alias = "penalty-decay")]
    penalty_decay: Option<Value>,
    seed: Option<Value>,
    stop: Option<Value>,
    logprobs: Option<Value>,
}

/// A line whose other keys make no sense may still have a name.
#[derive(Deserialize)]
struct Named {
    id: Option<Id>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    role: RoleName,
    content: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    System,
    User,
    Assistant,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Entry {
    /// Understands line `number`.
    pub(super) fn parse(number: u64, line: &[u8]) -> Result<Self, Mistake> {
        let nameless = |what| Mistake {
            id: Id::Number(number),
            what,
        };
        let text = std::str::from_utf8(line).map_err(|error| {
            nameless(format!(
                "byte {} is no text, expected UTF-8; convert the file",
                error.valid_up_to() + 1
            ))
        })?;
        let id = match serde_json::from_str(text) {
            Ok(Named {
                id: Some(Id::Text(text)),
            }) if Id::is_usable(&text) => Id::Text(text),
            Ok(Named {
                id: Some(id @ Id::Number(_)),
            }) => id,
            _ => Id::Number(number),
        };
        let entry = serde_json::from_str(text)
            .map_err(|error| describe(&error))
            .and_then(|keys| Self::from_keys(id.clone(), keys));
        entry.map_err(|what| Mistake { id, what })
    }

    fn from_keys(id: Id, keys: Keys) -> Result<Self, String> {
        const COUNT: &str = "a whole number from 0 up";
        const NUMBER: &str = "a number";
        check_id(keys.id)?;
        let stop = value("stop", keys.stop, "a string or a list of strings")?;
        Ok(Self {
            id,
            source: source(keys.prompt, keys.messages)?,
            tokens: value("tokens", keys.tokens, COUNT)?,
            temp: value("temp", keys.temp, NUMBER)?,
            top_k: value("top_k", keys.top_k, COUNT)?,
            top_p: value("top_p", keys.top_p, NUMBER)?,
            min_p: value("min_p", keys.min_p, NUMBER)?,
            presence_penalty: value("presence_penalty", keys.presence_penalty, NUMBER)?,
            frequency_penalty: value("frequency_penalty", keys.frequency_penalty, NUMBER)?,
            penalty_decay: value("penalty_decay", keys.penalty_decay, NUMBER)?,
            seed: value("seed", keys.seed, COUNT)?,
            stop: stop.map(|stop| match stop {
                OneOrMore::One(string) => vec![string],
                OneOrMore::More(strings) => strings,
            }),
            logprobs: value("logprobs", keys.logprobs, COUNT)?,
        })
    }
}

fn check_id(id: Option<Value>) -> Result<(), String> {
    const EXPECTED: &str = "a string of 1 to 256 bytes or a whole number from 0 up";
    match value("id", id, EXPECTED)? {
        Some(Id::Text(text)) if !Id::is_usable(&text) => {
            Err(unexpected("id", &Value::String(text), EXPECTED))
        }
        _ => Ok(()),
    }
}

fn source(prompt: Option<Value>, messages: Option<Value>) -> Result<Source, String> {
    match (value("prompt", prompt, "a string")?, messages) {
        (Some(prompt), None) => Ok(Source::Prompt(prompt)),
        (None, Some(messages)) => Ok(Source::Messages(turns(messages)?)),
        (None, None) => Err(
            "there is no text, expected \"prompt\" or \"messages\"; give one of them".to_owned(),
        ),
        (Some(_), Some(_)) => Err(
            "there are both \"prompt\" and \"messages\", expected one of them; leave the other out"
                .to_owned(),
        ),
    }
}

fn turns(messages: Value) -> Result<Vec<Message>, String> {
    let turns: Vec<Turn> = serde_json::from_value(messages).map_err(|error| {
        format!(
            "messages: {error}; expected a list like [{{\"role\": \"user\", \"content\": \"Hello\"}}]"
        )
    })?;
    if turns.is_empty() {
        return Err("messages is [], expected at least one; say what is to be answered".to_owned());
    }
    let message = |turn: Turn| {
        let role = match turn.role {
            RoleName::System => Role::System,
            RoleName::User => Role::User,
            RoleName::Assistant => Role::Assistant,
        };
        Message::new(role, turn.content)
    };
    Ok(turns.into_iter().map(message).collect())
}

/// The value of the key `name`, if it is given.
fn value<T: DeserializeOwned>(
    name: &str,
    given: Option<Value>,
    expected: &str,
) -> Result<Option<T>, String> {
    let Some(given) = given else { return Ok(None) };
    match T::deserialize(&given) {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(unexpected(name, &given, expected)),
    }
}

fn unexpected(name: &str, found: &Value, expected: &str) -> String {
    const SHOWN: usize = 40;
    let mut found = found.to_string();
    if let Some((end, _)) = found.char_indices().nth(SHOWN) {
        found.truncate(end);
        found.push_str("...");
    }
    format!("{name} is {found}; expected {expected}")
}

/// What is wrong with the JSON. There is but one line, so its number says nothing.
fn describe(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let what = text.strip_suffix(&place).unwrap_or(&text);
    let kind = match error.is_data() {
        true => "",
        false => "it is not JSON: ",
    };
    format!(
        "{kind}{what}, at column {}; expected an object like {{\"id\": \"a\", \"prompt\": \"Once\"}}",
        error.column()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(line: &[u8]) -> (Id, String) {
        let mistake = Entry::parse(7, line).unwrap_err();
        (mistake.id, mistake.what)
    }

    #[test]
    fn all_keys_are_understood() {
        let line = r#"{"id": "a", "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
            "n": 5, "temp": 0, "top-k": 3, "top_p": 0.5, "min_p": 0.25, "presence_penalty": 1, "frequency-penalty": -1,
            "penalty_decay": 0.5, "seed": 18446744073709551615, "stop": ["x", "y"], "logprobs": 2}"#;
        let messages = [(Role::System, "S"), (Role::User, "U")];
        let expected = Entry {
            id: Id::Text("a".to_owned()),
            source: Source::Messages(messages.map(|(role, text)| Message::new(role, text)).into()),
            tokens: Some(5),
            temp: Some(0.0),
            top_k: Some(3),
            top_p: Some(0.5),
            min_p: Some(0.25),
            presence_penalty: Some(1.0),
            frequency_penalty: Some(-1.0),
            penalty_decay: Some(0.5),
            seed: Some(u64::MAX),
            stop: Some(vec!["x".to_owned(), "y".to_owned()]),
            logprobs: Some(2),
        };
        assert_eq!(Entry::parse(7, line.as_bytes()), Ok(expected));
    }

    #[test]
    fn what_is_not_given_stays_open() {
        let entry = Entry::parse(7, br#"{"prompt": "", "stop": "x", "seed": null}"#).unwrap();
        assert_eq!(entry.id, Id::Number(7));
        let named = Entry::parse(7, br#"{"id": 3, "prompt": ""}"#).unwrap();
        assert_eq!(named.id, Id::Number(3));
        assert_eq!(entry.source, Source::Prompt(String::new()));
        assert_eq!(entry.stop, Some(vec!["x".to_owned()]));
        assert_eq!((entry.seed, entry.tokens), (None, None));
    }

    #[test]
    fn mistakes_say_what_was_found_and_expected() {
        let cases: &[(&[u8], &str)] = &[
            (b"{\"prompt\": \"\xff\"}", "byte 13 is no text"),
            (b"hello", "it is not JSON: "),
            (b"hello", "at column 1"),
            (b"{\"prompt\": \"x\"", "EOF"),
            (b"[1, 2]", "a JSON object"),
            (b"3", "a JSON object"),
            (b"{}", "expected \"prompt\" or \"messages\""),
            (br#"{"prompt": "x", "messages": []}"#, "both"),
            (br#"{"prompt": 3}"#, "prompt is 3; expected a string"),
            (br#"{"prompt": "x", "tmp": 1}"#, "unknown field `tmp`"),
            (
                br#"{"prompt": "x", "n": 1, "tokens": 1}"#,
                "duplicate field",
            ),
            (br#"{"prompt": "x", "n": -1}"#, "tokens is -1"),
            (br#"{"prompt": "x", "n": 1.5}"#, "tokens is 1.5"),
            (
                br#"{"prompt": "x", "temp": "warm"}"#,
                "temp is \"warm\"; expected a number",
            ),
            (br#"{"prompt": "x", "stop": 3}"#, "stop is 3"),
            (br#"{"prompt": "x", "id": ""}"#, "id is \"\""),
            (br#"{"prompt": "x", "id": -1}"#, "id is -1"),
            (br#"{"messages": []}"#, "messages is []"),
            (br#"{"messages": "x"}"#, "messages: invalid type"),
            (
                br#"{"messages": [{"role": "king", "content": "x"}]}"#,
                "unknown variant `king`",
            ),
            (br#"{"prompt": "\ud800"}"#, "column"),
            (br#"{"prompt": "x"} {"prompt": "y"}"#, "trailing"),
        ];
        for (line, mention) in cases {
            let (id, what) = mistake(line);
            assert!(what.contains(mention), "{what}");
            assert!(what.contains("expected"), "{what}");
            assert!(!what.contains("line 1"), "{what}");
            assert_eq!(id, Id::Number(7));
        }
    }

    #[test]
    fn a_mistake_keeps_the_name_of_its_line() {
        let (id, _) = mistake(br#"{"id": "a", "prompt": "x", "tmp": 1}"#);
        assert_eq!(id, Id::Text("a".to_owned()));
    }

    #[test]
    fn long_values_are_shown_in_part() {
        let line = format!(r#"{{"prompt": "x", "temp": "{}"}}"#, "\u{e9}".repeat(1000));
        assert!(mistake(line.as_bytes()).1.len() < 200);
    }
}
