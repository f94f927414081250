//! The model on the CPU, made of the twins of the kernels: the backend that runs anywhere, and the GPU's oracle.

mod batch;
mod layer;
mod log;
mod model;
mod session;
mod weights;

pub use batch::CpuBatch;
pub use model::CpuModel;
pub use session::CpuSession;
