//! What can go wrong between a request for a device and a result read back from it.

use std::path::PathBuf;

use crate::Backend;
use crate::work::mebibytes;

/// A failure of the device, of the driver, or of the way they were asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// No adapter fits the request.
    #[error(
        "no {wanted} found; adapters there are: {found}; install or name another driver, or use --backend cpu"
    )]
    NoAdapter {
        /// What was looked for.
        wanted: String,
        /// The adapters that there are.
        found: String,
    },
    /// `WGPU_BACKEND` names a backend that there is not.
    #[error(
        "WGPU_BACKEND names {name:?}, expected vulkan, metal, dx12 or several of them with commas; unset it or use --backend"
    )]
    UnknownBackend {
        /// The name.
        name: String,
    },
    /// No adapter bears the given index or name.
    #[error("no adapter is called {wanted:?}; there are: {available}")]
    UnknownDevice {
        /// The index or name as given.
        wanted: String,
        /// The adapters that there are.
        available: String,
    },
    /// Several adapters match the given name.
    #[error("{wanted:?} fits several adapters: {matches}; give the index instead")]
    AmbiguousDevice {
        /// The name as given.
        wanted: String,
        /// The adapters that it fits.
        matches: String,
    },
    /// The adapter asked for computes on the CPU, and no backend was asked for by name.
    #[error(
        "{adapter} is a software adapter, which is taken only if its backend is named too: --backend {backend}"
    )]
    SoftwareAdapter {
        /// The adapter.
        adapter: String,
        /// Its backend.
        backend: Backend,
    },
    /// The adapter gave no device.
    #[error("{adapter} gave no device: {reason}")]
    DeviceRefused {
        /// The adapter.
        adapter: String,
        /// The driver's reason.
        reason: String,
    },
    /// The device's memory does not suffice.
    #[error("out of device memory while {doing}: {} more were needed", mebibytes(*.bytes))]
    OutOfMemory {
        /// What was being done.
        doing: String,
        /// How many bytes it needed.
        bytes: u64,
    },
    /// Something needs more than the adapter offers.
    #[error("{what} needs {limit} of {needed}, but {adapter} offers {offered}")]
    Limit {
        /// What needs it.
        what: String,
        /// The limit in words.
        limit: &'static str,
        /// The value needed.
        needed: u64,
        /// The value that the adapter offers.
        offered: u64,
        /// The adapter.
        adapter: String,
    },
    /// A kernel was refused by the compiler or by the driver.
    #[error("kernel {kernel} was refused: {message}")]
    Pipeline {
        /// The kernel's name.
        kernel: String,
        /// What the compiler says.
        message: String,
    },
    /// The device was asked for something invalid: a defect of this program.
    #[error("invalid use of the device while {doing}: {message}")]
    Validation {
        /// What was being done.
        doing: String,
        /// What wgpu says.
        message: String,
    },
    /// The driver failed for a reason of its own.
    #[error("the driver failed while {doing}: {message}")]
    Internal {
        /// What was being done.
        doing: String,
        /// What wgpu says.
        message: String,
    },
    /// The device is gone: reset by its watchdog, removed, or its driver has crashed.
    #[error(
        "the device was lost while {doing}: {reason}; a smaller --chunk-size makes the device's single steps shorter"
    )]
    DeviceLost {
        /// What was being done.
        doing: String,
        /// The driver's reason.
        reason: String,
    },
    /// Compiled pipelines cannot be kept on disk. Nothing else fails because of it.
    #[error("cannot keep compiled kernels in {}: {reason}", path.display())]
    PipelineCache {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// The device did not answer in time.
    #[error("the device did not finish {doing} within {seconds:.0} s")]
    Timeout {
        /// What was being waited for.
        doing: String,
        /// How long it was waited for.
        seconds: f64,
    },
}
