//! Scalar metadata where gguf-rs does not build: all of it is read in place.

use std::collections::HashMap;

use crate::{Error, header::Entry, metadata::Stored, source::Source};

/// Decodes nothing beforehand.
pub(crate) fn decode(
    _source: &Source,
    _entries: &[Entry<'_>],
) -> Result<HashMap<usize, Stored>, Error> {
    Ok(HashMap::new())
}
