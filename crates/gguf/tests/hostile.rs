//! Wrong files, one by one: each is refused with the right fault, and a message that names the
//! place, what was expected, and what to do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's way of failing")]

mod common;

use common::small_model;
use thalweg_gguf::{Error, Fault, GgufFile, TensorType, writer::GgufWriter};

/// A file that must be refused: what it is, its bytes, the fault, words of the message.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    fault: fn(&Fault) -> bool,
    words: &'static [&'static str],
}

/// A table of cases: `"name": bytes => fault, "word", "word";`
macro_rules! refused {
    ($(
        $name:literal: $bytes:expr => $fault:ident $({ $($fields:tt)* })?, $($word:literal),+;
    )+) => {
        check(&[$(Case {
            name: $name,
            bytes: $bytes,
            fault: |fault| matches!(fault, Fault::$fault $({ $($fields)* })?),
            words: &[$($word),+],
        }),+])
    };
}

#[test]
fn strangers_are_refused_by_name() {
    refused! {
        "an empty file": vec![] => Empty, "byte 0", "empty", "download";
        "ggml": opening(b"lmgg") => Magic { .. }, "'ggml'", "GGUF", "convert";
        "ggml, swapped": opening(b"ggml") => Magic { .. }, "'ggml'", "swapped";
        "ggmf": opening(b"fmgg") => Magic { .. }, "'ggmf'", "convert";
        "ggmf, swapped": opening(b"ggmf") => Magic { .. }, "'ggmf'", "swapped";
        "ggjt": opening(b"tjgg") => Magic { .. }, "'ggjt'", "convert";
        "ggjt, swapped": opening(b"ggjt") => Magic { .. }, "'ggjt'", "swapped";
        "ggla": opening(b"algg") => Magic { .. }, "'ggla'", "LoRA";
        "ggla, swapped": opening(b"ggla") => Magic { .. }, "'ggla'", "swapped";
        "a checkpoint": opening(b"PK\x03\x04") => Magic { .. }, "zip", ".pth";
        "an LFS pointer": opening(b"version https://git-lfs.github.com/spec/v1") => Magic { .. },
            "Git LFS", "download";
        "a web page": opening(b"<!DOCTYPE html>") => Magic { .. }, "HTML", "download";
        "JSON": opening(b"{\"model\": 1}") => Magic { .. }, "JSON", "download";
        "gzip": opening(b"\x1f\x8b\x08\0") => Magic { .. }, "gzip", "unpack";
        "zstd": opening(b"\x28\xb5\x2f\xfd") => Magic { .. }, "zstd", "unpack";
        "safetensors": opening(b"\x40\0\0\0\0\0\0\0{\"a\"") => Magic { .. },
            "safetensors", "convert";
        "anything": opening(b"\x01\x02\x03\x04") => Magic { .. }, "\\x01\\x02", "magic";
        "GGUF, swapped": opening(b"FUGG") => BigEndian, "big-endian", "convert";
        "big-endian version 3": versioned(3u32.to_be_bytes()) => BigEndian,
            "byte 4", "big-endian", "gguf_convert_endian";
        "big-endian version 1": versioned(1u32.to_be_bytes()) => BigEndian, "byte 4", "big-endian";
        "version 0": versioned([0; 4]) => Version { found: 0, .. }, "version 0", "2 or 3";
        "version 1": versioned(1u32.to_le_bytes()) => Version { found: 1, .. },
            "byte 4", "version 1", "2 or 3", "convert";
        "version 4": versioned(4u32.to_le_bytes()) => Version { found: 4, .. },
            "version 4", "2 or 3", "newer";
    }
}

