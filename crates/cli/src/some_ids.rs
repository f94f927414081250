//! Tokens for measurements, which no text has to be found for.

/// Ids spread over the vocabulary, the same in every run.
pub(crate) fn some_ids(count: usize, vocab: usize) -> Vec<u32> {
    // Multiples of a large prime visit the vocabulary without a visible order.
    (1..=count as u64)
        .map(|i| (i * 2_654_435_761 % vocab as u64) as u32)
        .collect()
}
