//! One file a command: its arguments, and a `run` that reads top-down.

pub(crate) mod batch;
pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod devices;
pub(crate) mod generate;
pub(crate) mod info;
pub(crate) mod logits;
pub(crate) mod perplexity;
mod pictures;
pub(crate) mod profile;
mod results_file;
pub(crate) mod tokenize;
pub(crate) mod tune;
