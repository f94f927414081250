//! Lists of numbers as people write them: `64,128,256..2048*2`, `0..4096+1024`.

use std::ops::RangeInclusive;

/// The most numbers that one list may come to: beyond it is a slip of the hand.
const MOST: usize = 1000;

/// Numbers in the order in which they were written, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep(Vec<usize>);

/// Why a list cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// There is nothing between two commas, or nothing at all.
    #[error("found an empty item, expected a number such as 512 or a range such as 64..1024*2")]
    Empty,
    /// Something is no whole number.
    #[error(
        "found '{found}' in '{item}', expected a whole number, or a range such as 64..1024*2 or 0..4096+1024"
    )]
    Number {
        /// The item of the list.
        item: String,
        /// The part of it that is no number.
        found: String,
    },
    /// A number is too small or too large.
    #[error("found {found} in '{item}', expected numbers from {least} to {most}")]
    OutOfRange {
        /// The item of the list.
        item: String,
        /// The number in it.
        found: usize,
        /// The least that is allowed.
        least: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// A range ends before it begins.
    #[error("the range '{item}' is empty: it ends before it begins; put the smaller number first")]
    Backwards {
        /// The range.
        item: String,
    },
    /// A range would never end.
    #[error(
        "the range '{item}' does not get on: expected a step of +1 or more, or a factor of *2 or more from 1 or more"
    )]
    Stuck {
        /// The range.
        item: String,
    },
    /// The list is absurdly long.
    #[error("the list comes to more than {MOST} numbers, expected at most that; take larger steps")]
    TooMany,
}

impl Sweep {
    /// Understands a list whose numbers must lie within `bounds`. Ranges include their end if they meet it; without a
    /// step they go on by one.
    ///
    /// # Errors
    /// The [`SweepError`] that fits.
    pub fn parse(text: &str, bounds: RangeInclusive<usize>) -> Result<Sweep, SweepError> {
        let mut numbers = Vec::new();
        for item in text.split(',').map(str::trim) {
            for number in Item::parse(item, &bounds)? {
                if numbers.contains(&number) {
                    continue;
                }
                if numbers.len() == MOST {
                    return Err(SweepError::TooMany);
                }
                numbers.push(number);
            }
        }
        Ok(Sweep(numbers))
    }

    /// The numbers.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }
}

/// One number or a range of them, which counts itself up.
struct Item {
    next: Option<usize>,
    last: usize,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Plus(usize),
    Times(usize),
}

impl Item {
    fn parse(item: &str, bounds: &RangeInclusive<usize>) -> Result<Item, SweepError> {
        if item.is_empty() {
            return Err(SweepError::Empty);
        }
        let Some((first, rest)) = item.split_once("..") else {
            let number = bounded(item, item, bounds)?;
            return Ok(Item {
                next: Some(number),
                last: number,
                step: Step::Plus(1),
            });
        };
        let (last, step) = match rest.split_once(['+', '*']) {
            None => (rest, Step::Plus(1)),
            Some((last, step)) if rest[last.len()..].starts_with('+') => {
                (last, Step::Plus(number(item, step)?))
            }
            Some((last, factor)) => (last, Step::Times(number(item, factor)?)),
        };
        let first = bounded(item, first, bounds)?;
        let last = bounded(item, last, bounds)?;
        if last < first {
            return Err(SweepError::Backwards {
                item: item.to_owned(),
            });
        }
        match step {
            Step::Plus(1..) => (),
            Step::Times(2..) if first > 0 => (),
            _ => {
                return Err(SweepError::Stuck {
                    item: item.to_owned(),
                });
            }
        }
        Ok(Item {
            next: Some(first),
            last,
            step,
        })
    }
}

impl Iterator for Item {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let number = self.next.filter(|number| *number <= self.last)?;
        self.next = match self.step {
            Step::Plus(step) => number.checked_add(step),
            Step::Times(factor) => number.checked_mul(factor),
        };
        Some(number)
    }
}

