//! Scalar metadata where gguf-rs does not build: nothing is decoded beforehand, all is read in place.

use std::collections::HashMap;

use crate::{Error, Value, header::Entry, source::Source};

/// There is none.
pub(crate) enum Scalar {}

impl Scalar {
    pub(crate) fn value(&self) -> Value<'_> {
        match *self {}
    }
}

pub(crate) fn decode(
    _source: &Source,
    _entries: &[Entry<'_>],
) -> Result<HashMap<usize, Scalar>, Error> {
    Ok(HashMap::new())
}
