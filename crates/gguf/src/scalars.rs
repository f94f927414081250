//! Scalar metadata through gguf-rs.
//!
//! gguf-rs decodes into JSON values: it must not see unchecked bytes, and a large array or string would be copied
//! several times over. So it is handed a small file of its own, made of the checked scalars alone, with numbers for
//! keys. What JSON cannot carry stays ours: strings that are long or not UTF-8, and floats that are not finite.

use std::{collections::HashMap, io::Cursor};

use gguf_rs::{ByteOrder, GGUFContainer};

use crate::{Error, Fault, Value, ValueType, header::Entry, source::Source};

/// Strings go through gguf-rs while its small file stays below this many bytes; longer ones are read in place.
const SMALL_FILE_BYTES: usize = 1 << 20;

/// A decoded scalar that owns what it needs.
pub(crate) enum Scalar {
    /// A number or a truth value.
    Plain(Value<'static>),
    Text(String),
}

/// Decodes the scalars among `entries`; the result maps an entry's index to its value.
pub(crate) fn decode(
    source: &Source,
    entries: &[Entry<'_>],
) -> Result<HashMap<usize, Scalar>, Error> {
    let mut decoded = HashMap::new();
    let mut body = Vec::new();
    let mut handed_over = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let raw = &source[entry.value.clone()];
        if let Some(float) = non_finite(entry.ty, raw) {
            decoded.insert(index, Scalar::Plain(float));
        } else if suits_json(entry, source, SMALL_FILE_BYTES.saturating_sub(body.len())) {
            let key = index.to_string();
            body.extend((key.len() as u64).to_le_bytes());
            body.extend(key.as_bytes());
            body.extend(entry.ty.number().to_le_bytes());
            body.extend(raw);
            handed_over.push((index, key));
        }
    }

    let undecodable = |entry: &Entry<'_>, reason: String| Error::Malformed {
        path: source.path.clone(),
        offset: entry.value.start as u64,
        item: format!("value of key {}", entry.key),
        fault: Fault::Undecodable {
            reason,
            expected: entry.ty,
        },
    };
    let Some(&(first, _)) = handed_over.first() else {
        return Ok(decoded);
    };
    let model = GGUFContainer::new(
        ByteOrder::LE,
        Box::new(Cursor::new(small_file(handed_over.len(), &body))),
        0,
    )
    .decode()
    .map_err(|error| undecodable(&entries[first], error.to_string()))?;
    for (index, key) in handed_over {
        let entry = &entries[index];
        let json = model.metadata().get(&key);
        let signed = json.and_then(|json| json.as_i64());
        let unsigned = json.and_then(|json| json.as_u64());
        let float = json.and_then(|json| json.as_f64());
        let scalar = match entry.ty {
            ValueType::U8 => unsigned
                .and_then(|n| n.try_into().ok())
                .map(Value::U8)
                .map(Scalar::Plain),
            ValueType::U16 => unsigned
                .and_then(|n| n.try_into().ok())
                .map(Value::U16)
                .map(Scalar::Plain),
            ValueType::U32 => unsigned
                .and_then(|n| n.try_into().ok())
                .map(Value::U32)
                .map(Scalar::Plain),
            ValueType::U64 => unsigned.map(Value::U64).map(Scalar::Plain),
            ValueType::I8 => signed
                .and_then(|n| n.try_into().ok())
                .map(Value::I8)
                .map(Scalar::Plain),
            ValueType::I16 => signed
                .and_then(|n| n.try_into().ok())
                .map(Value::I16)
                .map(Scalar::Plain),
            ValueType::I32 => signed
                .and_then(|n| n.try_into().ok())
                .map(Value::I32)
                .map(Scalar::Plain),
            ValueType::I64 => signed.map(Value::I64).map(Scalar::Plain),
            ValueType::F32 => float.map(|n| Scalar::Plain(Value::F32(n as f32))),
            ValueType::F64 => float.map(|n| Scalar::Plain(Value::F64(n))),
            ValueType::Bool => json
                .and_then(|json| json.as_bool())
                .map(Value::Bool)
                .map(Scalar::Plain),
            ValueType::String => json
                .and_then(|json| json.as_str())
                .map(|text| Scalar::Text(text.to_owned())),
            ValueType::Array => None,
        };
        let scalar = scalar.ok_or_else(|| undecodable(entry, format!("{json:?}")))?;
        decoded.insert(index, scalar);
    }
    Ok(decoded)
}

/// The float in `raw`, if it is one and JSON has no word for it.
fn non_finite(ty: ValueType, raw: &[u8]) -> Option<Value<'static>> {
    match ty {
        ValueType::F32 => {
            let number = f32::from_le_bytes(raw.try_into().ok()?);
            (!number.is_finite()).then_some(Value::F32(number))
        }
        ValueType::F64 => {
            let number = f64::from_le_bytes(raw.try_into().ok()?);
            (!number.is_finite()).then_some(Value::F64(number))
        }
        _ => None,
    }
}

/// Whether gguf-rs can decode the entry without loss, within `room` bytes for a string.
fn suits_json(entry: &Entry<'_>, source: &Source, room: usize) -> bool {
    match entry.ty {
        ValueType::Array => false,
        ValueType::String => {
            let text = &source[entry.payload.clone()];
            text.len() <= room && std::str::from_utf8(text).is_ok()
        }
        _ => true,
    }
}

/// A GGUF v3 file without tensors, from the version on: gguf-rs expects the magic to be consumed.
fn small_file(keys: usize, body: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(20 + body.len());
    file.extend(3u32.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend((keys as u64).to_le_bytes());
    file.extend(body);
    file
}
