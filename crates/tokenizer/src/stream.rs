//! Turns a stream of token bytes into text as soon as whole characters are there.

/// Decodes UTF-8 that arrives in pieces: a token may end in the middle of a character.
///
/// The pieces joined together are what [`String::from_utf8_lossy`] gives for all bytes at once: bytes that cannot
/// become a character turn into U+FFFD.
///
/// ```
/// let mut decoder = thalweg_tokenizer::StreamDecoder::new();
/// assert_eq!(decoder.push(b"caf\xC3"), "caf");
/// assert_eq!(decoder.push(b"\xA9!"), "é!");
/// assert_eq!(decoder.finish(), "");
/// ```
#[derive(Debug, Default, Clone)]
pub struct StreamDecoder {
    /// The beginning of a character, at most three bytes between calls.
    held_back: Vec<u8>,
}

impl StreamDecoder {
    /// A decoder at the beginning of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and returns the text that is complete by now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held_back.extend_from_slice(bytes);
        let complete = self.held_back.len() - unfinished_tail(&self.held_back);
        let text = String::from_utf8_lossy(&self.held_back[..complete]).into_owned();
        self.held_back.drain(..complete);
        text
    }

    /// Ends the text: a character that was never finished becomes U+FFFD. The decoder is then ready for another text.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.held_back).into_owned();
        self.held_back.clear();
        text
    }
}

/// Length of the character begun at the end of `bytes` and not finished there; 0 if there is none.
fn unfinished_tail(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|&tail| is_unfinished_character(&bytes[bytes.len() - tail..]))
        .unwrap_or(0)
}

fn is_unfinished_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn holds_back_each_byte_of_an_unfinished_character() {
        let mut decoder = StreamDecoder::new();
        let texts: Vec<String> = "🌊".bytes().map(|byte| decoder.push(&[byte])).collect();
        assert_eq!(texts, ["", "", "", "🌊"]);
    }

    #[test]
    fn replaces_what_cannot_become_a_character_at_once() {
        let mut decoder = StreamDecoder::new();
        assert_eq!(decoder.push(b"a\xFFb\x80"), "a\u{FFFD}b\u{FFFD}");
        assert_eq!(decoder.push(b"\xED\xA0"), "\u{FFFD}\u{FFFD}");
        assert_eq!(decoder.push(b"\xE2\x82A"), "\u{FFFD}A");
    }

    #[test]
    fn finishing_replaces_the_unfinished_character_and_starts_afresh() {
        let mut decoder = StreamDecoder::new();
        assert_eq!(decoder.push(b"x\xF0\x9F"), "x");
        assert_eq!(decoder.finish(), "\u{FFFD}");
        assert_eq!(decoder.push(b"y"), "y");
        assert_eq!(decoder.finish(), "");
    }

    /// Whole characters of every length, their parts, and bytes that never belong to any.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<char>().prop_map(|character| character.to_string().into_bytes()),
            vec(any::<u8>(), 0..4),
            vec(
                prop::sample::select(b"a\x80\xBF\xC3\xE0\xE2\xED\xF0\xF4\xFF".to_vec()),
                0..6
            ),
        ]
    }

    proptest! {
        #[test]
        fn any_split_gives_the_lossy_text_of_the_whole(pieces in vec(piece(), 0..30)) {
            let mut decoder = StreamDecoder::new();
            let mut text: String = pieces.iter().map(|piece| decoder.push(piece)).collect();
            text += &decoder.finish();
            let whole = pieces.concat();
            prop_assert_eq!(text, String::from_utf8_lossy(&whole));
        }
    }
}