#[test]
fn counts_are_checked_before_anything_is_made_of_them() {
    refused! {
        "2^64-1 tensors": patched(8, u64::MAX) => OverBudget { .. },
            "byte 8", "tensor count", "18446744073709551615", "at most 65536";
        "a tensor over budget": patched(8, 65_537u64) => OverBudget { .. },
            "byte 8", "tensor count", "65537";
        "more tensors than bytes": patched(8, 60_000u64) => Truncated { .. },
            "byte 8", "tensor count", "1980000 bytes expected";
        "one tensor more than listed": patched(8, 4u64) => Unprintable { .. }, "tensor 3";
        "2^64-1 keys": patched(16, u64::MAX) => OverBudget { .. },
            "byte 16", "metadata key count", "at most 16384";
        "more keys than bytes": patched(16, 16_000u64) => Truncated { .. },
            "byte 16", "metadata key count", "224000 bytes expected";
    }
}

#[test]
fn keys_are_checked() {
    let nameless = GgufWriter::new().u32("", 1).finish();
    let duplicate = GgufWriter::new()
        .u32("a", 1)
        .u32("b", 2)
        .f32("a", 3.0)
        .finish();
    let control = GgufWriter::new().u32("a\nb", 1).finish();
    let mut endless = GgufWriter::new().u32(&"k".repeat(65_536), 1).finish();
    endless.extend([0; 64]);
    refused! {
        "a key of 2^64-1 bytes": patched(24, u64::MAX) => OverBudget { .. },
            "byte 24", "metadata key 0", "at most 65535";
        "a key of 65536 bytes": endless => OverBudget { .. }, "byte 24", "65536";
        "a key longer than the file": patched(24, 60_000u64) => Truncated { .. },
            "byte 24", "metadata key 0", "60000 bytes expected";
        "an empty key": nameless => Unprintable { .. }, "byte 24", "empty";
        "a key that is not UTF-8": patched(32 + 8, 0xffu8) => NotUtf8 { valid: 8 },
            "byte 32", "metadata key 0", "UTF-8";
        "a key over two lines": control => Unprintable { .. }, "byte 24", "control";
        "a key twice": duplicate => Duplicate { .. },
            "byte 58", "metadata key 2", "a a second time";
    }
}

#[test]
fn values_are_checked() {
    let value = |ty: u32, bytes: &[u8]| GgufWriter::new().value("key", ty, bytes).finish();
    refused! {
        "value type 13": value(13, &[0; 16]) => UnknownValueType { found: 13 },
            "byte 35", "key key", "type number 13", "0 (u8) to 12 (f64)";
        "value type 2^32-1": value(u32::MAX, &[0; 16]) => UnknownValueType { .. },
            "byte 35", "4294967295";
        "a cut number": value(10, &[0; 7]) => Truncated { needed: 8, left: 7 },
            "byte 39", "8 bytes expected", "7 left";
        "a string of 2^64-1 bytes": value(8, &[0xff; 16]) => OverBudget { .. },
            "byte 39", "value of key key", "at most 134217728";
        "a string longer than the file": value(8, &64u64.to_le_bytes())
            => Truncated { needed: 64, left: 0 }, "byte 39", "64 bytes expected", "0 left";
        "a bool of 2": value(7, &[2]) => NotBool { found: 2 }, "byte 39", "0 or 1";
    }
}

