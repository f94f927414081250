//! Sampling as one would write it in f64: sort, then cut.

use super::cases::Case;

/// The probability of each token.
pub(crate) fn distribution(case: &Case) -> Vec<f64> {
    let settings = &case.settings;
    let logits = changed_logits(case);
    let mut order: Vec<usize> = (0..logits.len())
        .filter(|token| logits[*token] > f64::NEG_INFINITY)
        .collect();
    order.sort_by(|a, b| logits[*b].partial_cmp(&logits[*a]).unwrap()); // stable: of equals the lowest first
    let best = logits[order[0]];
    let weight = |token: usize, temperature: f64| ((logits[token] - best) / temperature).exp();

    if settings.top_k > 0 {
        order.truncate(settings.top_k);
    }
    if settings.top_p < 1.0 {
        let all: f64 = order.iter().map(|token| weight(*token, 1.0)).sum();
        let wanted = f64::from(settings.top_p) * all;
        let mut sum = 0.0;
        let missing = order.iter().position(|token| {
            sum += weight(*token, 1.0);
            sum >= wanted
        });
        order.truncate(missing.map_or(order.len(), |last| last + 1));
    }
    order.retain(|token| logits[*token] - best >= f64::from(settings.min_p).ln());
    if settings.temperature == 0.0 {
        order.truncate(1);
    }

    let temperature = f64::from(settings.temperature).max(1e-300);
    let all: f64 = order.iter().map(|token| weight(*token, temperature)).sum();
    let mut shares = vec![0.0; logits.len()];
    for token in order {
        shares[token] = weight(token, temperature) / all;
    }
    shares
}

/// The logits after biases, bans and penalties.
fn changed_logits(case: &Case) -> Vec<f64> {
    let settings = &case.settings;
    let mut logits: Vec<f64> = case.logits.iter().copied().map(f64::from).collect();
    let biases: std::collections::HashMap<_, _> = settings.biases.iter().copied().collect();
    for (token, bias) in biases {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit += f64::from(bias);
        }
    }
    let now = case.counts[0].step;
    for (logit, seen) in logits.iter_mut().zip(&case.counts[1..]) {
        let age = now - seen.step;
        let faded = f64::from(settings.decay).powf(age.into());
        let is_forgotten = settings.decay == 0.0 && age > 0;
        if seen.count > 0.0 && !is_forgotten {
            let frequency = f64::from(settings.frequency) * f64::from(seen.count) * faded;
            *logit -= f64::from(settings.presence) + frequency;
        }
    }
    logits
}

/// Half the sum of the differences of two distributions; `weights` need not add up to 1.
pub(crate) fn total_variation(weights: &[u64], shares: &[f64]) -> f64 {
    let all: f64 = weights.iter().map(|weight| *weight as f64).sum();
    let differences = weights
        .iter()
        .zip(shares)
        .map(|(weight, share)| (*weight as f64 / all - share).abs());
    differences.sum::<f64>() / 2.0
}