fn bounded(item: &str, text: &str, bounds: &RangeInclusive<usize>) -> Result<usize, SweepError> {
    let found = number(item, text)?;
    if bounds.contains(&found) {
        return Ok(found);
    }
    Err(SweepError::OutOfRange {
        item: item.to_owned(),
        found,
        least: *bounds.start(),
        most: *bounds.end(),
    })
}

fn number(item: &str, text: &str) -> Result<usize, SweepError> {
    text.trim().parse().map_err(|_| SweepError::Number {
        item: item.to_owned(),
        found: text.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(text: &str) -> Vec<usize> {
        Sweep::parse(text, 0..=1 << 20).unwrap().0
    }

    fn fault(text: &str) -> SweepError {
        Sweep::parse(text, 1..=4096).unwrap_err()
    }

    #[test]
    fn lists_and_ranges() {
        assert_eq!(numbers("512"), [512]);
        assert_eq!(
            numbers("64,128,256..2048*2"),
            [64, 128, 256, 512, 1024, 2048]
        );
        assert_eq!(numbers("0..4096+1024"), [0, 1024, 2048, 3072, 4096]);
        assert_eq!(numbers(" 1..3 , 7 "), [1, 2, 3, 7]);
        assert_eq!(numbers("5..5"), [5]);
    }

    #[test]
    fn a_range_stops_at_the_last_number_that_it_meets() {
        assert_eq!(numbers("1..10+4"), [1, 5, 9]);
        assert_eq!(numbers("3..100*5"), [3, 15, 75]);
    }

    #[test]
    fn what_stands_there_twice_is_taken_once() {
        assert_eq!(numbers("8,4,8,1..8*2"), [8, 4, 1, 2]);
    }

    #[test]
    fn nothing_and_what_is_no_number() {
        assert_eq!(fault(""), SweepError::Empty);
        assert_eq!(fault("1,,2"), SweepError::Empty);
        for text in [
            "x",
            "-1",
            "1.5",
            "1..",
            "..5",
            "1..2*x",
            "1..2+",
            "1...5",
            "99999999999999999999",
        ] {
            assert!(matches!(fault(text), SweepError::Number { .. }), "{text}");
        }
        assert!(fault("64,x").to_string().contains("'x'"));
    }

    #[test]
    fn numbers_out_of_bounds() {
        let message = fault("64,0").to_string();
        assert!(
            message.contains("found 0") && message.contains("from 1 to 4096"),
            "{message}"
        );
        assert!(matches!(
            fault("1..5000*2"),
            SweepError::OutOfRange { found: 5000, .. }
        ));
    }

    #[test]
    fn ranges_that_are_empty_or_never_end() {
        assert!(matches!(fault("9..3"), SweepError::Backwards { .. }));
        for text in ["1..9+0", "1..9*1", "1..9*0"] {
            assert!(matches!(fault(text), SweepError::Stuck { .. }), "{text}");
        }
        let from_zero = Sweep::parse("0..9*2", 0..=9);
        assert!(matches!(from_zero, Err(SweepError::Stuck { .. })));
    }

    #[test]
    fn absurd_lengths_and_overflows_end() {
        assert_eq!(fault("1..4096"), SweepError::TooMany);
        let last = usize::MAX;
        let text = format!("1..{last}*{last},{last}..{last}+{last}");
        assert_eq!(Sweep::parse(&text, 0..=last).unwrap().0, [1, last]);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_all_numbers_are_within_bounds(text in "[0-9x.,+* ]{0,24}") {
            if let Ok(sweep) = Sweep::parse(&text, 1..=4096) {
                prop_assert!(!sweep.0.is_empty() && sweep.0.len() <= MOST);
                prop_assert!(sweep.0.iter().all(|number| (1..=4096).contains(number)));
            }
        }
    }
}
