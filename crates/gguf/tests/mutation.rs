//! Random damage to a valid file: it is refused, or it opens and everything in it is in bounds.

mod common;

use proptest::{collection::vec, prelude::*, sample::Index};
use thalweg_gguf::GgufFile;

/// One piece of damage at a random place.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    /// A number of the kind that headers hold, at any alignment.
    Number(Index, u64),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    /// Bytes of one place over those of another: well-formed parts where they do not belong.
    Copy(Index, Index, Index),
    Truncate(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![
        0..64u64,
        any::<u64>(),
        (0..64u32).prop_map(|shift| 1 << shift),
        (0..64u32).prop_map(|shift| u64::MAX >> shift),
    ];
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        4 => (any::<Index>(), number).prop_map(|(at, number)| Damage::Number(at, number)),
        1 => (any::<Index>(), vec(any::<u8>(), 1..16)).prop_map(|(at, by)| Damage::Insert(at, by)),
        1 => any::<(Index, Index)>().prop_map(|(from, to)| Damage::Remove(from, to)),
        1 => any::<(Index, Index, Index)>().prop_map(|(a, b, c)| Damage::Copy(a, b, c)),
        1 => any::<Index>().prop_map(Damage::Truncate),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: Damage) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match damage {
        Damage::Byte(at, byte) => bytes[at.index(length)] = byte,
        Damage::Number(at, number) => {
            let at = at.index(length);
            bytes
                .iter_mut()
                .skip(at)
                .zip(number.to_le_bytes())
                .for_each(|(old, new)| *old = new);
        }
        Damage::Insert(at, by) => drop(bytes.splice(at.index(length)..at.index(length), by)),
        Damage::Remove(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            bytes.drain(from.min(to)..from.max(to).min(from.min(to) + 64));
        }
        Damage::Copy(from, to, count) => {
            let (from, to) = (from.index(length), to.index(length));
            let count = count.index(64).min(length - from.max(to));
            bytes.copy_within(from..from + count, to);
        }
        Damage::Truncate(at) => bytes.truncate(at.index(length)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_files_never_panic(damages in vec(damage(), 1..6)) {
        let mut bytes = common::small_model().finish();
        for damage in damages {
            apply(&mut bytes, damage);
        }
        match GgufFile::from_bytes(bytes) {
            Ok(file) => common::exercise(&file),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_bytes_behind_a_good_start_never_panic(tail in vec(any::<u8>(), 0..256)) {
        let file = [b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0", &tail[..]].concat();
        if let Ok(file) = GgufFile::from_bytes(file) {
            common::exercise(&file);
        }
    }
}
