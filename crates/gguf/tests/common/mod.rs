//! A small well-formed file, and a reader that touches everything in an open one.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test's way of failing")]

use thalweg_gguf::{GgufFile, TensorType, Value, writer::GgufWriter};

/// A file with a key of every kind and three tensors of different types.
pub(crate) fn small_model() -> GgufWriter {
    GgufWriter::new()
        .str("general.architecture", "rwkv7")
        .u32("test.layers", 3)
        .f32("test.epsilon", 1e-5)
        .bool("test.flag", true)
        .strings("test.tokens", ["a", "bc", "def"])
        .i32s("test.kinds", [1, -2, 3])
        .tensor_f32("norm.weight", &[4], &[1.0, 2.0, 3.0, 4.0])
        .tensor("quant.weight", TensorType::Q8_0, &[32, 2], &[1; 68])
        .tensor("half.weight", TensorType::F16, &[2, 1, 1, 6], &[0; 24])
}

/// Asks an open file for everything it has; anything out of bounds would panic.
pub(crate) fn exercise(file: &GgufFile) {
    let metadata = file.metadata();
    let mut first_strings = Vec::new();
    for (key, value) in metadata.iter() {
        visit(value);
        assert_eq!(metadata.get(key).map(|value| value.ty()), Some(value.ty()));
        // Getters may refuse, but must not panic.
        let _ = (
            metadata.u32(key),
            metadata.u64(key),
            metadata.f32(key),
            metadata.bool(key),
        );
        let _ = metadata.str(key);
        let _ = metadata.u32s(key).map(|values| values.count()).ok();
        let _ = metadata.f32s(key).map(|values| values.sum::<f32>());
        first_strings.extend(
            metadata
                .strings(key)
                .into_iter()
                .filter_map(|mut all| all.next()),
        );
    }
    for info in file.tensors() {
        let tensor = file.tensor(&info.name).unwrap();
        assert_eq!(tensor.info, info);
        assert_eq!(tensor.data.len() as u64, info.bytes);
        assert_eq!(info.ty.bytes_for(info.elements()), Some(info.bytes));
        assert!(info.offset + info.bytes <= file.bytes_len());
        assert_eq!(tensor.to_f32().is_ok(), info.ty.is_supported());
    }
}

fn visit(value: Value<'_>) {
    if let Value::Array(array) = value {
        assert_eq!(array.values().count() as u64, array.len());
        array.values().for_each(visit);
    }
}
