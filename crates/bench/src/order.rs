//! The order in which samples are taken.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Rounds over cases, as their indices: every round takes one sample of each case that still misses any, in a random
/// order of its own, so that whatever changes with time (clocks, heat, other programs) meets all cases alike.
pub fn interleave(missing: &[usize], seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rounds = missing.iter().copied().max().unwrap_or(0);
    let mut order = Vec::new();
    for round in 0..rounds {
        let start = order.len();
        order.extend((0..missing.len()).filter(|case| missing[*case] > round));
        shuffle(&mut order[start..], &mut rng);
    }
    order
}

/// Fisher and Yates. The remainder's bias is below one in 10^15 for any list that fits in memory here.
fn shuffle(items: &mut [usize], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        let other = rng.next_u64() % (last as u64 + 1);
        items.swap(last, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_each_case_that_misses_a_sample_once() {
        let order = interleave(&[3, 0, 2, 3], 7);
        assert_eq!(order.len(), 8);
        let mut rounds: Vec<Vec<usize>> = [&order[..3], &order[3..6], &order[6..]]
            .iter()
            .map(|round| round.to_vec())
            .collect();
        rounds.iter_mut().for_each(|round| round.sort_unstable());
        assert_eq!(rounds, [vec![0, 2, 3], vec![0, 2, 3], vec![0, 3]]);
    }

    #[test]
    fn the_seed_decides_the_order() {
        let order = |seed| interleave(&[4; 16], seed);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_ne!(order(1)[..16], order(1)[16..32], "rounds differ");
        assert!(interleave(&[], 1).is_empty() && interleave(&[0, 0], 1).is_empty());
    }
}
