//! Metadata values as views on the file's bytes.

use std::fmt;

/// The type of a metadata value, with its number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// The type with the number `number`, if there is one.
    pub fn from_number(number: u32) -> Option<ValueType> {
        use ValueType::*;
        const ALL: [ValueType; 13] = [
            U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64,
        ];
        ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The number that stands for this type in a file.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Bytes of one value in the file, or the fewest for strings (their length) and arrays (element
    /// type and count).
    pub(crate) fn min_bytes(self) -> u64 {
        use ValueType::*;
        match self {
            U8 | I8 | Bool => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            String | U64 | I64 | F64 => 8,
            Array => 12,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::String => "string",
            ValueType::Array => "array",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        })
    }
}

/// One metadata value. Strings and arrays borrow from the file.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    /// Bytes that should be UTF-8, though nobody has checked it.
    String(&'a [u8]),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl<'a> Value<'a> {
    /// The type of the value.
    pub fn ty(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// The value of any integer type; `None` for the other types.
    pub fn integer(&self) -> Option<i128> {
        match *self {
            Value::U8(n) => Some(n.into()),
            Value::I8(n) => Some(n.into()),
            Value::U16(n) => Some(n.into()),
            Value::I16(n) => Some(n.into()),
            Value::U32(n) => Some(n.into()),
            Value::I32(n) => Some(n.into()),
            Value::U64(n) => Some(n.into()),
            Value::I64(n) => Some(n.into()),
            _ => None,
        }
    }

    /// The value of either floating-point type as `f32`; `None` for the other types.
    pub fn float(&self) -> Option<f32> {
        match *self {
            Value::F32(number) => Some(number),
            Value::F64(number) => Some(number as f32),
            _ => None,
        }
    }

    /// Reads one value of type `ty` from the front of `bytes`, which moves on. `None` if the bytes
    /// do not suffice.
    fn read(ty: ValueType, bytes: &mut &'a [u8]) -> Option<Value<'a>> {
        match ty {
            ValueType::String => split_string(bytes).map(Value::String),
            ValueType::Array => Array::read(bytes).map(Value::Array),
            _ => Value::read_number(ty, bytes),
        }
    }
}

impl Value<'static> {
    /// Reads a number or a truth value as [`read`](Value::read) does; `None` also for other types.
    pub(crate) fn read_number(ty: ValueType, bytes: &mut &[u8]) -> Option<Value<'static>> {
        Some(match ty {
            ValueType::U8 => Value::U8(u8::from_le_bytes(split(bytes)?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(split(bytes)?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(split(bytes)?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(split(bytes)?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(split(bytes)?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(split(bytes)?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(split(bytes)?)),
            ValueType::Bool => Value::Bool(u8::from_le_bytes(split(bytes)?) != 0),
            ValueType::U64 => Value::U64(u64::from_le_bytes(split(bytes)?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(split(bytes)?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(split(bytes)?)),
            ValueType::String | ValueType::Array => return None,
        })
    }
}

/// An array of metadata values, still in its file encoding; elements are decoded as they are asked
/// for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    element: ValueType,
    len: u64,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Reads an array (element type, count, elements) from the front of `bytes`, which moves on to
    /// what follows.
    pub(crate) fn read(bytes: &mut &'a [u8]) -> Option<Array<'a>> {
        let element = ValueType::from_number(u32::from_le_bytes(split(bytes)?))?;
        let len = u64::from_le_bytes(split(bytes)?);
        let start = *bytes;
        match element {
            ValueType::String | ValueType::Array => {
                for _ in 0..len {
                    Value::read(element, bytes)?;
                }
            }
            _ => {
                *bytes =
                    bytes.get(usize::try_from(len.checked_mul(element.min_bytes())?).ok()?..)?
            }
        }
        Some(Array {
            element,
            len,
            bytes: &start[..start.len() - bytes.len()],
        })
    }

    /// An array whose header and length have been read, over exactly the bytes of its elements.
    pub(crate) fn new(element: ValueType, len: u64, bytes: &'a [u8]) -> Array<'a> {
        Array {
            element,
            len,
            bytes,
        }
    }

    /// Type of the elements.
    pub fn element(&self) -> ValueType {
        self.element
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements in order.
    pub fn values(&self) -> Values<'a> {
        Values {
            element: self.element,
            left: self.len,
            bytes: self.bytes,
        }
    }
}

/// The elements of an [`Array`].
#[derive(Clone, Debug)]
pub struct Values<'a> {
    element: ValueType,
    left: u64,
    bytes: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        Value::read(self.element, &mut self.bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Every element takes at least a byte of memory that exists, so the count fits.
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Values<'_> {}

fn split<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

fn split_string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u64::from_le_bytes(split(bytes)?)).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}
