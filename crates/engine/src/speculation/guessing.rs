//! The guesses for one sequence.

use thalweg_rwkv::Sampling;

use super::acceptance::{Acceptance, Source};
use super::alignment::Alignment;
use super::ngram::Ngrams;
use super::policy::Prospect;
use super::rehearsal::Kind;
use crate::{Request, Speculation};

/// Where a sequence's guesses come from, and how often they were right.
#[derive(Debug)]
pub(crate) struct Guessing {
    setting: Speculation,
    ngrams: Ngrams,
    alignment: Alignment,
    acceptance: Acceptance,
    /// Guesses not yet compared with what came: also those that nobody has verified, so that it is known what they are worth.
    open: Vec<Open>,
    sampling: Sampling,
    is_counted: bool,
    kind: Kind,
}

/// A guess at the tokens from a position on.
#[derive(Debug)]
struct Open {
    source: Source,
    position: usize,
    tokens: Vec<u32>,
}

/// A guess that could be made.
#[derive(Debug)]
pub(crate) struct Offer {
    /// What is guessed, if it is known without a draft model.
    pub(crate) tokens: Option<Vec<u32>>,
    pub(crate) prospect: Prospect,
}

impl Guessing {
    /// As a request wants it; nothing if it wants none.
    pub(crate) fn new(request: &Request) -> Option<Self> {
        (request.speculation != Speculation::Off).then(|| Self {
            setting: request.speculation,
            ngrams: Ngrams::default(),
            alignment: Alignment::default(),
            acceptance: Acceptance::default(),
            open: Vec::new(),
            sampling: request.sampler.sampling(None),
            is_counted: !request.sampler.is_plain(),
            kind: Kind {
                is_greedy: request.sampler.is_plain(),
                has_logprobs: request.logprobs.is_some(),
            },
        })
    }

    /// What is to be found out about tokens.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// How a draft model is to choose: as the model does.
    pub(crate) fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Whether choices depend on how many were made before, or which.
    pub(crate) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// The better of the guesses of up to `most` tokens that there may be at what follows `tokens`. A look-up that is right as
    /// often as a draft model is better, as it costs nothing.
    pub(crate) fn offer(&mut self, tokens: &[u32], most: usize, can_draft: bool) -> Option<Offer> {
        self.compare(tokens);
        let found = match self.setting {
            Speculation::Auto | Speculation::Ngram => self.look_up(tokens, most),
            Speculation::Draft | Speculation::Off => None,
        };
        let can_draft = can_draft && self.setting != Speculation::Ngram;
        let drafted = can_draft.then(|| Offer {
            tokens: None,
            prospect: Prospect {
                odds: self.acceptance.of(Source::Draft),
                most,
                is_drafted: true,
            },
        });
        better(found, drafted)
    }

    /// What followed when the text last went like this, or how the passage may go on that the text has left for a change.
    fn look_up(&mut self, tokens: &[u32], most: usize) -> Option<Offer> {
        self.alignment.follow(tokens);
        let found = self.ngrams.guess(tokens, most);
        let found = found.map(|guess| {
            let source = Source::of_agreement(guess.agreement);
            if source == Source::Passage {
                self.alignment.begin(guess.place, guess.agreement);
            }
            (source, guess.tokens)
        });
        let resumed = self.alignment.continuation(tokens, most).map(|found| {
            let source = match found.agreement {
                0 => Source::BehindChange,
                _ => Source::Resumed,
            };
            (source, found.tokens.to_vec())
        });
        let [resumed, found] = [resumed, found].map(|guess| {
            let (source, guess) = guess?;
            Some(self.known(source, guess, tokens.len()))
        });
        better(resumed, found)
    }

    fn known(&mut self, source: Source, tokens: Vec<u32>, position: usize) -> Offer {
        self.open.push(Open {
            source,
            position,
            tokens: tokens.clone(),
        });
        Offer {
            prospect: Prospect {
                odds: self.acceptance.of(source),
                most: tokens.len(),
                is_drafted: false,
            },
            tokens: Some(tokens),
        }
    }

