//! The tensor directory: what each tensor is and where its data lies, checked against the file's
//! length.

use std::collections::HashSet;

use crate::{Error, Fault, TensorType, cursor::Cursor, limits, tensor_type};

/// The fewest bytes of a directory entry: name length, one character, dimension count, one
/// dimension, type, offset.
pub(crate) const MIN_INFO_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// One entry of the tensor directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, such as `blk.0.time_mix_key.weight`.
    pub name: String,
    /// How its elements are stored.
    pub ty: TensorType,
    /// Elements along each dimension in GGUF's order: the fastest first. 1 to 4 dimensions, none of
    /// them 0.
    pub shape: Vec<u64>,
    /// Where its data begins, in bytes from the start of the file.
    pub offset: u64,
    /// Length of its data in bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of elements: the product of the shape.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// A directory entry as it is read: the offset still counts from the start of the data section.
struct Listed<'a> {
    /// Where the entry lies in the file.
    at: usize,
    name: &'a str,
    ty: TensorType,
    shape: Vec<u64>,
    offset: u64,
    bytes: u64,
}

/// Reads `count` entries and checks that their data lies within the file, each in a place of its
/// own.
pub(crate) fn walk(
    cursor: &mut Cursor<'_>,
    count: u64,
    alignment: u64,
) -> Result<Vec<TensorInfo>, Error> {
    let mut listed = Vec::with_capacity(count as usize);
    let mut seen = HashSet::with_capacity(count as usize);
    for index in 0..count {
        let tensor = Listed::read(cursor, index, alignment)?;
        if !seen.insert(tensor.name) {
            return Err(tensor.fault(
                cursor,
                Fault::Duplicate {
                    name: tensor.name.to_owned(),
                },
            ));
        }
        listed.push(tensor);
    }
    let data_start = (cursor.at() as u64).next_multiple_of(alignment);
    let section = (cursor.at() as u64 + cursor.left()).saturating_sub(data_start);
    for tensor in &listed {
        tensor.check_within(cursor, section)?;
    }
    check_overlap(cursor, &listed)?;
    Ok(listed
        .into_iter()
        .map(|tensor| tensor.placed(data_start))
        .collect())
}

impl<'a> Listed<'a> {
    fn read(cursor: &mut Cursor<'a>, index: u64, alignment: u64) -> Result<Listed<'a>, Error> {
        let at = cursor.at();
        let name = cursor.name(
            limits::TENSOR_NAME_BYTES,
            format_args!("name of tensor {index}"),
        )?;
        let shape = shape(cursor, name)?;
        let ty = tensor_type(cursor, name)?;
        let bytes = bytes(cursor, name, ty, &shape, at)?;
        let offset_at = cursor.at();
        let item = format_args!("data offset of tensor {name:.80}");
        let offset = cursor.u64(item)?;
        if !offset.is_multiple_of(alignment) {
            return Err(cursor.fault_at(
                offset_at,
                item,
                Fault::Unaligned {
                    found: offset,
                    alignment,
                },
            ));
        }
        Ok(Listed {
            at,
            name,
            ty,
            shape,
            offset,
            bytes,
        })
    }

    fn check_within(&self, cursor: &Cursor<'_>, section: u64) -> Result<(), Error> {
        match self.offset.checked_add(self.bytes) {
            Some(end) if end <= section => Ok(()),
            _ => Err(self.fault(
                cursor,
                Fault::OutOfFile {
                    offset: self.offset,
                    bytes: self.bytes,
                    section,
                },
            )),
        }
    }

    fn placed(self, data_start: u64) -> TensorInfo {
        TensorInfo {
            name: self.name.to_owned(),
            ty: self.ty,
            shape: self.shape,
            offset: data_start + self.offset,
            bytes: self.bytes,
        }
    }

    fn fault(&self, cursor: &Cursor<'_>, fault: Fault) -> Error {
        cursor.fault_at(self.at, format_args!("tensor {:.80}", self.name), fault)
    }
}

fn shape(cursor: &mut Cursor<'_>, name: &str) -> Result<Vec<u64>, Error> {
    let at = cursor.at();
    let count_item = format_args!("dimension count of tensor {name:.80}");
    let dimensions = cursor.u32(count_item)?;
    if !(1..=limits::DIMENSIONS).contains(&dimensions) {
        return Err(cursor.fault_at(at, count_item, Fault::Dimensions { found: dimensions }));
    }
    (0..dimensions)
        .map(|_| cursor.u64(format_args!("shape of tensor {name:.80}")))
        .collect()
}

fn tensor_type(cursor: &mut Cursor<'_>, name: &str) -> Result<TensorType, Error> {
    let at = cursor.at();
    let item = format_args!("type of tensor {name:.80}");
    let number = cursor.u32(item)?;
    TensorType::from_number(number).ok_or_else(|| {
        let fault = match tensor_type::removed_name(number) {
            Some(removed) => Fault::UnknownTensorType {
                found: format!("{removed} (number {number}), which ggml no longer has"),
                advice: "quantise the model again to one of its present types",
            },
            None => Fault::UnknownTensorType {
                found: format!("the number {number}"),
                advice: "the file is damaged or newer than this program: quantise to a known type",
            },
        };
        cursor.fault_at(at, item, fault)
    })
}

/// Length of a tensor's data, or what makes its shape impossible.
fn bytes(
    cursor: &Cursor<'_>,
    name: &str,
    ty: TensorType,
    shape: &[u64],
    at: usize,
) -> Result<u64, Error> {
    let refuse = |expected: String| {
        let fault = Fault::Shape {
            shape: shape.to_vec(),
            expected,
        };
        cursor.fault_at(at, format_args!("shape of tensor {name:.80}"), fault)
    };
    if shape.contains(&0) {
        return Err(refuse("no dimension of 0".to_owned()));
    }
    if !shape[0].is_multiple_of(ty.block_len() as u64) {
        return Err(refuse(format!(
            "a first dimension in whole blocks of {} for {ty}",
            ty.block_len()
        )));
    }
    shape
        .iter()
        .try_fold(1u64, |product, &dimension| product.checked_mul(dimension))
        .and_then(|elements| ty.bytes_for(elements))
        .ok_or_else(|| refuse("a size in bytes that fits into 64 bits".to_owned()))
}

fn check_overlap(cursor: &Cursor<'_>, listed: &[Listed<'_>]) -> Result<(), Error> {
    let mut order: Vec<&Listed<'_>> = listed.iter().collect();
    order.sort_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(pair[1].fault(
                cursor,
                Fault::Overlap {
                    other: pair[0].name.to_owned(),
                },
            ));
        }
    }
    Ok(())
}
