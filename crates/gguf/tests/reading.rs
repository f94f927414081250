//! Good files: what was written is read, by this crate and by gguf-rs alike.

#![allow(clippy::unwrap_used, reason = "a test's way of failing")]

mod common;

use common::{exercise, small_model};
use thalweg_gguf::{Error, GgufFile, TensorType, Value, ValueType, blocks, writer::GgufWriter};

#[test]
fn an_open_file_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<GgufFile>();
}

#[test]
fn what_was_written_is_read() {
    let file = GgufFile::from_bytes(small_model().finish()).unwrap();
    exercise(&file);
    assert_eq!((file.version(), file.alignment()), (3, 32));
    let metadata = file.metadata();
    assert_eq!(metadata.len(), 6);
    assert_eq!(metadata.str("general.architecture").unwrap(), "rwkv7");
    assert_eq!(metadata.u32("test.layers").unwrap(), 3);
    assert_eq!(metadata.f32("test.epsilon").unwrap(), 1e-5);
    assert!(metadata.bool("test.flag").unwrap());
    let tokens: Vec<_> = metadata.strings("test.tokens").unwrap().collect();
    assert_eq!(tokens, [&b"a"[..], b"bc", b"def"]);
    assert_eq!(
        metadata.i32s("test.kinds").unwrap().collect::<Vec<_>>(),
        [1, -2, 3]
    );
    let norm = file.tensor("norm.weight").unwrap();
    assert_eq!(norm.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(file.data(norm.info), norm.data);
    assert_eq!(file.tensor("half.weight").unwrap().info.shape, [2, 1, 1, 6]);
    assert!(file.tensor("norm.bias").is_none());
}

#[test]
fn a_mapped_file_is_the_same_as_one_in_memory() {
    let bytes = small_model().finish();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.gguf");
    std::fs::write(&path, &bytes).unwrap();
    let mapped = GgufFile::open(&path).unwrap();
    let owned = GgufFile::from_bytes(bytes.clone()).unwrap();
    let fixed = GgufFile::from_static(bytes.clone().leak()).unwrap();
    for file in [&owned, &fixed] {
        assert_eq!(file.tensors(), mapped.tensors());
        assert_eq!(
            format!("{:?}", file.metadata()),
            format!("{:?}", mapped.metadata())
        );
    }
    assert_eq!(mapped.path(), path);
    assert_eq!(mapped.bytes_len(), bytes.len() as u64);
}

#[test]
fn version_2_and_other_alignments_open() {
    GgufFile::from_bytes(small_model().version(2).finish()).unwrap();
    for alignment in [8, 256, 65_536] {
        let writer = GgufWriter::new().alignment(alignment);
        let bytes = writer
            .tensor_f32("a", &[1], &[1.0])
            .tensor_f32("b", &[1], &[2.0])
            .finish();
        let file = GgufFile::from_bytes(bytes).unwrap();
        assert_eq!(file.alignment(), u64::from(alignment));
        assert_eq!(file.tensor("b").unwrap().to_f32().unwrap(), [2.0]);
    }
}

#[test]
fn metadata_alone_is_a_file() {
    let vocabulary = GgufWriter::new()
        .strings("tokenizer.ggml.tokens", ["a", "b"])
        .finish();
    let file = GgufFile::from_bytes(vocabulary).unwrap();
    assert!(file.tensors().is_empty());
    assert_eq!(
        file.metadata()
            .strings("tokenizer.ggml.tokens")
            .unwrap()
            .len(),
        2
    );
    assert!(
        GgufFile::from_bytes(GgufWriter::new().finish())
            .unwrap()
            .metadata()
            .is_empty()
    );
}

#[test]
fn unsupported_types_open_but_do_not_decode() {
    for ty in TensorType::all().filter(|ty| !ty.is_supported()) {
        let shape = [ty.block_len() as u64, 3];
        let data = vec![7; 3 * ty.block_bytes()];
        let bytes = GgufWriter::new()
            .tensor("odd.weight", ty, &shape, &data)
            .finish();
        let file = GgufFile::from_bytes(bytes).unwrap();
        assert_eq!(file.tensors()[0].ty, ty);
        let error = file.tensor("odd.weight").unwrap().to_f32().unwrap_err();
        assert!(matches!(error, Error::UnsupportedType { .. }), "{error}");
        assert!(
            error.to_string().contains("tensor odd.weight has the type"),
            "{error}"
        );
        assert!(error.to_string().contains(ty.name()), "{error}");
    }
}

#[test]
fn getters_accept_what_fits_and_name_what_does_not() {
    let bytes = GgufWriter::new()
        .value("small", 0, &[200])
        .value("negative", 5, &(-1i32).to_le_bytes())
        .u64("large", 1 << 40)
        .value("double", 12, &0.5f64.to_le_bytes())
        .str("text", "word")
        .value("bytes", 8, b"\x02\0\0\0\0\0\0\0\xff\xfe")
        .u32s("counts", [1, u32::MAX])
        .finish();
    let file = GgufFile::from_bytes(bytes).unwrap();
    let metadata = file.metadata();
    assert_eq!(metadata.u32("small").unwrap(), 200);
    assert_eq!(metadata.u64("large").unwrap(), 1 << 40);
    assert_eq!(metadata.f32("double").unwrap(), 0.5);
    assert_eq!(metadata.opt_u32("absent").unwrap(), None);
    assert_eq!(metadata.get("bytes"), Some(Value::String(b"\xff\xfe")));
    assert_eq!(
        metadata.u32s("counts").unwrap().collect::<Vec<_>>(),
        [1, u32::MAX]
    );

    let messages = [
        (
            metadata.u32("absent").unwrap_err(),
            "key absent is missing, expected a u32",
        ),
        (
            metadata.u32("negative").unwrap_err(),
            "key negative holds the i32 -1, expected an integer",
        ),
        (
            metadata.u32("large").unwrap_err(),
            "holds the u64 1099511627776",
        ),
        (
            metadata.u32("text").unwrap_err(),
            "key text holds the string \"word\"",
        ),
        (
            metadata.f32("small").unwrap_err(),
            "holds the u8 200, expected an f32",
        ),
        (metadata.bool("small").unwrap_err(), "expected a bool"),
        (
            metadata.str("bytes").unwrap_err(),
            "the string \"\\xff\\xfe\", expected a UTF-8 string",
        ),
        (
            metadata.opt_str("counts").unwrap_err(),
            "an array of 2 u32 values",
        ),
        (
            metadata.i32s("counts").err().unwrap(),
            "an array with the u32 4294967295",
        ),
        (
            metadata.strings("counts").unwrap_err(),
            "expected an array of strings",
        ),
        (
            metadata.f32s("counts").err().unwrap(),
            "expected an array of f32",
        ),
        (
            metadata.u32s("text").err().unwrap(),
            "key text holds the string",
        ),
    ];
    for (error, words) in messages {
        assert!(error.to_string().contains(words), "no {words:?} in {error}");
        assert!(
            error.to_string().starts_with("<memory>: metadata key "),
            "{error}"
        );
        assert!(!error.is_io());
    }
}

#[test]
fn every_scalar_type_keeps_its_value() {
    let cases: [(u32, &[u8], Value<'_>); 16] = [
        (0, &[0xff], Value::U8(255)),
        (1, &[0x80], Value::I8(-128)),
        (2, &u16::MAX.to_le_bytes(), Value::U16(u16::MAX)),
        (3, &i16::MIN.to_le_bytes(), Value::I16(i16::MIN)),
        (4, &u32::MAX.to_le_bytes(), Value::U32(u32::MAX)),
        (5, &i32::MIN.to_le_bytes(), Value::I32(i32::MIN)),
        (6, &0.1f32.to_le_bytes(), Value::F32(0.1)),
        (6, &f32::INFINITY.to_le_bytes(), Value::F32(f32::INFINITY)),
        (7, &[0], Value::Bool(false)),
        (8, &[0; 8], Value::String(b"")),
        (
            8,
            b"\x03\0\0\0\0\0\0\0\xe2\x82\xac",
            Value::String("€".as_bytes()),
        ),
        (10, &u64::MAX.to_le_bytes(), Value::U64(u64::MAX)),
        (11, &i64::MIN.to_le_bytes(), Value::I64(i64::MIN)),
        (12, &0.1f64.to_le_bytes(), Value::F64(0.1)),
        (
            12,
            &f64::MIN_POSITIVE.to_le_bytes(),
            Value::F64(f64::MIN_POSITIVE),
        ),
        (
            12,
            &f64::NEG_INFINITY.to_le_bytes(),
            Value::F64(f64::NEG_INFINITY),
        ),
    ];
    for (ty, encoded, value) in cases {
        let file = GgufFile::from_bytes(GgufWriter::new().value("key", ty, encoded).finish());
        assert_eq!(file.unwrap().metadata().get("key"), Some(value));
        // The same value as the element of an array is read by other code.
        let head = [&ty.to_le_bytes()[..], &1u64.to_le_bytes()].concat();
        let array = GgufWriter::new()
            .value("key", 9, &[&head, encoded].concat())
            .finish();
        let file = GgufFile::from_bytes(array).unwrap();
        let Some(Value::Array(array)) = file.metadata().get("key") else {
            unreachable!()
        };
        assert_eq!(array.values().collect::<Vec<_>>(), [value]);
    }
}

#[test]
fn a_mistyped_file_type_is_only_a_value() {
    // gguf-rs panics when it is asked for a file type that is a string.
    let bytes = GgufWriter::new().str("general.file_type", "Q4_K").finish();
    let file = GgufFile::from_bytes(bytes).unwrap();
    assert!(file.metadata().u32("general.file_type").is_err());
    assert_eq!(file.metadata().str("general.file_type").unwrap(), "Q4_K");
}

#[test]
fn long_strings_and_nested_arrays_are_views() {
    let long = "long ".repeat(1 << 20);
    let inner = |numbers: &[u8]| {
        [
            &0u32.to_le_bytes()[..],
            &(numbers.len() as u64).to_le_bytes(),
            numbers,
        ]
        .concat()
    };
    let outer = [
        &9u32.to_le_bytes()[..],
        &2u64.to_le_bytes(),
        &inner(&[1, 2]),
        &inner(&[]),
    ]
    .concat();
    let bytes = GgufWriter::new()
        .str("long", &long)
        .value("nested", 9, &outer)
        .finish();
    let file = GgufFile::from_bytes(bytes).unwrap();
    exercise(&file);
    assert_eq!(file.metadata().str("long").unwrap(), long);
    let Some(Value::Array(nested)) = file.metadata().get("nested") else {
        unreachable!()
    };
    assert_eq!((nested.element(), nested.len()), (ValueType::Array, 2));
    let Some(Value::Array(first)) = nested.values().next() else {
        unreachable!()
    };
    assert_eq!(
        first.values().collect::<Vec<_>>(),
        [Value::U8(1), Value::U8(2)]
    );
}

#[test]
fn gguf_rs_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.gguf");
    std::fs::write(&path, small_model().finish()).unwrap();
    let ours = GgufFile::open(&path).unwrap();
    let mut container =
        gguf_rs::get_gguf_container_array_size(path.to_str().unwrap(), u64::MAX).unwrap();
    let theirs = container.decode().unwrap();

    assert_eq!(theirs.alignment(), ours.alignment());
    assert_eq!(theirs.tensors().len(), ours.tensors().len());
    for (ours, their) in ours.tensors().iter().zip(theirs.tensors()) {
        assert_eq!(
            (&ours.name, ours.ty.number(), &ours.shape),
            (&their.name, their.kind, &their.shape)
        );
        assert_eq!(
            (ours.offset, ours.bytes),
            (theirs.data_offset() + their.offset, their.size)
        );
    }
    assert_eq!(theirs.metadata().len(), ours.metadata().len());
    assert_eq!(theirs.metadata()["test.layers"].as_u64(), Some(3));
    assert_eq!(theirs.metadata()["test.tokens"][2].as_str(), Some("def"));
    assert_eq!(theirs.metadata()["test.kinds"][1].as_i64(), Some(-2));
}

#[test]
fn files_written_by_gguf_rs_open() {
    use gguf_rs::writer::{GGUFWriter, TensorInfo};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs.gguf");
    let data = blocks::encode(TensorType::F16, &[0.5, -2.0, 8.0]).unwrap();
    let mut writer = GGUFWriter::new(&path, 3).unwrap();
    writer.add_metadata("general.architecture", "rwkv7");
    writer.add_metadata_u32("rwkv7.block_count", 12);
    writer.add_tensor(TensorInfo {
        name: "t".to_owned(),
        shape: vec![3],
        dtype: 1,
    });
    writer.write().unwrap();
    writer.write_tensor_data(0, &data).unwrap();
    writer.finalize().unwrap();
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.metadata().u32("rwkv7.block_count").unwrap(), 12);
    assert_eq!(
        file.tensor("t").unwrap().to_f32().unwrap(),
        [0.5, -2.0, 8.0]
    );
}