#[test]
fn arrays_are_checked() {
    let array = |element: u32, count: u64, elements: &[u8]| {
        let head = [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
        GgufWriter::new()
            .value("key", 9, &[&head, elements].concat())
            .finish()
    };
    // Arrays of one array each; the innermost is an empty array of u8.
    let nested = |depth: usize| {
        let mut levels = [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()]
            .concat()
            .repeat(depth - 1);
        levels.extend([0; 12]);
        GgufWriter::new().value("key", 9, &levels).finish()
    };
    GgufFile::from_bytes(nested(4)).unwrap();
    let long_inside = [&1u64.to_le_bytes()[..], b"a", &99u64.to_le_bytes(), b"b"].concat();
    refused! {
        "elements of type 13": array(13, 1, &[0; 8]) => UnknownValueType { found: 13 },
            "byte 39", "element type of array key";
        "2^64-1 elements": array(0, u64::MAX, &[]) => OverBudget { .. },
            "byte 43", "element count of array key", "at most 134217728";
        "elements whose size overflows": array(10, 1 << 61, &[0; 8]) => OverBudget { .. },
            "byte 43", "at most 16777216";
        "more elements than bytes": array(4, 1000, &[0; 8]) => Truncated { needed: 4000, left: 8 },
            "byte 43", "4000 bytes expected";
        "more strings than bytes": array(8, 1_000_000, &[0; 64]) => Truncated { .. },
            "byte 43", "8000000 bytes expected";
        "a long string among others": array(8, 2, &long_inside)
            => Truncated { needed: 99, left: 1 }, "byte 60", "99 bytes expected";
        "a bool of 7 among others": array(7, 3, &[0, 1, 7]) => NotBool { found: 7 },
            "byte 53", "0 or 1";
        "arrays five deep": nested(5) => OverBudget { found: 5, limit: 4 },
            "byte 87", "nesting", "at most 4";
        "arrays 100000 deep": nested(100_000) => OverBudget { .. }, "nesting";
        "a wide array of arrays": array(9, 1 << 40, &[0; 64]) => OverBudget { .. },
            "byte 43", "element count";
    }
}

#[test]
fn alignment_is_checked() {
    let aligned = |alignment| GgufWriter::new().alignment(alignment).finish();
    let other_type = |ty: u32, bytes: &[u8]| {
        GgufWriter::new()
            .value("general.alignment", ty, bytes)
            .finish()
    };
    refused! {
        "alignment 0": aligned(0) => Alignment { .. },
            "byte 53", "general.alignment", "found 0", "power of two from 8 to 65536";
        "alignment 4": aligned(4) => Alignment { .. }, "found 4";
        "alignment 24": aligned(24) => Alignment { .. }, "found 24", "power of two";
        "alignment 2^31": aligned(1 << 31) => Alignment { .. }, "found 2147483648";
        "alignment as u64": other_type(10, &32u64.to_le_bytes()) => Alignment { .. },
            "type u64", "expected a u32";
        "alignment as text": other_type(8, b"\x02\0\0\0\0\0\0\x0032") => Alignment { .. },
            "type string", "expected a u32";
    }
}

#[test]
fn tensor_names_types_and_shapes_are_checked() {
    let typed = |ty| {
        GgufWriter::new()
            .tensor_of_type_number("t", ty, &[256], &[0; 512])
            .finish()
    };
    let shaped = |ty, shape: &[u64]| GgufWriter::new().tensor("t", ty, shape, &[0; 512]).finish();
    let named = |name: &str| GgufWriter::new().tensor_f32(name, &[1], &[0.0]).finish();
    let twice = GgufWriter::new()
        .tensor_f32("t", &[1], &[0.0])
        .tensor_f32("t", &[1], &[0.0]);
    let mut not_utf8 = named("name");
    not_utf8[32] = 0xc0;
    let (f32, q4_k) = (TensorType::F32, TensorType::Q4_K);
    refused! {
        "no name": named("") => Unprintable { .. }, "byte 24", "tensor 0", "empty";
        "a name of 257 bytes": named(&"n".repeat(257)) => OverBudget { .. },
            "byte 24", "name of tensor 0", "at most 256";
        "a name that is not UTF-8": not_utf8 => NotUtf8 { valid: 0 }, "byte 32", "UTF-8";
        "an escape in the name": named("a\x1b[31m") => Unprintable { .. }, "control";
        "a name twice": twice.finish() => Duplicate { .. }, "byte 57", "tensor t", "a second time";
        "no dimensions": shaped(f32, &[]) => Dimensions { found: 0 },
            "byte 33", "tensor t", "1 to 4";
        "five dimensions": shaped(f32, &[1; 5]) => Dimensions { found: 5 }, "1 to 4";
        "a dimension of 0": shaped(f32, &[4, 0]) => Shape { .. },
            "shape of tensor t", "[4, 0]", "no dimension of 0";
        "a cut block": shaped(q4_k, &[250, 2]) => Shape { .. },
            "[250, 2]", "whole blocks of 256 for Q4_K";
        "blocks across rows": shaped(q4_k, &[128, 2]) => Shape { .. }, "blocks of 256";
        "elements that overflow": shaped(f32, &[1 << 32, 1 << 32]) => Shape { .. }, "64 bits";
        "bytes that overflow": shaped(f32, &[1 << 62]) => Shape { .. }, "64 bits";
        "type 4": typed(4) => UnknownTensorType { .. },
            "byte 45", "type of tensor t", "Q4_2", "number 4", "quantise";
        "type 31": typed(31) => UnknownTensorType { .. }, "Q4_0_4_4", "no longer";
        "type 38": typed(38) => UnknownTensorType { .. }, "IQ4_NL_8_8";
        "type 999": typed(999) => UnknownTensorType { .. }, "number 999", "newer";
        "type 2^32-1": typed(u32::MAX) => UnknownTensorType { .. }, "4294967295";
    }
}

#[test]
fn tensor_data_lies_within_the_file_and_apart() {
    // One directory entry: name, dimensions, shape, type; the offset begins at byte 49.
    let offset = |offset: u64| {
        let mut file = GgufWriter::new().tensor_f32("t", &[8], &[0.0; 8]).finish();
        overwrite(&mut file, 49, &offset.to_le_bytes());
        file
    };
    let pair = |second: u64| {
        let mut file = GgufWriter::new()
            .tensor_f32("first", &[16], &[0.0; 16])
            .tensor_f32("other", &[16], &[0.0; 16])
            .finish();
        let at = after(&file, b"other") + 4 + 8 + 4;
        overwrite(&mut file, at, &second.to_le_bytes());
        file
    };
    GgufFile::from_bytes(offset(0)).unwrap();
    GgufFile::from_bytes(pair(64)).unwrap();
    let mut cut = offset(0);
    cut.pop();
    let directory_only = offset(0)[..57].to_vec();
    refused! {
        "an odd offset": offset(4) => Unaligned { found: 4, alignment: 32 },
            "byte 49", "offset of tensor t", "multiple of the alignment 32";
        "an offset past the end": offset(32) => OutOfFile { .. },
            "byte 24", "tensor t", "32 bytes at offset 32", "within its 32 bytes";
        "an offset whose end overflows": offset(u64::MAX - 31) => OutOfFile { .. },
            "tensor t", "18446744073709551584";
        "data cut by a byte": cut => OutOfFile { section: 31, .. }, "its 31 bytes";
        "no data section": directory_only => OutOfFile { section: 0, .. }, "0 bytes";
        "the same place twice": pair(0) => Overlap { .. }, "overlaps";
        "half an overlap": pair(32) => Overlap { .. },
            "tensor other", "overlaps that of first", "separate";
    }
}

#[test]
fn every_truncation_is_refused() {
    let whole = small_model().finish();
    GgufFile::from_bytes(whole.clone()).unwrap();
    for length in 0..whole.len() {
        let error = GgufFile::from_bytes(whole[..length].to_vec()).unwrap_err();
        let Error::Malformed { fault, offset, .. } = &error else {
            panic!("{error}")
        };
        assert!(
            matches!(
                fault,
                Fault::Empty | Fault::Truncated { .. } | Fault::OutOfFile { .. }
            ),
            "{length} bytes: {error}"
        );
        assert!(*offset <= length as u64, "{length} bytes: {error}");
        assert_well_put(&error, "<memory>");
    }
}

#[test]
fn every_damaged_byte_is_refused_or_harmless() {
    let whole = small_model().finish();
    for at in 0..whole.len() {
        for damage in [0x00, 0xff, whole[at] ^ 0x80, whole[at].wrapping_add(1)] {
            let mut bytes = whole.clone();
            bytes[at] = damage;
            match GgufFile::from_bytes(bytes) {
                Ok(file) => common::exercise(&file),
                Err(error) => assert_well_put(&error, "<memory>"),
            }
        }
    }
}

#[test]
fn metadata_has_a_budget_as_a_whole() {
    // Two arrays of 100 MiB, each within the budget: a sparse file, so that they cost nothing.
    let array = [&0u32.to_le_bytes()[..], &(100u64 << 20).to_le_bytes()].concat();
    let start = GgufWriter::new().value("first", 9, &array).finish();
    let second = GgufWriter::new().value("second", 9, &array).finish();
    let mut start = start;
    overwrite(&mut start, 16, &2u64.to_le_bytes());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse.gguf");
    std::fs::write(&path, &start).unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(100 << 20)).unwrap();
    std::io::Write::write_all(&mut file, &second[24..]).unwrap();
    file.set_len(300 << 20).unwrap();

    let error = GgufFile::open(&path).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Malformed {
                fault: Fault::OverBudget { .. },
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("bytes of metadata up to key second"),
        "{error}"
    );
    assert_well_put(&error, &path.display().to_string());
}

