//! A file's key-value pairs and the typed ways to ask for them.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use crate::{Array, Error, Value, ValueType, Values, header::Entry, scalars, source::Source};

/// The metadata of one file. Scalars are held decoded; arrays and long strings stay views on the
/// file's bytes.
pub struct Metadata {
    source: Arc<Source>,
    values: BTreeMap<String, Stored>,
}

/// A value as it is kept.
pub(crate) enum Stored {
    /// A number or a truth value.
    Number(Value<'static>),
    /// A string that has been decoded.
    #[cfg_attr(
        target_family = "wasm",
        expect(dead_code, reason = "all of it is read in place there")
    )]
    Text(String),
    /// A string that stays in the file: the range of its bytes.
    TextInPlace(Range<usize>),
    /// An array that stays in the file: element type, count and the range of its elements.
    Array(ValueType, u64, Range<usize>),
}

impl Metadata {
    /// Takes the entries that the header walk has checked.
    pub(crate) fn new(source: Arc<Source>, entries: Vec<Entry<'_>>) -> Result<Metadata, Error> {
        // What gguf-rs has decoded, by the index of the entry.
        let mut decoded = scalars::decode(&source, &entries)?;
        let values = entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| {
                let key = entry.key.to_owned();
                (
                    key,
                    decoded
                        .remove(&index)
                        .unwrap_or_else(|| in_place(&source, entry)),
                )
            })
            .collect();
        Ok(Metadata { source, values })
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All keys with their values, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.values
            .iter()
            .map(|(key, stored)| (key.as_str(), self.value(stored)))
    }

    /// Whether the key is there, with a value of any type.
    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.values.get(key).map(|stored| self.value(stored))
    }

    /// An integer of any type that fits into `u32`.
    pub fn u32(&self, key: &str) -> Result<u32, Error> {
        self.opt_u32(key)?.ok_or_else(|| self.missing(key, "a u32"))
    }

    /// As [`u32`](Self::u32), or `None` without the key.
    pub fn opt_u32(&self, key: &str) -> Result<Option<u32>, Error> {
        self.optional(key, "an integer that fits into u32", |value| {
            value.integer()?.try_into().ok()
        })
    }

    /// An integer of any type that fits into `u64`.
    pub fn u64(&self, key: &str) -> Result<u64, Error> {
        self.opt_u64(key)?.ok_or_else(|| self.missing(key, "a u64"))
    }

    /// As [`u64`](Self::u64), or `None` without the key.
    pub fn opt_u64(&self, key: &str) -> Result<Option<u64>, Error> {
        self.optional(key, "an integer that fits into u64", |value| {
            value.integer()?.try_into().ok()
        })
    }

    /// A floating-point number; f64 is rounded to `f32`.
    pub fn f32(&self, key: &str) -> Result<f32, Error> {
        self.opt_f32(key)?
            .ok_or_else(|| self.missing(key, "an f32"))
    }

    /// As [`f32`](Self::f32), or `None` without the key.
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>, Error> {
        self.optional(key, "an f32", |value| value.float())
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Result<bool, Error> {
        self.opt_bool(key)?
            .ok_or_else(|| self.missing(key, "a bool"))
    }

    /// As [`bool`](Self::bool), or `None` without the key.
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>, Error> {
        self.optional(key, "a bool", |value| match value {
            Value::Bool(truth) => Some(truth),
            _ => None,
        })
    }

    /// A string, which must be UTF-8. For any bytes use [`get`](Self::get).
    pub fn str(&self, key: &str) -> Result<&str, Error> {
        self.opt_str(key)?
            .ok_or_else(|| self.missing(key, "a string"))
    }

    /// As [`str`](Self::str), or `None` without the key.
    pub fn opt_str(&self, key: &str) -> Result<Option<&str>, Error> {
        self.optional(key, "a UTF-8 string", |value| match value {
            Value::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    }

    /// The elements of an array of strings. They are bytes: whether UTF-8 is needed, the caller
    /// knows.
    pub fn strings(&self, key: &str) -> Result<Strings<'_>, Error> {
        let array = self.array(key, "an array of strings", |element| {
            element == ValueType::String
        })?;
        Ok(Strings(array.values()))
    }

    /// The elements of an array of any integer type whose values all fit into `u32`.
    pub fn u32s(&self, key: &str) -> Result<impl ExactSizeIterator<Item = u32> + use<'_>, Error> {
        self.integers(key, "an array of integers that fit into u32")
    }

    /// The elements of an array of any integer type whose values all fit into `i32`.
    pub fn i32s(&self, key: &str) -> Result<impl ExactSizeIterator<Item = i32> + use<'_>, Error> {
        self.integers(key, "an array of integers that fit into i32")
    }

    /// The elements of an array of f32.
    pub fn f32s(&self, key: &str) -> Result<impl ExactSizeIterator<Item = f32> + use<'_>, Error> {
        let array = self.array(key, "an array of f32", |element| element == ValueType::F32)?;
        Ok(array
            .values()
            .map(|value| value.float().unwrap_or_default()))
    }

    fn integers<T: TryFrom<i128> + Default>(
        &self,
        key: &str,
        expected: &'static str,
    ) -> Result<impl ExactSizeIterator<Item = T> + use<'_, T>, Error> {
        let fitting =
            |value: Value<'_>| value.integer().and_then(|number| T::try_from(number).ok());
        let array = self.array(key, expected, |element| {
            !matches!(element, ValueType::F32 | ValueType::F64)
        })?;
        match array.values().find(|value| fitting(*value).is_none()) {
            Some(value) => Err(self.wrong(
                key,
                format!("an array with {}", Description(value)),
                expected,
            )),
            None => Ok(array
                .values()
                .map(move |value| fitting(value).unwrap_or_default())),
        }
    }

    fn array(
        &self,
        key: &str,
        expected: &'static str,
        element_fits: impl Fn(ValueType) -> bool,
    ) -> Result<Array<'_>, Error> {
        let array = self.optional(key, expected, |value| match value {
            Value::Array(array) if element_fits(array.element()) => Some(array),
            _ => None,
        })?;
        array.ok_or_else(|| self.missing(key, expected))
    }

    fn optional<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let converted = convert(value);
        converted
            .map(Some)
            .ok_or_else(|| self.wrong(key, Description(value).to_string(), expected))
    }

    fn value<'a>(&'a self, stored: &'a Stored) -> Value<'a> {
        match stored {
            Stored::Number(number) => *number,
            Stored::Text(text) => Value::String(text.as_bytes()),
            Stored::TextInPlace(range) => Value::String(&self.source[range.clone()]),
            Stored::Array(element, len, range) => {
                Value::Array(Array::new(*element, *len, &self.source[range.clone()]))
            }
        }
    }

    fn missing(&self, key: &str, expected: &'static str) -> Error {
        Error::MissingKey {
            path: self.source.path.clone(),
            key: key.to_owned(),
            expected,
        }
    }

    fn wrong(&self, key: &str, found: String, expected: &'static str) -> Error {
        Error::WrongValue {
            path: self.source.path.clone(),
            key: key.to_owned(),
            found,
            expected,
        }
    }
}

