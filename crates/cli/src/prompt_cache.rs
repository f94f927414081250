//! `--prompt-cache`: what was read once is not read again, not even by the next run.

use std::path::PathBuf;

use clap::Args;
use thalweg_engine::{Faults, Origin, PrefixCache, StateEncoding, StateFormat};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{model_hash, stable_hash};

use crate::failure::Failure;
use crate::model::BatchModel;
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
        model: &BatchModel,
    ) -> Result<Option<PrefixCache>, Failure> {
        let Some((folder, hash)) = self.prompt_cache.as_ref().zip(model_hash) else {
            return Ok(None);
        };
        let origin = Origin {
            model: hash,
            adapter: stable_hash([model.arithmetic.as_bytes()]),
        };
        let hp = model.batch().hyperparameters().clone();
        let format = StateFormat::new(origin, hp, StateEncoding::F32);
        let cache = PrefixCache::new(MEMORY_BYTES).with_folder(folder, format, FOLDER_BYTES)?;
        Ok(Some(cache))
    }
}

/// A cache that ends with the program, for a text that grows at its end.
pub(crate) fn in_memory() -> PrefixCache {
    PrefixCache::new(MEMORY_BYTES).at_ends_alone()
}

/// Says what was wrong with files of the folder: when it is told to, and at its end what has not been said. It is to
/// outlive the cache, which writes the last of them.
pub(crate) struct Warnings(Option<Faults>);

impl Warnings {
    pub(crate) fn of(cache: Option<&PrefixCache>) -> Self {
        Self(cache.map(PrefixCache::faults))
    }

    pub(crate) fn show(&self) {
        for fault in self.0.iter().flat_map(Faults::take) {
            output::note(format_args!(
                "warning: the prompt cache passes over a file: {fault}"
            ));
        }
    }
}

impl Drop for Warnings {
    fn drop(&mut self) {
        self.show();
    }
}
