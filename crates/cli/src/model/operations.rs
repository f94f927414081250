//! Small operations of a model on the device that computes.

use std::sync::Arc;

use thalweg_gguf::GgufFile;
use thalweg_rwkv::operations::{GpuOperations, Sizes};

use super::Compute;
use crate::failure::Failure;

impl Compute<'_> {
    /// The operations of the model in `file`, divided as the model's work would be, for one token and for `many`; nothing on
    /// the CPU.
    pub(crate) fn operations(
        &self,
        file: &GgufFile,
        many: usize,
    ) -> Result<Option<GpuOperations>, Failure> {
        let Some(context) = &self.context else {
            return Ok(None);
        };
        let (tuning, _) = self.tuning(context, file, None, None)?;
        let (context, options) = (Arc::clone(context), self.options(tuning));
        let operations = GpuOperations::new(context, Sizes::of(file)?, options, many)?;
        Ok(Some(operations))
    }
}
