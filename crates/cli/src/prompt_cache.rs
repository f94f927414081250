//! `--prompt-cache`: what was read once is not read again, not even by the next run.

use std::path::PathBuf;

use clap::Args;
use thalweg_engine::{Error, Origin, PrefixCache, StateEncoding, StateFormat};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{Hyperparameters, model_hash, stable_hash};

use crate::failure::Failure;
use crate::model::Model;
use crate::output;

/// States in memory.
const MEMORY_BYTES: u64 = 512 << 20;
/// States of one model in the folder.
const FOLDER_BYTES: u64 = 4 << 30;

/// Where states are kept.
#[derive(Debug, Args)]
pub(crate) struct PromptCacheFlags {
    /// Keep the model's state after what was read in this folder (4 GiB a model at most), and go on from there when a later
    /// prompt begins alike
    #[arg(long, value_name = "DIR")]
    prompt_cache: Option<PathBuf>,
}

impl PromptCacheFlags {
    /// What tells the model in `file` apart, if a folder is used.
    pub(crate) fn model_hash(&self, file: &GgufFile) -> Result<Option<u64>, Failure> {
        let hash = self.prompt_cache.as_ref().map(|_| model_hash(file));
        Ok(hash.transpose()?)
    }

    /// The cache in the folder, if one is named. Its states are exact, so the text is the same with and without it.
    pub(crate) fn open(
        &self,
        model_hash: Option<u64>,
        model: &Model,
    ) -> Result<Option<PrefixCache>, Failure> {
        self.open_for(
            model_hash,
            &model.arithmetic,
            model.session.hyperparameters(),
        )
    }

    /// The same for any model of these sizes, the last bits of whose states depend on `arithmetic`.
    pub(crate) fn open_for(
        &self,
        model_hash: Option<u64>,
        arithmetic: &str,
        hp: &Hyperparameters,
    ) -> Result<Option<PrefixCache>, Failure> {
        let Some((folder, hash)) = self.prompt_cache.as_ref().zip(model_hash) else {
            return Ok(None);
        };
        let origin = Origin {
            model: hash,
            adapter: stable_hash([arithmetic.as_bytes()]),
        };
        let format = StateFormat::new(origin, hp.clone(), StateEncoding::F32);
        let cache = PrefixCache::new(MEMORY_BYTES).with_folder(folder, format, FOLDER_BYTES)?;
        Ok(Some(cache))
    }
}

/// A cache that ends with the program, for a text that grows at its end.
pub(crate) fn in_memory() -> PrefixCache {
    PrefixCache::new(MEMORY_BYTES).at_ends_alone()
}

/// Says what was wrong with files of the folder.
pub(crate) fn report(faults: Vec<Error>) {
    for fault in faults {
        output::note(format_args!(
            "warning: the prompt cache passes over a file: {fault}"
        ));
    }
}
