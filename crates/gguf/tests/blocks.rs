//! Block decoding against golden blocks, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test's way of failing")]

use serde_json::Value;
use thalweg_gguf::{Error, TensorType, blocks};

fn golden() -> Value {
    serde_json::from_str(include_str!("data/quant-blocks.json")).unwrap()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn floats_of(values: &Value) -> Vec<f32> {
    values
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap() as f32)
        .collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn quantised_blocks_decode_bit_exactly() {
    let mut checked = 0;
    for (name, golden) in golden()["types"].as_object().unwrap() {
        let ty = TensorType::from_number(golden["ggml_type"].as_u64().unwrap() as u32).unwrap();
        assert_eq!(ty.name(), name);
        assert_eq!(
            ty.block_len() as u64,
            golden["weights_per_block"].as_u64().unwrap()
        );
        assert_eq!(
            ty.block_bytes() as u64,
            golden["bytes_per_block"].as_u64().unwrap()
        );
        // All blocks of a type in one call, then each alone.
        let blocks = golden["blocks"].as_array().unwrap();
        let all_bytes: Vec<u8> = blocks
            .iter()
            .flat_map(|block| bytes_of(block["hex"].as_str().unwrap()))
            .collect();
        let mut all = vec![f32::NAN; ty.block_len() * blocks.len()];
        blocks::decode(ty, &all_bytes, &mut all).unwrap();
        for (index, block) in blocks.iter().enumerate() {
            let expected = floats_of(&block["values"]);
            let mut alone = vec![f32::NAN; ty.block_len()];
            blocks::decode(ty, &bytes_of(block["hex"].as_str().unwrap()), &mut alone).unwrap();
            let kind = &block["kind"];
            assert_eq!(bits(&alone), bits(&expected), "{ty} {kind}");
            let among = &all[index * ty.block_len()..][..ty.block_len()];
            assert_eq!(bits(among), bits(&expected), "{ty} {kind} among others");
            checked += 1;
        }
    }
    assert_eq!(checked, 90);
}

#[test]
fn plain_numbers_decode_exactly_at_any_alignment() {
    let every_f16: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let mut shifted = vec![0];
    shifted.extend(&every_f16);
    let mut out = vec![0.0; 65_536];
    blocks::decode(TensorType::F16, &shifted[1..], &mut out).unwrap();
    for (number, out) in out.iter().enumerate() {
        assert_same(*out, half::f16::from_bits(number as u16).to_f64());
    }
    blocks::decode(TensorType::BF16, &shifted[1..], &mut out).unwrap();
    for (number, out) in out.iter().enumerate() {
        assert_same(*out, half::bf16::from_bits(number as u16).to_f64());
    }
    let numbers = [
        0.0,
        -0.0,
        1.5,
        f32::MIN_POSITIVE / 4.0,
        f32::INFINITY,
        f32::MAX,
    ];
    let mut encoded = vec![0];
    encoded.extend(blocks::encode(TensorType::F32, &numbers).unwrap());
    let mut out = [0.0; 6];
    blocks::decode(TensorType::F32, &encoded[1..], &mut out).unwrap();
    assert_eq!(bits(&out), bits(&numbers));
}

fn assert_same(found: f32, expected: f64) {
    let same = f64::from(found).to_bits() == expected.to_bits();
    assert!(
        same || found.is_nan() && expected.is_nan(),
        "{found} is not {expected}"
    );
}

#[test]
fn encoders_come_back_within_their_precision() {
    let values: Vec<f32> = (0..96).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
    for (ty, tolerance) in [
        (TensorType::F16, 1e-3),
        (TensorType::BF16, 1e-2),
        (TensorType::Q8_0, 3.0 / 254.0 + 2e-3),
    ] {
        let encoded = blocks::encode(ty, &values).unwrap();
        assert_eq!(encoded.len() as u64, ty.bytes_for(96).unwrap());
        let mut decoded = vec![0.0; 96];
        blocks::decode(ty, &encoded, &mut decoded).unwrap();
        for (decoded, value) in decoded.iter().zip(&values) {
            assert!(
                (decoded - value).abs() <= tolerance,
                "{ty}: {decoded} for {value}"
            );
        }
    }
}

#[test]
fn wrong_lengths_are_refused() {
    for (bytes, elements) in [(144, 255), (143, 256), (288, 256), (144, 512), (0, 256)] {
        let result = blocks::decode(TensorType::Q4_K, &vec![0; bytes], &mut vec![0.0; elements]);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::BlockMismatch { .. }), "{error}");
        assert!(
            error.to_string().contains("256 elements in 144 bytes"),
            "{error}"
        );
    }
    blocks::decode(TensorType::Q4_K, &[], &mut []).unwrap();
}

#[test]
fn other_types_are_refused_by_name() {
    for ty in TensorType::all().filter(|ty| !ty.is_supported()) {
        let (bytes, mut out) = (vec![0; ty.block_bytes()], vec![0.0; ty.block_len()]);
        let error = blocks::decode(ty, &bytes, &mut out).unwrap_err();
        assert!(matches!(error, Error::UnsupportedType { .. }), "{error}");
        assert!(error.to_string().contains(ty.name()), "{error}");
        assert!(
            error.to_string().contains("expected one of F32, F16"),
            "{error}"
        );
    }
}