/// Keeps what gguf-rs was not given.
fn in_place(source: &Source, entry: Entry<'_>) -> Stored {
    match Value::read_number(entry.ty, &mut &source[entry.value]) {
        Some(number) => Stored::Number(number),
        None if entry.ty == ValueType::Array => {
            Stored::Array(entry.element, entry.count, entry.payload)
        }
        None => Stored::TextInPlace(entry.payload),
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let described = self
            .iter()
            .map(|(key, value)| (key, Description(value).to_string()));
        f.debug_map().entries(described).finish()
    }
}

/// The elements of an array of strings, as bytes.
#[derive(Clone, Debug)]
pub struct Strings<'a>(Values<'a>);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self.0.next()? {
            Value::String(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Strings<'_> {}

/// A value as error messages show it: its type, and as much of it as fits into a sentence.
struct Description<'a>(Value<'a>);

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ty = self.0.ty();
        match self.0 {
            Value::String(bytes) => {
                let shown = &bytes[..bytes.len().min(40)];
                let more = if shown.len() < bytes.len() { "…" } else { "" };
                write!(f, "the string \"{}{more}\"", shown.escape_ascii())
            }
            Value::Array(array) => {
                write!(f, "an array of {} {} values", array.len(), array.element())
            }
            Value::Bool(truth) => write!(f, "the bool {truth}"),
            Value::F32(number) => write!(f, "the {ty} {number}"),
            Value::F64(number) => write!(f, "the {ty} {number}"),
            integer => write!(f, "the {ty} {}", integer.integer().unwrap_or_default()),
        }
    }
}
