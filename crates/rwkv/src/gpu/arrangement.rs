//! Which row of a step is which token of which sequence.

use thalweg_shaders::kernels::{Link, NO_SLOT, Replay, Rows, Sequence};

use super::log::Due;
use crate::{Draft, Part};

/// The rows of a step. Sequences with several tokens come first, as those with one token each take other kernels, and so
/// have their rows together.
#[derive(Debug, Default)]
pub(super) struct Arrangement {
    /// The token of each row.
    pub(super) tokens: Vec<u32>,
    /// What ties each row to its sequence.
    pub(super) links: Vec<Link>,
    /// The sequences with several tokens.
    pub(super) longer: Vec<Sequence>,
    /// The rows whose logits are wanted, in the order of the parts.
    pub(super) picks: Vec<u32>,
}

/// How many sequences there are of each kind in a step; in a plan, how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sequences {
    /// With several tokens.
    pub(super) longer: u32,
    /// With one token.
    pub(super) single: u32,
}

impl Arrangement {
    /// The rows of these parts, none of which is empty.
    pub(super) fn new(parts: &[Part<'_>]) -> Arrangement {
        let mut rows = Arrangement::default();
        let mut firsts = vec![0; parts.len()];
        let is_longer = |part: &Part<'_>| part.tokens.len() > 1;
        for wants_longer in [true, false] {
            for (part, first) in parts.iter().zip(&mut firsts) {
                if is_longer(part) == wants_longer {
                    *first = rows.tokens.len() as u32;
                    rows.add(part, is_longer(part));
                }
            }
        }
        for (part, first) in parts.iter().zip(firsts) {
            let count = part.tokens.len();
            let wanted = count - part.wanted.count(count)..count;
            rows.picks.extend(wanted.map(|token| first + token as u32));
        }
        rows
    }

    /// The rows of one sequence, with one token or several, none of whose logits are wanted.
    pub(super) fn of_longer(part: &Part<'_>) -> Arrangement {
        let mut rows = Arrangement::default();
        rows.add(part, true);
        rows
    }

    /// The rows of these drafts, all of whose logits are wanted, and how each sequence is replayed, of which this may be due.
    pub(super) fn of_drafts(
        drafts: &[Draft<'_>],
        due: impl Fn(usize) -> Option<Due>,
    ) -> (Arrangement, Vec<Replay>) {
        let mut rows = Arrangement::default();
        let replay = |draft: &Draft<'_>| {
            let (first, count) = (rows.tokens.len() as u32, 1 + draft.guess.len() as u32);
            let due = due(draft.slot);
            rows.tokens.push(draft.token);
            rows.tokens.extend(draft.guess);
            rows.links.push(Link {
                other: first,
                slot: due.map_or(draft.slot as u32, |due| Link::due(due.last_row() as u32)),
            });
            rows.links
                .extend((first..first + count - 1).map(|other| Link {
                    other,
                    slot: NO_SLOT,
                }));
            rows.picks.extend(first..first + count);
            Replay {
                first,
                count,
                ..Due::replay(draft.slot, due)
            }
        };
        let replays = drafts.iter().map(replay).collect();
        (rows, replays)
    }

    fn add(&mut self, part: &Part<'_>, is_longer: bool) {
        let (first, count) = (self.tokens.len() as u32, part.tokens.len() as u32);
        let slot = part.slot as u32;
        self.tokens.extend(part.tokens);
        self.links.push(Link {
            other: first + count - 1,
            slot,
        });
        let others = (first + 1..first + count).map(|row| Link {
            other: row - 1,
            slot: NO_SLOT,
        });
        self.links.extend(others);
        if is_longer {
            self.longer.push(Sequence { slot, first, count });
        }
    }

    /// All rows.
    pub(super) fn rows(&self) -> Rows {
        Rows {
            count: self.tokens.len() as u32,
            first: 0,
        }
    }

    /// The rows of sequences with several tokens.
    pub(super) fn longer_rows(&self) -> Rows {
        let count = self.longer.iter().map(|sequence| sequence.count).sum();
        Rows { count, first: 0 }
    }

    /// The rows of sequences with one token.
    pub(super) fn single_rows(&self) -> Rows {
        let first = self.longer_rows().count;
        Rows {
            count: self.tokens.len() as u32 - first,
            first,
        }
    }

    /// The sequences.
    pub(super) fn sequences(&self) -> Sequences {
        Sequences {
            longer: self.longer.len() as u32,
            single: self.single_rows().count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wanted;

    #[test]
    fn longer_sequences_come_first_and_picks_keep_the_order_of_the_parts() {
        let part = |slot, tokens, wanted| Part {
            slot,
            tokens,
            wanted,
        };
        let rows = Arrangement::new(&[
            part(7, &[10], Wanted::Last),
            part(2, &[20, 21, 22], Wanted::All),
            part(4, &[30], Wanted::Nothing),
            part(0, &[40, 41], Wanted::Last),
            part(1, &[50], Wanted::All),
        ]);
        assert_eq!(rows.tokens, [20, 21, 22, 40, 41, 10, 30, 50]);
        let links = [
            (2, 2),
            (0, NO_SLOT),
            (1, NO_SLOT),
            (4, 0),
            (3, NO_SLOT),
            (5, 7),
            (6, 4),
            (7, 1),
        ];
        assert_eq!(rows.links, links.map(|(other, slot)| Link { other, slot }));
        let longer = [(2, 0, 3), (0, 3, 2)];
        assert_eq!(
            rows.longer,
            longer.map(|(slot, first, count)| Sequence { slot, first, count })
        );
        assert_eq!(rows.picks, [5, 0, 1, 2, 4, 7]);
        assert_eq!(rows.rows(), Rows { count: 8, first: 0 });
        assert_eq!(rows.longer_rows(), Rows { count: 5, first: 0 });
        assert_eq!(rows.single_rows(), Rows { count: 3, first: 5 });
        assert_eq!(
            rows.sequences(),
            Sequences {
                longer: 2,
                single: 3
            }
        );
    }
}
