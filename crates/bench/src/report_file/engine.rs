//! What guesses, known prompts, streams and loops of the engine come to.

use super::results::Results;

/// The figures of each result.
pub(super) fn engine(results: &Results) -> String {
    let figures = results.figures.iter();
    figures.map(|named| named.content.to_markdown()).collect()
}
