//! Guesses by looking up what followed when the text last went like this.
//!
//! Every pair of neighbouring tokens is known with all the places where it ended. Of the latest of those that the text ends
//! with now, the one counts that agrees with the end of the text over the most tokens: what followed there is the guess.

use std::collections::HashMap;

/// The shortest agreement that counts: fewer tokens say little.
const PAIR: usize = 2;
/// Agreement beyond so many tokens makes a guess no better.
const LONGEST_AGREEMENT: usize = 16;
/// Places looked at, the latest first, so that the commonest pairs of a long text cost no more than others.
const MOST_PLACES: usize = 64;
/// Tokens of a text that are indexed when it is first looked at: the last ones, so that nobody waits for a whole book.
const MOST_AT_FIRST: usize = 1 << 16;
/// In the place of a position where there is none: no pair ends before the second token.
const NOWHERE: u32 = 0;

/// Where the pairs of one growing sequence of tokens are. It takes some 40 bytes a token.
#[derive(Debug, Default)]
pub(crate) struct Ngrams {
    /// The position after the latest occurrence of each pair.
    latest: HashMap<[u32; PAIR], u32>,
    /// By position from `first` on: where the pair that ends there ended before.
    earlier: Vec<u32>,
    first: usize,
}

/// A guess, and how much speaks for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    /// How many tokens before the guess are the same as at the place where it was found, at most 16.
    pub(crate) agreement: usize,
    /// Where in the text it was found.
    pub(crate) place: usize,
    pub(crate) tokens: Vec<u32>,
}

impl Ngrams {
    /// So many tokens that may follow `tokens`, which begin with those of the calls before. A guess that reaches the end of
    /// the text goes on with itself, as a text that repeats itself does.
    pub(crate) fn guess(&mut self, tokens: &[u32], count: usize) -> Option<Guess> {
        self.index(tokens);
        let pair = *tokens.last_chunk()?;
        let latest = self.latest.get(&pair).copied();
        let places = std::iter::successors(latest, |place| self.before(*place));
        let agreements = places
            .take(MOST_PLACES)
            .map(|place| (agreement(tokens, place as usize), place as usize));
        let (agreement, place) = agreements.max()?;
        let mut text = tokens[place..].iter().copied().take(count).collect();
        repeat(&mut text, count);
        Some(Guess {
            agreement,
            place,
            tokens: text,
        })
    }

    /// Takes in the pairs that are new, but for the last: where the text ends now, nothing has followed yet.
    fn index(&mut self, tokens: &[u32]) {
        if self.earlier.is_empty() {
            self.first = tokens.len().saturating_sub(MOST_AT_FIRST).max(PAIR);
        }
        for end in self.first + self.earlier.len()..tokens.len() {
            let pair = [tokens[end - 2], tokens[end - 1]];
            let earlier = self.latest.insert(pair, end as u32);
            self.earlier.push(earlier.unwrap_or(NOWHERE));
        }
    }

    fn before(&self, place: u32) -> Option<u32> {
        let earlier = self.earlier.get(place as usize - self.first)?;
        Some(*earlier).filter(|place| *place != NOWHERE)
    }
}

/// How many tokens before `place` are those at the end.
fn agreement(tokens: &[u32], place: usize) -> usize {
    let before = tokens[..place].iter().rev().take(LONGEST_AGREEMENT);
    let pairs = before.zip(tokens.iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Goes on from the beginning until there are so many.
fn repeat(text: &mut Vec<u32>, count: usize) {
    let period = text.len();
    for index in period..count {
        text.push(text[index - period]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guess(tokens: &[u32], count: usize) -> Option<Guess> {
        Ngrams::default().guess(tokens, count)
    }

    #[test]
    fn what_followed_is_guessed() {
        let found = guess(&[7, 1, 2, 3, 4, 5, 9, 1, 2], 3).unwrap();
        assert_eq!((found.agreement, found.tokens), (2, vec![3, 4, 5]));
    }

    #[test]
    fn longer_agreement_counts_for_more_than_lateness() {
        let text = [8, 1, 2, 50, 7, 1, 2, 60, 8, 1, 2];
        assert_eq!(guess(&text, 1).unwrap().tokens, [50]);
        let text = [5, 1, 2, 50, 7, 1, 2, 60, 8, 1, 2];
        assert_eq!(guess(&text, 1).unwrap().tokens, [60]);
    }

    #[test]
    fn a_repeating_text_goes_on_repeating() {
        let found = guess(&[1, 2, 3, 1, 2, 3, 1, 2], 7).unwrap();
        assert_eq!(found.tokens, [3, 1, 2, 3, 1, 2, 3]);
        assert_eq!(guess(&[4, 4, 4], 3).unwrap().tokens, [4, 4, 4]);
    }

    #[test]
    fn nothing_is_guessed_where_nothing_repeats() {
        for text in [&[][..], &[1], &[1, 1], &[1, 2, 3, 4], &[1, 2, 3, 2]] {
            assert_eq!(guess(text, 4), None, "{text:?}");
        }
    }

    #[test]
    fn of_a_long_text_only_the_end_is_indexed() {
        let tokens: Vec<u32> = (0..3 * MOST_AT_FIRST as u32).collect();
        let mut ngrams = Ngrams::default();
        assert_eq!(ngrams.guess(&tokens, 4), None);
        assert_eq!(ngrams.earlier.len(), MOST_AT_FIRST);
        let mut again = tokens.clone();
        again.extend(&tokens[MOST_AT_FIRST..][..2]); // not among the indexed
        assert_eq!(ngrams.guess(&again, 4), None);
        again.extend(&tokens[2 * MOST_AT_FIRST..][..2]);
        let next = 2 * MOST_AT_FIRST as u32 + 2;
        assert_eq!(ngrams.guess(&again, 2).unwrap().tokens, [next, next + 1]);
    }

    proptest! {
        /// What is guessed followed an earlier occurrence of the text's last tokens, no occurrence agrees over more tokens,
        /// and nothing is missed.
        #[test]
        fn guesses_continue_an_occurrence(
            tokens in prop::collection::vec(0_u32..5, 0..60),
            count in 1_usize..20,
        ) {
            let places = PAIR..tokens.len();
            let longest = places.clone().map(|place| agreement(&tokens, place)).max();
            let found = guess(&tokens, count);
            prop_assert_eq!(found.is_some(), longest.is_some_and(|longest| longest >= PAIR));
            if let Some(found) = found {
                prop_assert_eq!(Some(found.agreement), longest);
                prop_assert_eq!(found.tokens.len(), count);
                let all = [&tokens[..], &found.tokens].concat();
                let continues = |place: usize| {
                    agreement(&tokens, place) == found.agreement && all[place..].starts_with(&found.tokens)
                };
                prop_assert!(places.into_iter().any(continues));
            }
        }

        /// However the text grew, the guess is that of its tokens.
        #[test]
        fn indexing_by_and_by_is_indexing_at_once(
            tokens in prop::collection::vec(0_u32..5, 0..80),
            steps in prop::collection::vec(0_usize..9, 0..30),
        ) {
            let mut ngrams = Ngrams::default();
            let mut length = 0;
            for step in steps {
                length = (length + step).min(tokens.len());
                ngrams.guess(&tokens[..length], 3);
            }
            prop_assert_eq!(ngrams.guess(&tokens, 9), guess(&tokens, 9));
        }
    }
}
