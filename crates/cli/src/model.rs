//! From the model flags to a session that can be run.

use std::path::Path;
use std::sync::Arc;

use thalweg_engine::ChunkSize;
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{CpuModel, CpuSession, Session};

use crate::demo;
use crate::failure::Failure;
use crate::flags::{Backend, ModelFlags, ModelPath};

/// A model ready to read its first token.
pub(crate) struct Model {
    pub(crate) session: Box<dyn Session>,
    pub(crate) chunk_size: ChunkSize,
    /// What computes, for summaries.
    pub(crate) backend: &'static str,
}

impl ModelPath {
    pub(crate) fn open(&self) -> Result<GgufFile, Failure> {
        open(self.model.as_deref())
    }
}

/// Opens a model file; the demo model if none is named.
pub(crate) fn open(path: Option<&Path>) -> Result<GgufFile, Failure> {
    path.map_or_else(demo::open, |path| Ok(GgufFile::open(path)?))
}

impl ModelFlags {
    /// Opens the model file, after a look at the flags that could make that useless.
    pub(crate) fn open(&self) -> Result<GgufFile, Failure> {
        self.check_backend()?;
        self.path.open()
    }

    /// Prepares the backend to run the model in `file`.
    pub(crate) fn start(&self, file: GgufFile) -> Result<Model, Failure> {
        self.start_threads()?;
        let model = CpuModel::load(file)?;
        if self.check_tensors {
            model.check_tensors()?;
        }
        let session = Box::new(CpuSession::new(Arc::new(model)));
        Ok(Model {
            session,
            chunk_size: self.chunk_size,
            backend: "cpu",
        })
    }

    fn check_backend(&self) -> Result<(), Failure> {
        let name = match self.backend {
            Backend::Auto | Backend::Cpu => return Ok(()),
            Backend::Vulkan => "vulkan",
            Backend::Metal => "metal",
            Backend::Dx12 => "dx12",
        };
        Err(Failure::Device(format!(
            "--backend {name} is not part of this build, expected auto or cpu; use --backend cpu, which runs everywhere"
        )))
    }

    fn start_threads(&self) -> Result<(), Failure> {
        let threads = self.threads.map_or(0, usize::from); // 0 lets rayon count the cores
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| {
                Failure::Device(format!(
                    "cannot start {threads} threads: {error}; ask for fewer with --threads"
                ))
            })
    }
}