#[test]
fn paths_that_are_no_files_are_io_errors() {
    let dir = tempfile::tempdir().unwrap();
    let error = GgufFile::open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotAFile {
                found: "a directory",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.is_io());
    assert_well_put(&error, &dir.path().display().to_string());

    let missing = dir.path().join("missing.gguf");
    let error = GgufFile::open(&missing).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    assert!(error.is_io());
    assert!(error.to_string().contains("check the path"), "{error}");
    assert!(error.to_string().contains("missing.gguf"), "{error}");

    let empty = dir.path().join("empty.gguf");
    std::fs::write(&empty, b"").unwrap();
    let error = GgufFile::open(&empty).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Malformed {
                fault: Fault::Empty,
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.is_io());
    assert_well_put(&error, "empty.gguf");
}

#[cfg(unix)]
#[test]
fn devices_are_refused_unopened() {
    let error = GgufFile::open("/dev/zero".as_ref()).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    assert!(error.to_string().contains("device"), "{error}");
}

fn check(cases: &[Case]) {
    for Case {
        name,
        bytes,
        fault,
        words,
    } in cases
    {
        let error = match GgufFile::from_bytes(bytes.clone()) {
            Ok(_) => panic!("{name}: opened"),
            Err(error) => error,
        };
        let Error::Malformed { fault: found, .. } = &error else {
            panic!("{name}: {error:?}")
        };
        assert!(fault(found), "{name}: {found:?}");
        for word in *words {
            assert!(
                error.to_string().contains(word),
                "{name}: no {word:?} in {error}"
            );
        }
        assert_well_put(&error, "<memory>");
    }
}

