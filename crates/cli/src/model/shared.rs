//! A model that is loaded once and run in several ways.

use std::sync::Arc;

use thalweg_engine::{ChunkSize, Speculation};
use thalweg_gguf::GgufFile;
use thalweg_gpu::Context;
use thalweg_rwkv::{CpuModel, GpuModel};

use super::batch::AnySlots;
use super::{BatchModel, Compute, Kernels, Loaded, Model, Slots};
use crate::failure::Failure;

/// A model whose weights are shared by all that is begun with it.
pub(crate) struct SharedModel {
    model: Arc<CpuModel>,
    /// Its weights on the device, if one computes.
    on_device: Option<OnDevice>,
}

struct OnDevice {
    context: Arc<Context>,
    model: GpuModel,
    /// Keeps what was compiled for any of its uses.
    _kernels: Option<Kernels>,
}

impl SharedModel {
    /// The CPU twins of the model, of which its weights stay in the file.
    pub(crate) fn twins(&self) -> &Arc<CpuModel> {
        &self.model
    }
}

impl Compute<'_> {
    /// Loads the model in `file`.
    pub(crate) fn share(&self, file: GgufFile) -> Result<SharedModel, Failure> {
        let model = self.load_checked(file)?;
        let on_device = match &self.context {
            None => None,
            Some(context) => Some(OnDevice {
                context: Arc::clone(context),
                model: self.load_untuned(model.file())?,
                _kernels: self.kernels(),
            }),
        };
        Ok(SharedModel {
            model: Arc::new(model),
            on_device,
        })
    }

    /// Refuses sizes that the device cannot do, before anything is computed. Returns whether what a tuner found out would
    /// be used.
    pub(crate) fn check_sizes(
        &self,
        shared: &SharedModel,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<bool, Failure> {
        let Some(on_device) = &shared.on_device else {
            return Ok(false);
        };
        let divided = self.divide(shared, on_device, chunk_size, block_size)?;
        Ok(divided.is_tuned)
    }

    /// Begins a sequence. Sizes that are not given are what suits the device.
    pub(crate) fn start_shared(
        &self,
        shared: &SharedModel,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<Model, Failure> {
        match &shared.on_device {
            None => Ok(self.on_cpu(Arc::clone(&shared.model), chunk_size)),
            Some(on_device) => {
                let loaded = self.divide(shared, on_device, chunk_size, block_size)?;
                self.session_of(loaded, None)
            }
        }
    }

    /// Begins so many sequences that are read together, in the sizes that suit the device.
    pub(crate) fn start_shared_batch(
        &self,
        shared: &SharedModel,
        slots: Slots,
    ) -> Result<BatchModel, Failure> {
        let made = match &shared.on_device {
            None => AnySlots::on_cpu(Arc::clone(&shared.model), slots),
            Some(on_device) => {
                AnySlots::on_device(self.divide(shared, on_device, None, None)?, slots)?
            }
        };
        Ok(self.batch_of(made, slots, Speculation::Off))
    }

    /// The model with its work divided as was asked for or suits the device.
    fn divide(
        &self,
        shared: &SharedModel,
        on_device: &OnDevice,
        chunk_size: Option<ChunkSize>,
        block_size: Option<u32>,
    ) -> Result<Loaded, Failure> {
        let file = shared.model.file();
        let (tuning, is_tuned) = self.tuning(&on_device.context, file, chunk_size, block_size)?;
        let model = on_device.model.with_activations(self.activations.into());
        Ok(Loaded {
            model: model.with_tuning(tuning)?,
            tuning,
            is_tuned,
        })
    }
}
