//! What can run a model that is to be compared.

use std::sync::Arc;
use thalweg_gguf::GgufFile;
use thalweg_gpu::Context;
use thalweg_rwkv::{
    CpuModel, CpuSession, Error, GpuModel, GpuOptions, GpuSession, Session, State, Taps, Wanted,
};

/// A backend.
#[derive(Clone, Debug)]
pub enum Backend {
    /// The CPU twins.
    Cpu,
    /// The kernels on a device.
    Gpu(Arc<Context>, GpuOptions),
}

impl Backend {
    /// Opens a sequence of the model in `file`.
    ///
    /// # Errors
    /// Those of loading a model.
    pub fn open(&self, file: GgufFile) -> Result<Runner, Error> {
        Ok(match self {
            Backend::Cpu => Runner::Cpu(CpuSession::new(Arc::new(CpuModel::load(file)?))),
            Backend::Gpu(context, options) => {
                let model = GpuModel::load(Arc::clone(context), &file, *options)?;
                Runner::Gpu(Box::new(GpuSession::new(Arc::new(model))?))
            }
        })
    }
}

/// A sequence that can be looked into.
#[derive(Debug)]
pub enum Runner {
    /// On the CPU.
    Cpu(CpuSession),
    /// On a device.
    Gpu(Box<GpuSession>),
}

impl Runner {
    /// The sequence.
    pub fn session(&mut self) -> &mut dyn Session {
        match self {
            Runner::Cpu(session) => session,
            Runner::Gpu(session) => session.as_mut(),
        }
    }

    /// Reads tokens from the start of a sequence and records what the layers compute.
    ///
    /// # Errors
    /// Those of a forward pass.
    pub fn tap(&mut self, tokens: &[u32]) -> Result<Taps, Error> {
        let mut taps = Taps::default();
        match self {
            Runner::Cpu(session) => {
                let model = session.model();
                let mut state = State::zeros(model.hyperparameters());
                model.forward(tokens, &mut state, Wanted::Nothing, Some(&mut taps))?;
            }
            Runner::Gpu(session) => {
                session.reset();
                session.forward_tapped(tokens, &mut taps)?;
            }
        }
        Ok(taps)
    }
}
