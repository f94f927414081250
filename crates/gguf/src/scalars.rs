//! Scalar metadata through gguf-rs.
//!
//! gguf-rs decodes into JSON values: it must not see unchecked bytes, and it would copy a large
//! array or string several times over. So it is handed a small file of its own, made of the checked
//! scalars alone, with numbers for keys. What JSON cannot carry stays ours: strings that are long
//! or not UTF-8, and floats that are not finite.

use std::{collections::HashMap, io::Cursor};

use gguf_rs::{ByteOrder, GGUFContainer};
use serde_json::Value as Json;

use crate::{Error, Fault, Value, ValueType, header::Entry, metadata::Stored, source::Source};

/// Strings are handed over while the small file stays below this many bytes.
const SMALL_FILE_BYTES: usize = 1 << 20;

/// Decodes the scalars among `entries`; the result maps an entry's index to its value. Those that
/// are not in it are to be read in place.
pub(crate) fn decode(
    source: &Source,
    entries: &[Entry<'_>],
) -> Result<HashMap<usize, Stored>, Error> {
    let mut decoded = HashMap::new();
    let mut small_file = SmallFile::default();
    for (index, entry) in entries.iter().enumerate() {
        if small_file.suits(entry.ty, &source[entry.payload.clone()]) {
            small_file.push(index, entry.ty, &source[entry.value.clone()]);
        }
    }
    for (index, json) in small_file.decode(source)? {
        let entry = &entries[index];
        let stored = stored(entry.ty, &json).ok_or_else(|| Error::Malformed {
            path: source.path.clone(),
            offset: entry.value.start as u64,
            item: format!("value of key {:.80}", entry.key),
            fault: Fault::Undecodable {
                reason: format!("{json:.80}"),
            },
        })?;
        decoded.insert(index, stored);
    }
    Ok(decoded)
}

/// Key-value pairs gathered for gguf-rs, with indices for keys.
#[derive(Default)]
struct SmallFile {
    indices: Vec<usize>,
    body: Vec<u8>,
}

impl SmallFile {
    /// Whether gguf-rs can decode the value without loss, and without much memory.
    fn suits(&self, ty: ValueType, payload: &[u8]) -> bool {
        match ty {
            ValueType::Array => false,
            ValueType::String => {
                self.body.len() + payload.len() <= SMALL_FILE_BYTES
                    && std::str::from_utf8(payload).is_ok()
            }
            _ => !is_non_finite(ty, payload),
        }
    }

    fn push(&mut self, index: usize, ty: ValueType, raw: &[u8]) {
        let key = index.to_string();
        self.body.extend((key.len() as u64).to_le_bytes());
        self.body.extend(key.as_bytes());
        self.body.extend(ty.number().to_le_bytes());
        self.body.extend(raw);
        self.indices.push(index);
    }

    /// Lets gguf-rs decode what was gathered; `source` is for errors only.
    fn decode(self, source: &Source) -> Result<Vec<(usize, Json)>, Error> {
        // From the version on: gguf-rs expects the magic to be consumed already.
        let mut file = Vec::with_capacity(20 + self.body.len());
        file.extend(3u32.to_le_bytes());
        file.extend(0u64.to_le_bytes());
        file.extend((self.indices.len() as u64).to_le_bytes());
        file.extend(self.body);
        let mut container = GGUFContainer::new(ByteOrder::LE, Box::new(Cursor::new(file)), 0);
        let model = container.decode().map_err(|error| Error::Malformed {
            path: source.path.clone(),
            offset: 0,
            item: "scalar metadata".to_owned(),
            fault: Fault::Undecodable {
                reason: error.to_string(),
            },
        })?;
        let value = |index: usize| model.metadata().get(&index.to_string()).cloned();
        Ok(self
            .indices
            .into_iter()
            .map(|index| (index, value(index).unwrap_or_default()))
            .collect())
    }
}

/// The JSON value as a value of the type that the file announces.
fn stored(ty: ValueType, json: &Json) -> Option<Stored> {
    Some(Stored::Number(match ty {
        ValueType::U8 => Value::U8(json.as_u64()?.try_into().ok()?),
        ValueType::I8 => Value::I8(json.as_i64()?.try_into().ok()?),
        ValueType::U16 => Value::U16(json.as_u64()?.try_into().ok()?),
        ValueType::I16 => Value::I16(json.as_i64()?.try_into().ok()?),
        ValueType::U32 => Value::U32(json.as_u64()?.try_into().ok()?),
        ValueType::I32 => Value::I32(json.as_i64()?.try_into().ok()?),
        ValueType::F32 => Value::F32(json.as_f64()? as f32),
        ValueType::Bool => Value::Bool(json.as_bool()?),
        ValueType::String => return Some(Stored::Text(json.as_str()?.to_owned())),
        ValueType::Array => return None,
        ValueType::U64 => Value::U64(json.as_u64()?),
        ValueType::I64 => Value::I64(json.as_i64()?),
        ValueType::F64 => Value::F64(json.as_f64()?),
    }))
}

/// Whether this is a float that JSON has no word for.
fn is_non_finite(ty: ValueType, payload: &[u8]) -> bool {
    match Value::read_number(ty, &mut &*payload) {
        Some(Value::F32(number)) => !number.is_finite(),
        Some(Value::F64(number)) => !number.is_finite(),
        _ => false,
    }
}
