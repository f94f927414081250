//! A writer of small GGUF files, for tests.
//!
//! ```
//! use thalweg_gguf::{GgufFile, TensorType, writer::GgufWriter};
//!
//! let bytes = GgufWriter::new()
//!     .str("general.architecture", "rwkv7")
//!     .u32("rwkv7.block_count", 1)
//!     .tensor_f32("output_norm.weight", &[2], &[1.0, 0.5])
//!     .finish();
//! let file = GgufFile::from_bytes(bytes)?;
//! assert_eq!(file.metadata().str("general.architecture")?, "rwkv7");
//! # Ok::<(), thalweg_gguf::Error>(())
//! ```

use crate::{TensorType, ValueType, limits};

/// Collects keys and tensors and lays them out as a GGUF file. It checks nothing: tests need wrong
/// files as well.
#[derive(Clone, Debug)]
pub struct GgufWriter {
    version: u32,
    alignment: u64,
    keys: u64,
    key_bytes: Vec<u8>,
    tensors: Vec<WrittenTensor>,
}

#[derive(Clone, Debug)]
struct WrittenTensor {
    name: String,
    ty: u32,
    shape: Vec<u64>,
    data: Vec<u8>,
}

impl Default for GgufWriter {
    fn default() -> GgufWriter {
        GgufWriter::new()
    }
}

impl GgufWriter {
    /// An empty file of version 3.
    pub fn new() -> GgufWriter {
        GgufWriter {
            version: 3,
            alignment: limits::DEFAULT_ALIGNMENT,
            keys: 0,
            key_bytes: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Writes another version number; the layout stays that of versions 2 and 3.
    pub fn version(mut self, version: u32) -> GgufWriter {
        self.version = version;
        self
    }

    /// Sets the alignment of tensor data and writes `general.alignment`.
    pub fn alignment(mut self, alignment: u32) -> GgufWriter {
        self.alignment = alignment.into();
        self.u32("general.alignment", alignment)
    }

    /// Adds a u32.
    pub fn u32(self, key: &str, value: u32) -> GgufWriter {
        self.value(key, ValueType::U32.number(), &value.to_le_bytes())
    }

    /// Adds a u64.
    pub fn u64(self, key: &str, value: u64) -> GgufWriter {
        self.value(key, ValueType::U64.number(), &value.to_le_bytes())
    }

    /// Adds an f32.
    pub fn f32(self, key: &str, value: f32) -> GgufWriter {
        self.value(key, ValueType::F32.number(), &value.to_le_bytes())
    }

    /// Adds a bool.
    pub fn bool(self, key: &str, value: bool) -> GgufWriter {
        self.value(key, ValueType::Bool.number(), &[value.into()])
    }

    /// Adds a string, of any bytes.
    pub fn str(self, key: &str, value: impl AsRef<[u8]>) -> GgufWriter {
        self.value(key, ValueType::String.number(), &string(value.as_ref()))
    }

    /// Adds an array of strings, of any bytes.
    pub fn strings<S: AsRef<[u8]>>(
        self,
        key: &str,
        values: impl IntoIterator<Item = S>,
    ) -> GgufWriter {
        self.array(
            key,
            ValueType::String,
            values.into_iter().map(|value| string(value.as_ref())),
        )
    }

    /// Adds an array of i32.
    pub fn i32s(self, key: &str, values: impl IntoIterator<Item = i32>) -> GgufWriter {
        self.array(
            key,
            ValueType::I32,
            values.into_iter().map(i32::to_le_bytes),
        )
    }

    /// Adds an array of u32.
    pub fn u32s(self, key: &str, values: impl IntoIterator<Item = u32>) -> GgufWriter {
        self.array(
            key,
            ValueType::U32,
            values.into_iter().map(u32::to_le_bytes),
        )
    }

    /// Adds an array of f32.
    pub fn f32s(self, key: &str, values: impl IntoIterator<Item = f32>) -> GgufWriter {
        self.array(
            key,
            ValueType::F32,
            values.into_iter().map(f32::to_le_bytes),
        )
    }

    /// Adds a value of any type number from its encoded bytes, right or wrong.
    pub fn value(mut self, key: &str, type_number: u32, bytes: &[u8]) -> GgufWriter {
        self.key_bytes.extend(string(key.as_bytes()));
        self.key_bytes.extend(type_number.to_le_bytes());
        self.key_bytes.extend(bytes);
        self.keys += 1;
        self
    }

    /// Adds a tensor from its encoded data. `shape` is in GGUF's order, the fastest dimension
    /// first.
    pub fn tensor(self, name: &str, ty: TensorType, shape: &[u64], data: &[u8]) -> GgufWriter {
        self.tensor_of_type_number(name, ty.number(), shape, data)
    }

    /// Adds a tensor of F32.
    pub fn tensor_f32(self, name: &str, shape: &[u64], values: &[f32]) -> GgufWriter {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.tensor(name, TensorType::F32, shape, &data)
    }

    /// Adds a tensor of any type number and shape, right or wrong.
    pub fn tensor_of_type_number(
        mut self,
        name: &str,
        ty: u32,
        shape: &[u64],
        data: &[u8],
    ) -> GgufWriter {
        let tensor = WrittenTensor {
            name: name.to_owned(),
            ty,
            shape: shape.to_vec(),
            data: data.to_vec(),
        };
        self.tensors.push(tensor);
        self
    }

    /// The file's bytes.
    pub fn finish(&self) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(b"GGUF");
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend(self.keys.to_le_bytes());
        file.extend(&self.key_bytes);
        let mut offset = 0u64;
        for tensor in &self.tensors {
            file.extend(string(tensor.name.as_bytes()));
            file.extend((tensor.shape.len() as u32).to_le_bytes());
            file.extend(
                tensor
                    .shape
                    .iter()
                    .flat_map(|dimension| dimension.to_le_bytes()),
            );
            file.extend(tensor.ty.to_le_bytes());
            file.extend(offset.to_le_bytes());
            offset = self.aligned(offset + tensor.data.len() as u64);
        }
        for tensor in &self.tensors {
            file.resize(self.aligned(file.len() as u64) as usize, 0);
            file.extend(&tensor.data);
        }
        file
    }

    fn array<B: AsRef<[u8]>>(
        self,
        key: &str,
        element: ValueType,
        values: impl IntoIterator<Item = B>,
    ) -> GgufWriter {
        let mut count = 0u64;
        let mut elements: Vec<u8> = Vec::new();
        for value in values {
            elements.extend_from_slice(value.as_ref());
            count += 1;
        }
        let mut bytes = element.number().to_le_bytes().to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend(elements);
        self.value(key, ValueType::Array.number(), &bytes)
    }

    /// `position` rounded up to the alignment, or left alone where a test has set an impossible
    /// one.
    fn aligned(&self, position: u64) -> u64 {
        position
            .checked_next_multiple_of(self.alignment)
            .unwrap_or(position)
    }
}

/// A string with its length before it.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = (bytes.len() as u64).to_le_bytes().to_vec();
    encoded.extend(bytes);
    encoded
}
