//! State files: what comes back is what was saved, and nothing else ever comes back.

use std::path::Path;

use proptest::prelude::*;
use thalweg_engine::{Error, Origin, Snapshot, StateEncoding, StateFault, StateFormat};
use thalweg_rwkv::{Hyperparameters, Session, State};

use crate::fake::FakeSession;

const ORIGIN: Origin = Origin {
    model: 0x0123_4567_89ab_cdef,
    adapter: 0xfedc_ba98,
};
const TOKENS: [u32; 3] = [7, 300, 65_535];
const ENCODINGS: [StateEncoding; 3] = [StateEncoding::F32, StateEncoding::F16, StateEncoding::Int8];
/// Bytes before the tokens.
const HEADER: usize = 60;

fn shape() -> Hyperparameters {
    Hyperparameters {
        layers: 2,
        width: 8,
        heads: 2,
        head_size: 4,
        ..FakeSession::new().hyperparameters().clone()
    }
}

fn format(encoding: StateEncoding) -> StateFormat {
    StateFormat::new(ORIGIN, shape(), encoding)
}

fn snapshot() -> Snapshot {
    let hp = shape();
    let mut state = State::zeros(&hp);
    let parts = [&mut state.att_shift, &mut state.ffn_shift, &mut state.wkv];
    for (index, x) in parts.into_iter().flatten().enumerate() {
        *x = ((index * 37 % 101) as f32 - 50.0) / 16.0;
    }
    Snapshot {
        state,
        logits: Some((0..hp.vocab).map(|i| i as f32 / 3.0).collect()),
    }
}

fn fault(bytes: &[u8]) -> StateFault {
    format(StateEncoding::F32).decode(bytes).unwrap_err()
}

#[test]
fn what_was_saved_comes_back() {
    let snapshot = snapshot();
    let without_logits = Snapshot {
        logits: None,
        ..snapshot.clone()
    };
    for encoding in ENCODINGS {
        for (tokens, snapshot) in [(&TOKENS[..], &snapshot), (&[], &without_logits)] {
            let bytes = format(encoding).encode(tokens, snapshot).unwrap();
            // Files of any encoding are read, whatever is written.
            let saved = format(StateEncoding::F32).decode(&bytes).unwrap();
            assert_eq!(saved.tokens, tokens);
            assert_eq!(saved.snapshot.logits, snapshot.logits);
            let exact = saved.snapshot.state == snapshot.state;
            assert_eq!(exact, encoding != StateEncoding::Int8, "{encoding:?}"); // sixteenths are exact in f16
            let pairs = saved.snapshot.state.wkv.iter().zip(&snapshot.state.wkv);
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 0.02));
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for encoding in ENCODINGS {
        let bytes = format(encoding).encode(&TOKENS, &snapshot()).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                fault(&flipped);
            }
        }
    }
}

#[test]
fn every_other_length_is_noticed() {
    let bytes = format(StateEncoding::F16)
        .encode(&TOKENS, &snapshot())
        .unwrap();
    for length in 0..bytes.len() {
        let fault = fault(&bytes[..length]);
        let found = length as u64;
        assert!(
            matches!(fault, StateFault::Length { found: f, .. } if f == found),
            "{fault}"
        );
    }
    let fault = fault(&[&bytes[..], &[0]].concat());
    assert!(matches!(fault, StateFault::Length { .. }), "{fault}");
}

#[test]
fn faults_say_what_is_wrong() {
    let bytes = format(StateEncoding::F32)
        .encode(&TOKENS, &snapshot())
        .unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        fault(&bytes).to_string()
    };
    let cases = [
        (0, "no state file"),
        (8, "version"),
        (12, "encoding is 255"),
        (16, "another model"),
        (24, "another adapter"),
        (32, "layers is 255, expected 2"),
        (36, "width is 255, expected 8"),
        (40, "heads is 255, expected 2"),
        (44, "head size is 255, expected 4"),
        (48, "vocabulary is 255, expected 13"),
        (52, "bytes long"),
        (55, "number of tokens is"),
        (56, "mark of logits is 255"),
        (HEADER, "checksum"),
        (HEADER + 12, "checksum"),
        (HEADER + 40, "checksum of its contents"),
        (bytes.len() - 1, "checksum of its contents"),
    ];
    for (at, says) in cases {
        let message = changed(at, 255);
        assert!(message.contains(says), "{says:?} is not in: {message}");
    }
}