    /// A draft model has guessed this at what follows `position`.
    pub(crate) fn drafted(&mut self, position: usize, tokens: &[u32]) {
        self.open.push(Open {
            source: Source::Draft,
            position,
            tokens: tokens.to_vec(),
        });
    }

    /// Learns from what has come of the guesses.
    fn compare(&mut self, tokens: &[u32]) {
        for open in self.open.drain(..) {
            let came = &tokens[open.position..];
            self.acceptance.learn(open.source, &open.tokens, came);
        }
    }
}

/// The offer that is more likely to be right, the first of two that are equally so.
fn better(one: Option<Offer>, other: Option<Offer>) -> Option<Offer> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let is_better = one.prospect.odds.first >= other.prospect.odds.first;
            Some(if is_better { one } else { other })
        }
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SamplerSettings;

    fn guessing(speculation: Speculation) -> Guessing {
        let request = Request {
            speculation,
            sampler: SamplerSettings::greedy(),
            ..Request::new("a")
        };
        Guessing::new(&request).unwrap()
    }

    /// What is offered for each beginning of a text in turn.
    fn offers(guessing: &mut Guessing, text: &[u32], can_draft: bool) -> Vec<Option<Offer>> {
        let beginnings = 1..=text.len();
        let offer = |end| guessing.offer(&text[..end], 4, can_draft);
        beginnings.map(offer).collect()
    }

    #[test]
    fn look_ups_are_judged_though_nobody_verifies_them() {
        let mut guessing = guessing(Speculation::Ngram);
        let text: Vec<u32> = (0..100).map(|i| [1, 2, 3, 4, 5][i % 5]).collect();
        let last = offers(&mut guessing, &text, true).pop().flatten().unwrap();
        assert_eq!(last.tokens, Some(vec![1, 2, 3, 4]));
        assert!(last.prospect.odds.first > 0.9);
        // The same two words, and then always another one.
        let text: Vec<u32> = (0..100).flat_map(|i| [1, 2, 100 + i]).collect();
        let mut guessing = self::guessing(Speculation::Ngram);
        offers(&mut guessing, &text, false);
        let last = guessing
            .offer(&[&text[..], &[1, 2]].concat(), 4, false)
            .unwrap();
        assert!(last.prospect.odds.first < 0.1, "{last:?}");
    }

    #[test]
    fn the_better_of_two_sources_is_offered() {
        let mut guessing = guessing(Speculation::Auto);
        let text: Vec<u32> = (0..40).map(|i| [1, 2, 3, 4, 5][i % 5]).collect();
        let last = offers(&mut guessing, &text, true).pop().flatten().unwrap();
        assert!(!last.prospect.is_drafted);
        let first = guessing
            .offer(&[&text[..], &[9]].concat(), 4, true)
            .unwrap();
        assert!(first.prospect.is_drafted);
        let first = guessing
            .offer(&[&text[..], &[9]].concat(), 4, false)
            .unwrap();
        assert_eq!(first.tokens, Some(vec![2, 3, 4, 5]), "the passage goes on");
    }

    #[test]
    fn settings_keep_to_their_source() {
        let mut draft = guessing(Speculation::Draft);
        assert!(
            offers(&mut draft, &[1; 9], false)
                .iter()
                .all(Option::is_none)
        );
        let drafted = offers(&mut draft, &[1; 9], true).pop().flatten().unwrap();
        assert!(drafted.prospect.is_drafted);
        let mut ngram = guessing(Speculation::Ngram);
        let found = offers(&mut ngram, &[1; 9], true).pop().flatten().unwrap();
        assert!(!found.prospect.is_drafted);
        let off = Request {
            speculation: Speculation::Off,
            ..Request::new("a")
        };
        assert!(Guessing::new(&off).is_none());
    }

    #[test]
    fn drafts_are_compared_with_what_came() {
        let mut guessing = guessing(Speculation::Draft);
        for position in 1..30 {
            guessing.drafted(position, &[7, 7, 7]);
            let offer = guessing.offer(&vec![7; position + 4], 4, true).unwrap();
            assert!(offer.prospect.odds.first > 0.6);
        }
    }
}
