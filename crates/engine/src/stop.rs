//! Stop strings: found across pieces of text, and never printed in part.

use std::sync::Arc;

/// Watches streamed text for strings that end it.
///
/// A tail that may be the beginning of a stop string is held back until it is known to be one or not.
#[derive(Debug, Clone)]
pub(crate) struct StopStrings {
    strings: Arc<[String]>,
    held: String,
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Text that may be printed; nothing was found.
    Text(String),
    /// The last text before a stop string.
    Stopped(String),
}

impl StopStrings {
    /// Empty strings stop nothing and are left out.
    pub(crate) fn new(strings: &[String]) -> Self {
        let strings = strings
            .iter()
            .filter(|string| !string.is_empty())
            .cloned()
            .collect();
        Self {
            strings,
            held: String::new(),
        }
    }

    pub(crate) fn push(&mut self, text: &str) -> Watched {
        self.held.push_str(text);
        if let Some(start) = first_complete(&self.strings, &self.held) {
            self.held.truncate(start);
            return Watched::Stopped(std::mem::take(&mut self.held));
        }
        let tail = self.held.split_off(self.undecided_from());
        Watched::Text(std::mem::replace(&mut self.held, tail))
    }

    /// The text still held back: the stream ended, so it was no stop string.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the longest tail begins that some stop string begins with.
    fn undecided_from(&self) -> usize {
        let undecided = |(at, _): &(usize, char)| {
            let tail = &self.held[*at..];
            self.strings.iter().any(|string| string.starts_with(tail))
        };
        self.held
            .char_indices()
            .find(undecided)
            .map_or(self.held.len(), |(at, _)| at)
    }
}

/// Where the stop string begins that is complete first; the longest, if several end in one place.
///
/// One that begins earlier but ends later comes too late: the text has been stopped by then.
fn first_complete(strings: &[String], text: &str) -> Option<usize> {
    let ends = strings
        .iter()
        .filter_map(|string| text.find(string).map(|start| (start + string.len(), start)));
    ends.min().map(|(_, start)| start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stops(strings: &[&str]) -> StopStrings {
        StopStrings::new(&strings.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn holds_back_what_may_become_a_stop_string() {
        let mut stops = stops(&["\n\nUser:"]);
        assert_eq!(stops.push("Hello\n"), Watched::Text("Hello".into()));
        assert_eq!(stops.push("\nUs"), Watched::Text(String::new()));
        assert_eq!(stops.push("e it"), Watched::Text("\n\nUse it".into()));
        assert_eq!(
            stops.push(" now\n\nUser: x"),
            Watched::Stopped(" now".into())
        );
    }

    #[test]
    fn the_end_of_the_stream_releases_the_tail() {
        let mut stops = stops(&["END"]);
        assert_eq!(stops.push("the EN"), Watched::Text("the ".into()));
        assert_eq!(stops.finish(), "EN");
        assert_eq!(stops.finish(), "");
    }

    #[test]
    fn the_string_complete_first_stops() {
        let strings = ["b", "abc"];
        assert_eq!(stops(&strings).push("abc"), Watched::Stopped("a".into()));
        let mut in_pieces = stops(&strings);
        assert_eq!(in_pieces.push("a"), Watched::Text(String::new()));
        assert_eq!(in_pieces.push("b"), Watched::Stopped("a".into()));
    }

    #[test]
    fn empty_strings_stop_nothing() {
        assert_eq!(stops(&[""]).push("text"), Watched::Text("text".into()));
    }

    proptest! {
        /// However the text is cut, what comes out is the text before the first stop string.
        #[test]
        fn pieces_do_not_matter(
            pieces in prop::collection::vec("[abé]{0,4}", 0..20),
            strings in prop::collection::vec("[abé]{1,4}", 0..4),
        ) {
            let whole = pieces.concat();
            let end = first_complete(&strings, &whole);

            let mut stops = StopStrings::new(&strings);
            let mut printed = String::new();
            let mut stopped = false;
            for piece in &pieces {
                match stops.push(piece) {
                    Watched::Text(text) => printed.push_str(&text),
                    Watched::Stopped(text) => {
                        printed.push_str(&text);
                        stopped = true;
                        break;
                    }
                }
            }
            printed.push_str(&stops.finish());
            prop_assert_eq!(stopped, end.is_some());
            prop_assert_eq!(printed, &whole[..end.unwrap_or(whole.len())]);
        }
    }
}