#[test]
fn a_state_of_another_model_is_refused() {
    let bytes = format(StateEncoding::F32).encode(&[], &snapshot()).unwrap();
    let other_model = Origin { model: 1, ..ORIGIN };
    let other_adapter = Origin {
        adapter: 0,
        ..ORIGIN
    };
    for origin in [other_model, other_adapter] {
        let format = StateFormat::new(origin, shape(), StateEncoding::F32);
        let fault = format.decode(&bytes).unwrap_err();
        assert!(matches!(fault, StateFault::Origin { .. }), "{fault}");
    }
    let larger = Hyperparameters {
        layers: 3,
        ..shape()
    };
    let fault = StateFormat::new(ORIGIN, larger, StateEncoding::F32)
        .decode(&bytes)
        .unwrap_err();
    assert!(matches!(
        fault,
        StateFault::Shape {
            what: "layers",
            found: 2,
            expected: 3
        }
    ));
}

#[test]
fn states_that_no_file_holds_are_refused() {
    let with = |x: f32| {
        let mut snapshot = snapshot();
        snapshot.state.wkv[5] = x;
        snapshot
    };
    for (x, fits) in [
        (70_000.0, [true, false, true]),
        (f32::MAX / 2.0, [true, false, true]),
        (f32::MAX, [true, false, false]),
        (f32::NAN, [false; 3]),
        (f32::NEG_INFINITY, [false; 3]),
    ] {
        let fitted = ENCODINGS.map(|encoding| {
            let bytes = format(encoding).encode(&[], &with(x));
            bytes.is_ok_and(|bytes| format(encoding).decode(&bytes).unwrap().tokens.is_empty())
        });
        assert_eq!(fitted, fits, "{x}");
    }
    let mut short = snapshot();
    short.state.wkv.pop();
    assert!(format(StateEncoding::F32).encode(&[], &short).is_err());
    let mut short = snapshot();
    short.logits = Some(vec![0.0]);
    assert!(format(StateEncoding::F32).encode(&[], &short).is_err());
    let tokens = vec![0; (1 << 20) + 1];
    let message = format(StateEncoding::F32)
        .encode(&tokens, &snapshot())
        .unwrap_err()
        .to_string();
    assert!(message.contains("1048577 tokens"), "{message}");
}

#[test]
fn files_are_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    let format = format(StateEncoding::F32);
    let mut snapshot = snapshot();
    format.save(&path, &TOKENS, &snapshot).unwrap();
    assert_eq!(format.load(&path).unwrap().snapshot, snapshot);

    let mut wrong = snapshot.clone();
    wrong.state.wkv[0] = f32::NAN;
    let message = format.save(&path, &TOKENS, &wrong).unwrap_err().to_string();
    assert!(message.contains("a.state"), "{message}");
    assert_eq!(format.load(&path).unwrap().snapshot, snapshot);

    snapshot.state.wkv[0] += 1.0;
    format.save(&path, &[], &snapshot).unwrap();
    assert_eq!(format.load(&path).unwrap().snapshot, snapshot);
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "temporary files are left");
}

#[test]
fn faults_of_files_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.state");
    let format = format(StateEncoding::F32);
    let message = |path: &Path| format.load(path).unwrap_err().to_string();
    assert!(message(&path).starts_with("cannot read"));
    let bytes = format.encode(&TOKENS, &snapshot()).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let said = message(&path);
    assert!(
        said.contains("b.state") && said.contains("bytes long"),
        "{said}"
    );
    let nowhere = folder.path().join("missing/c.state");
    let error = format.save(&nowhere, &[], &snapshot()).unwrap_err();
    assert!(matches!(error, Error::Io { doing: "write", .. }), "{error}");
}

proptest! {
    /// Bytes that nobody wrote as a state are refused, and nothing panics.
    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..400), begins_well in any::<bool>()) {
        let mut bytes = format(StateEncoding::F32).encode(&TOKENS, &snapshot()).unwrap();
        bytes.truncate(if begins_well { HEADER } else { 0 });
        bytes.extend(noise);
        fault(&bytes);
    }
}
