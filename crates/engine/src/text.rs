//! From tokens' bytes to text that may be shown.

use thalweg_tokenizer::StreamDecoder;

use crate::stop::{StopStrings, Watched};

/// Holds back unfinished characters and what may become a stop string.
#[derive(Debug, Clone)]
pub(crate) struct TextStream {
    decoder: StreamDecoder,
    stop_strings: StopStrings,
}

/// What may be shown after a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// Whether a stop string came after it.
    pub(crate) is_stopped: bool,
}

impl TextStream {
    pub(crate) fn new(stop_strings: &[String]) -> Self {
        Self {
            decoder: StreamDecoder::new(),
            stop_strings: StopStrings::new(stop_strings),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Piece {
        let text = self.decoder.push(bytes);
        match self.stop_strings.push(&text) {
            Watched::Text(text) => Piece {
                text,
                is_stopped: false,
            },
            Watched::Stopped(text) => Piece {
                text,
                is_stopped: true,
            },
        }
    }

    /// Ends the text and returns what was held back.
    pub(crate) fn finish(&mut self) -> String {
        let rest = self.decoder.finish();
        match self.stop_strings.push(&rest) {
            Watched::Text(text) => text + &self.stop_strings.finish(),
            Watched::Stopped(text) => text,
        }
    }
}
