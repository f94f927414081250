//! Any bytes: they are refused as a GGUF file, or everything in the file can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg_gguf::{GgufFile, Value};

fuzz_target!(|bytes: &[u8]| {
    match GgufFile::from_bytes(bytes.to_vec()) {
        Ok(file) => read_all(&file),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
});

fn read_all(file: &GgufFile) {
    let metadata = file.metadata();
    for (key, value) in metadata.iter() {
        visit(value);
        let _ = (metadata.u64(key), metadata.f32(key), metadata.bool(key), metadata.str(key));
        let _ = metadata.u32s(key).map(|values| values.count());
        let _ = metadata.i32s(key).map(|values| values.count());
        let _ = metadata.f32s(key).map(|values| values.count());
        let _ = metadata.strings(key).map(|values| values.count());
    }
    for info in file.tensors() {
        let tensor = file.tensor(&info.name).expect("a listed tensor is found");
        assert_eq!(tensor.data.len() as u64, info.bytes);
        assert_eq!(tensor.to_f32().is_ok(), info.ty.is_supported());
    }
}

fn visit(value: Value<'_>) {
    if let Value::Array(array) = value {
        assert_eq!(array.values().count() as u64, array.len());
        array.values().for_each(visit);
    }
}
