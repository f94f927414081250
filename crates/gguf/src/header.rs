//! The walk over a file's header: magic, version, counts, metadata. Tensors follow in `tensors`.

use std::{collections::HashSet, ops::Range};

use crate::{
    Error, Fault, ValueType, cursor::Cursor, formats, limits, source::Source, tensors,
    tensors::TensorInfo,
};

/// The fewest bytes of a key-value pair: length, one character, type, one byte.
const MIN_ENTRY_BYTES: u64 = 8 + 1 + 4 + 1;

/// What a header says, all of it checked.
pub(crate) struct Header<'a> {
    pub(crate) version: u32,
    pub(crate) alignment: u64,
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) tensors: Vec<TensorInfo>,
}

/// One key-value pair and where it lies in the file.
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a str,
    pub(crate) ty: ValueType,
    /// The encoded value with its own header, if it has one.
    pub(crate) value: Range<usize>,
    /// The value alone: a string's bytes, an array's elements.
    pub(crate) payload: Range<usize>,
    /// Type of an array's elements; otherwise the same as `ty`.
    pub(crate) element: ValueType,
    /// Number of an array's elements; otherwise 1.
    pub(crate) count: u64,
}

/// Checks a whole header. Nothing is allocated that the file's own length does not pay for.
pub(crate) fn walk(source: &Source) -> Result<Header<'_>, Error> {
    let mut cursor = Cursor::new(source);
    let version = formats::version(&mut cursor)?;
    let tensor_count = cursor.count(
        limits::TENSORS,
        tensors::MIN_INFO_BYTES,
        format_args!("tensor count"),
    )?;
    let key_count = cursor.count(
        limits::KEYS,
        MIN_ENTRY_BYTES,
        format_args!("metadata key count"),
    )?;
    let entries = entries(&mut cursor, key_count)?;
    let alignment = alignment(&cursor, source, &entries)?;
    let tensors = tensors::walk(&mut cursor, tensor_count, alignment)?;
    Ok(Header {
        version,
        alignment,
        entries,
        tensors,
    })
}

fn entries<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<Vec<Entry<'a>>, Error> {
    let start = cursor.at();
    let mut entries = Vec::with_capacity(count as usize);
    let mut seen = HashSet::with_capacity(count as usize);
    for index in 0..count {
        let at = cursor.at();
        let key = cursor.name(limits::KEY_BYTES, format_args!("metadata key {index}"))?;
        if !seen.insert(key) {
            let fault = Fault::Duplicate {
                name: key.to_owned(),
            };
            return Err(cursor.fault_at(at, format_args!("metadata key {index}"), fault));
        }
        let mut values = ValueWalk {
            cursor,
            key,
            budget_end: start as u64 + limits::METADATA_BYTES,
        };
        entries.push(values.entry()?);
    }
    Ok(entries)
}

/// Steps over the value of one key.
struct ValueWalk<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    key: &'a str,
    /// Where in the file the budget for metadata ends.
    budget_end: u64,
}

impl<'a> ValueWalk<'_, 'a> {
    fn entry(&mut self) -> Result<Entry<'a>, Error> {
        let key = self.key;
        let ty = self.value_type(format_args!("value type of key {key:.80}"))?;
        let value_start = self.cursor.at();
        let (element, count, payload) = match ty {
            ValueType::Array => self.array(1)?,
            _ => (ty, 1, self.scalar(ty)?),
        };
        Ok(Entry {
            key,
            ty,
            value: value_start..self.cursor.at(),
            payload,
            element,
            count,
        })
    }

    /// Steps over an array at nesting `depth`; returns its element type, count and the range of its
    /// elements.
    fn array(&mut self, depth: u32) -> Result<(ValueType, u64, Range<usize>), Error> {
        let key = self.key;
        let at = self.cursor.at();
        if depth > limits::ARRAY_DEPTH {
            let fault = Fault::OverBudget {
                found: depth.into(),
                limit: limits::ARRAY_DEPTH.into(),
            };
            return Err(self.cursor.fault_at(
                at,
                format_args!("nesting of arrays in key {key:.80}"),
                fault,
            ));
        }
        let element = self.value_type(format_args!("element type of array {key:.80}"))?;
        let each = element.min_bytes();
        let count = self.cursor.count(
            limits::METADATA_BYTES / each,
            each,
            format_args!("element count of array {key:.80}"),
        )?;
        let start = self.cursor.at();
        match element {
            ValueType::Array => (0..count).try_for_each(|_| self.array(depth + 1).map(drop))?,
            ValueType::String | ValueType::Bool => {
                (0..count).try_for_each(|_| self.scalar(element).map(drop))?;
            }
            _ => {
                self.cursor
                    .take(count * each, format_args!("elements of array {key:.80}"))?;
                self.check_budget()?;
            }
        }
        Ok((element, count, start..self.cursor.at()))
    }

    /// Steps over a number, a truth value or a string; returns the range of its bytes, without a
    /// string's length.
    fn scalar(&mut self, ty: ValueType) -> Result<Range<usize>, Error> {
        let key = self.key;
        let item = format_args!("value of key {key:.80}");
        let length = match ty {
            ValueType::String => self.cursor.count(limits::METADATA_BYTES, 1, item)?,
            _ => ty.min_bytes(),
        };
        let start = self.cursor.at();
        let bytes = self.cursor.take(length, item)?;
        if ty == ValueType::Bool && bytes[0] > 1 {
            return Err(self
                .cursor
                .fault_at(start, item, Fault::NotBool { found: bytes[0] }));
        }
        self.check_budget()?;
        Ok(start..self.cursor.at())
    }

    fn value_type(&mut self, item: std::fmt::Arguments<'_>) -> Result<ValueType, Error> {
        let at = self.cursor.at();
        let found = self.cursor.u32(item)?;
        ValueType::from_number(found).ok_or_else(|| {
            self.cursor
                .fault_at(at, item, Fault::UnknownValueType { found })
        })
    }

    fn check_budget(&self) -> Result<(), Error> {
        let at = self.cursor.at();
        let over = (at as u64).saturating_sub(self.budget_end);
        if over > 0 {
            let limit = limits::METADATA_BYTES;
            let fault = Fault::OverBudget {
                found: limit + over,
                limit,
            };
            return Err(self.cursor.fault_at(
                at,
                format_args!("bytes of metadata up to key {:.80}", self.key),
                fault,
            ));
        }
        Ok(())
    }
}

/// The alignment of tensor data: what `general.alignment` says, or the format's default.
fn alignment(cursor: &Cursor<'_>, source: &Source, entries: &[Entry<'_>]) -> Result<u64, Error> {
    let Some(entry) = entries
        .iter()
        .find(|entry| entry.key == "general.alignment")
    else {
        return Ok(limits::DEFAULT_ALIGNMENT);
    };
    let refuse = |found: String| {
        cursor.fault_at(
            entry.value.start,
            format_args!("value of key general.alignment"),
            Fault::Alignment { found },
        )
    };
    let bytes = &source[entry.value.clone()];
    let (ValueType::U32, Ok(bytes)) = (entry.ty, bytes.try_into()) else {
        return Err(refuse(format!("a value of type {}", entry.ty)));
    };
    let alignment = u64::from(u32::from_le_bytes(bytes));
    if !alignment.is_power_of_two() || !limits::ALIGNMENTS.contains(&alignment) {
        return Err(refuse(alignment.to_string()));
    }
    Ok(alignment)
}
