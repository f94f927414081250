//! The model on the CPU, made of the twins of the kernels: the backend that runs anywhere, and the GPU's oracle.

mod layer;
mod model;
mod session;
mod weights;

pub use model::CpuModel;
pub use session::CpuSession;
