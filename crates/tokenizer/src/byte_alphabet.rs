//! The byte-level alphabet: one printable character for each of the 256 bytes, in which byte-level BPE vocabularies
//! are written.
//!
//! Bytes that are printable in Latin-1 stand for themselves; the other 68 take U+0100, U+0101 and so on, in order
//! (`bytes_to_unicode` of GPT-2's encoder.py).

/// First character that stands for a byte other than itself.
const FIRST_SUBSTITUTE: u32 = 0x100;

/// The character of each byte.
const CHARS: [char; 256] = chars();

/// The byte of each character below U+0144, where the alphabet ends; `None` for characters outside of it.
const BYTES: [Option<u8>; 324] = bytes();

/// The character that stands for `byte`.
pub(crate) fn char_of(byte: u8) -> char {
    CHARS[usize::from(byte)]
}

/// The byte for which `character` stands, if it belongs to the alphabet.
pub(crate) fn byte_of(character: char) -> Option<u8> {
    BYTES.get(character as usize).copied().flatten()
}

const fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const fn chars() -> [char; 256] {
    let mut chars = ['\0'; 256];
    let mut next_substitute = FIRST_SUBSTITUTE;
    let mut byte = 0;
    while byte < 256 {
        chars[byte] = if stands_for_itself(byte as u8) {
            byte as u8 as char
        } else {
            next_substitute += 1;
            match char::from_u32(next_substitute - 1) {
                Some(substitute) => substitute,
                None => unreachable!(),
            }
        };
        byte += 1;
    }
    chars
}

const fn bytes() -> [Option<u8>; 324] {
    let mut bytes = [None; 324];
    let mut byte = 0;
    while byte < 256 {
        bytes[CHARS[byte] as usize] = Some(byte as u8);
        byte += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        for byte in 0..=255 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
    }

    #[test]
    fn known_characters() {
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
        assert_eq!(char_of(b'a'), 'a');
        assert_eq!(char_of(0xAD), 'Ń');
    }

    #[test]
    fn characters_outside_the_alphabet_have_no_byte() {
        for character in [' ', '\n', '\u{AD}', '\u{144}', '語'] {
            assert_eq!(byte_of(character), None);
        }
    }
}
