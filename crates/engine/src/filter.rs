//! The filters between logits and the draw: top-k, top-p, min-p.

use std::cmp::Ordering;

use crate::SamplerSettings;

/// A token that may still be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) token: u32,
    /// Its logit after penalties; finite.
    pub(crate) score: f32,
}

/// Leaves the candidates that pass top-k, then top-p of what top-k left, then min-p. Never leaves none.
pub(crate) fn keep(candidates: &mut Vec<Candidate>, settings: &SamplerSettings) {
    keep_top_k(candidates, settings.top_k);
    keep_top_p(candidates, f64::from(settings.top_p));
    keep_min_p(candidates, f64::from(settings.min_p));
}

/// The candidate with the highest score; of equals, the lowest token.
pub(crate) fn best(candidates: &[Candidate]) -> Option<Candidate> {
    candidates.iter().copied().min_by(best_first)
}

/// Probability relative to the best candidate's, at the given temperature.
pub(crate) fn weight(candidate: Candidate, best: Candidate, temperature: f64) -> f64 {
    ((f64::from(candidate.score) - f64::from(best.score)) / temperature).exp()
}

fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then(a.token.cmp(&b.token))
}

fn keep_top_k(candidates: &mut Vec<Candidate>, k: usize) {
    if k == 0 || k >= candidates.len() {
        return;
    }
    candidates.select_nth_unstable_by(k - 1, best_first);
    candidates.truncate(k);
}

/// How many of the best candidates are put in order first. Most distributions need no more; the next block is larger.
const FIRST_BLOCK: usize = 128;

/// Orders the candidates a block at a time, until the blocks hold the wanted share of the probability: a whole
/// vocabulary is never sorted for the few tokens at its top.
fn keep_top_p(candidates: &mut Vec<Candidate>, share: f64) {
    let Some(best) = best(candidates).filter(|_| share < 1.0) else {
        return;
    };
    let wanted = share
        * candidates
            .iter()
            .map(|c| weight(*c, best, 1.0))
            .sum::<f64>();
    let (mut ordered, mut mass) = (0, 0.0);
    while ordered < candidates.len() {
        let rest = &mut candidates[ordered..];
        let block = (3 * ordered).clamp(FIRST_BLOCK, usize::MAX).min(rest.len());
        rest.select_nth_unstable_by(block - 1, best_first);
        rest[..block].sort_unstable_by(best_first);
        for (index, candidate) in rest[..block].iter().enumerate() {
            mass += weight(*candidate, best, 1.0);
            if mass >= wanted {
                candidates.truncate(ordered + index + 1);
                return;
            }
        }
        ordered += block;
    }
}

fn keep_min_p(candidates: &mut Vec<Candidate>, share: f64) {
    if let Some(best) = best(candidates) {
        candidates.retain(|candidate| weight(*candidate, best, 1.0) >= share);
    }
}
