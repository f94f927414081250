//! Whether logits are numbers: what runs away anywhere in a device's pass shows there.

use rayon::prelude::*;

use crate::Part;

/// The slots of the parts some of whose logits are none or infinite.
pub(super) fn lost_slots(parts: &[Part<'_>], logits: &[f32], vocab: usize) -> Vec<usize> {
    let is_lost: Vec<bool> = logits
        .par_chunks(vocab)
        .map(|row| first_not_finite(row).is_some())
        .collect();
    let mut rows = is_lost.into_iter();
    let mut is_part_lost = |part: &&Part<'_>| {
        let count = part.wanted.count(part.tokens.len());
        rows.by_ref()
            .take(count)
            .fold(false, |any, lost| any | lost)
    };
    let lost = parts.iter().filter(|part| is_part_lost(part));
    lost.map(|part| part.slot).collect()
}

/// Where the first number lies that is none or infinite. Whole blocks are looked through at once, which takes a tenth of
/// the time.
pub(super) fn first_not_finite(numbers: &[f32]) -> Option<usize> {
    const BLOCK: usize = 1024;
    let has_any = |block: &[f32]| block.iter().fold(false, |any, x| any | !x.is_finite());
    let block = numbers.chunks(BLOCK).position(has_any)?;
    let rest = &numbers[block * BLOCK..];
    let within = rest.iter().position(|number| !number.is_finite())?;
    Some(block * BLOCK + within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wanted;

    #[test]
    fn the_first_number_that_is_not_finite_is_found() {
        let mut numbers = vec![0.5; 5000];
        assert_eq!(first_not_finite(&numbers), None);
        numbers[4999] = f32::NAN;
        assert_eq!(first_not_finite(&numbers), Some(4999));
        numbers[1024] = f32::NEG_INFINITY;
        assert_eq!(first_not_finite(&numbers), Some(1024));
        numbers[1023] = f32::INFINITY;
        assert_eq!(first_not_finite(&numbers), Some(1023));
        assert_eq!(first_not_finite(&[]), None);
    }

    #[test]
    fn lost_logits_are_laid_at_the_right_slots() {
        let part = |slot, tokens, wanted| Part {
            slot,
            tokens,
            wanted,
        };
        let parts = [
            part(5, &[1, 2, 3], Wanted::All),
            part(1, &[1], Wanted::Nothing),
            part(2, &[1, 2], Wanted::Last),
            part(0, &[1], Wanted::Last),
        ];
        let lost_with = |row: usize| {
            let mut logits = vec![0.0; 5 * 4];
            logits[row * 4 + 3] = f32::NAN;
            lost_slots(&parts, &logits, 4)
        };
        assert_eq!([0, 1, 2].map(lost_with), [[5], [5], [5]]);
        assert_eq!([3, 4].map(lost_with), [[2], [0]]);
        assert!(lost_slots(&parts, &[0.0; 20], 4).is_empty());
    }
}
