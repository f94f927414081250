//! Bytes written as hexadecimal digits.

/// The bytes that `text` spells, two digits each; `None` if it does not.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() {
        pairs.iter().map(byte).collect()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_come_in_pairs() {
        assert_eq!(super::bytes("00ff7e"), Some(vec![0, 255, 126]));
        assert_eq!(super::bytes("0"), None);
        assert_eq!(super::bytes("0g"), None);
    }
}
