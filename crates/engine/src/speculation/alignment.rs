//! Going on with a passage where the text has left it.
//!
//! A copy with changes goes along an earlier passage, leaves it for a word, and comes back. A look-up finds the way back only
//! when a few tokens are the same again. So the place in the passage is kept: behind a token that is another one the passage
//! is expected to go on at once, as if one token had taken the place of one; if it does not, the next token that occurs close
//! ahead in the passage is taken for the way back.

/// Tokens that a change may take, in the text and in the passage; what differs for longer is no change but another text.
const LONGEST_CHANGE: usize = 12;
/// Tokens in a row that make sure that the text is back in the passage.
const SURE: usize = 2;

/// The passage that one growing sequence of tokens has lately gone along.
#[derive(Debug, Default)]
pub(crate) struct Alignment {
    /// Tokens of the sequence that were compared with it.
    compared: usize,
    track: Option<Track>,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    /// Where in the sequence the passage is expected to go on.
    place: usize,
    /// Tokens in a row that have been the same up to now.
    agreement: usize,
    change: Option<Change>,
}

/// Where the text last left the passage.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// The first token of the passage that did not come.
    left_at: usize,
    /// Tokens that came before the present agreement.
    tokens: usize,
}

/// How the passage may go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Continuation<'a> {
    /// How many tokens have been the same since the change; none right behind it.
    pub(crate) agreement: usize,
    pub(crate) tokens: &'a [u32],
}

impl Alignment {
    /// Goes along with what is new in `tokens`, which begin with those of the calls before.
    pub(crate) fn follow(&mut self, tokens: &[u32]) {
        for at in self.compared..tokens.len() {
            self.track = self.track.and_then(|track| track.after(tokens, at));
        }
        self.compared = tokens.len();
    }

    /// The text goes along the passage that goes on at `place`, beyond doubt.
    pub(crate) fn begin(&mut self, place: usize, agreement: usize) {
        self.track = Some(Track {
            place,
            agreement,
            change: None,
        });
    }

    /// Up to so many tokens that may follow `tokens`, all of which were followed, if they come behind a change.
    pub(crate) fn continuation<'a>(
        &self,
        tokens: &'a [u32],
        count: usize,
    ) -> Option<Continuation<'a>> {
        let Track {
            place,
            agreement,
            change,
        } = self.track?;
        let is_likely = agreement > 0 || change?.tokens == 1;
        let tokens = &tokens[place..tokens.len().min(place + count)];
        (is_likely && change.is_some() && !tokens.is_empty())
            .then_some(Continuation { agreement, tokens })
    }
}

impl Track {
    /// Where the track is after the token at a position of the sequence; lost if nothing goes on like the passage.
    fn after(self, tokens: &[u32], at: usize) -> Option<Track> {
        if tokens[self.place] == tokens[at] {
            return Some(Track {
                place: self.place + 1,
                agreement: self.agreement + 1,
                ..self
            });
        }
        let change = match self.change {
            Some(change) if self.agreement < SURE => Change {
                tokens: change.tokens + self.agreement + 1,
                ..change
            },
            _ => Change {
                left_at: self.place,
                tokens: 1,
            },
        };
        if change.tokens > LONGEST_CHANGE {
            return None;
        }
        let back = match change.tokens {
            1 => None,
            _ => change.way_back(tokens, at),
        };
        Some(Track {
            place: back.unwrap_or(change.left_at + 1).min(at),
            agreement: usize::from(back.is_some()),
            change: Some(change),
        })
    }
}

impl Change {
    /// Where the passage goes on after the first token like that at `at`.
    fn way_back(self, tokens: &[u32], at: usize) -> Option<usize> {
        let end = at.min(self.left_at + LONGEST_CHANGE);
        let ahead = tokens.get(self.left_at..end)?;
        let found = ahead.iter().position(|token| *token == tokens[at])?;
        Some(self.left_at + found + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is expected after a passage of 20 tokens, then its first `same` and some others.
    fn after(same: usize, others: &[u32]) -> Option<(usize, u32)> {
        let passage: Vec<u32> = (0..20).collect();
        let mut tokens = passage.clone();
        let mut alignment = Alignment::default();
        alignment.follow(&tokens);
        alignment.begin(0, 8);
        tokens.extend(&passage[..same]);
        tokens.extend(others);
        alignment.follow(&tokens);
        let found = alignment.continuation(&tokens, 4)?;
        Some((found.agreement, found.tokens[0]))
    }

    #[test]
    fn behind_a_changed_token_the_passage_goes_on() {
        assert_eq!(after(5, &[]), None, "no change");
        assert_eq!(after(5, &[99]), Some((0, 6)));
        assert_eq!(after(5, &[99, 6]), Some((1, 7)));
        assert_eq!(after(5, &[99, 6, 7, 8]), Some((3, 9)));
    }

    #[test]
    fn changes_may_be_longer_or_shorter_than_what_they_replace() {
        assert_eq!(after(5, &[98, 99]), None, "nobody knows");
        assert_eq!(after(5, &[98, 99, 6]), Some((1, 7)));
        assert_eq!(after(5, &[99, 5]), Some((1, 6)), "a token was put in");
        assert_eq!(after(5, &[99, 8, 9]), Some((2, 10)));
        assert_eq!(after(5, &[6, 7]), Some((1, 8)), "a token was left out");
    }

    #[test]
    fn one_change_may_follow_another() {
        assert_eq!(after(5, &[99, 6, 7, 98]), Some((0, 9)));
        let long = [99; LONGEST_CHANGE + 1];
        assert_eq!(after(5, &[&long[..], &[6]].concat()), None, "another text");
    }

    #[test]
    fn a_passage_that_ends_where_the_text_does_has_no_continuation() {
        let mut alignment = Alignment::default();
        alignment.follow(&[1, 2]);
        alignment.begin(1, 8);
        alignment.follow(&[1, 2, 9]);
        assert_eq!(
            alignment.continuation(&[1, 2, 9], 4).map(|c| c.tokens),
            Some(&[9][..])
        );
        assert_eq!(alignment.continuation(&[1, 2, 9], 0), None);
    }

    proptest! {
        /// Whatever is followed, what is said to go on lies within the text.
        #[test]
        fn any_text_may_be_followed(
            tokens in prop::collection::vec(0_u32..4, 2..80),
            begins in prop::collection::vec(any::<prop::sample::Index>(), 80),
        ) {
            let mut alignment = Alignment::default();
            for end in 1..=tokens.len() {
                alignment.follow(&tokens[..end]);
                if end % 9 == 0 {
                    alignment.begin(begins[end - 1].index(end), 8);
                }
                let found = alignment.continuation(&tokens[..end], 5);
                prop_assert!(found.is_none_or(|found| (1..=5).contains(&found.tokens.len())));
            }
        }
    }
}