/// One paragraph that names the file, what was expected, and the next step.
fn assert_well_put(error: &Error, path: &str) {
    let text = error.to_string();
    assert!(text.contains(path), "{text}");
    assert!(text.contains("expected"), "{text}");
    assert!(text.contains("; "), "no next step: {text}");
    assert!(!text.contains('\n') && text.len() < 500, "{text}");
}

/// A file that begins with `magic` and goes on for a while.
fn opening(magic: &[u8]) -> Vec<u8> {
    [magic, &[1; 64]].concat()
}

/// The small model with other version bytes.
fn versioned(version: [u8; 4]) -> Vec<u8> {
    patched(4, u32::from_le_bytes(version))
}

/// The small model with a number put over its bytes at `at`.
fn patched(at: usize, number: impl LittleEndian) -> Vec<u8> {
    let mut bytes = small_model().finish();
    overwrite(&mut bytes, at, &number.bytes());
    bytes
}

fn overwrite(bytes: &mut [u8], at: usize, by: &[u8]) {
    bytes[at..at + by.len()].copy_from_slice(by);
}

/// The position behind the first occurrence of `needle`.
fn after(bytes: &[u8], needle: &[u8]) -> usize {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap()
        + needle.len()
}

trait LittleEndian {
    fn bytes(&self) -> Vec<u8>;
}

impl LittleEndian for u8 {
    fn bytes(&self) -> Vec<u8> {
        vec![*self]
    }
}

impl LittleEndian for u32 {
    fn bytes(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

impl LittleEndian for u64 {
    fn bytes(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}
