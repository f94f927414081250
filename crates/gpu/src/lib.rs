//! wgpu for compute: adapters, buffers, pipelines, plans, errors. No model in it.
//!
//! The way through: [`adapters`] lists what the machine has, [`Context::new`] opens one of them, [`Context::buffer`]
//! and [`Context::uploader`] put data on it, [`Context::pipeline`] compiles a
//! [`Kernel`](thalweg_shaders::kernels::Kernel), [`PlanBuilder`] strings
//! dispatches together once and [`Plan::run`] replays them, [`ReadBuffer`] brings results back. Every failure of the
//! device arrives as an [`Error`] that says what was being done.

mod adapter;
mod buffer;
#[cfg(not(target_arch = "wasm32"))]
mod ceilings;
mod context;
mod error;
mod halves;
mod kernel;
mod limits;
mod listing;
#[cfg(not(target_arch = "wasm32"))]
mod pipeline_cache;
mod plan;
mod plan_builder;
#[cfg(not(target_arch = "wasm32"))]
mod profile;
mod request;
mod scope;
mod tally;
#[cfg(not(target_arch = "wasm32"))]
mod upload;
mod work;

pub use adapter::{Adapter, AdapterKind};
pub use buffer::{Buffer, ReadBuffer};
#[cfg(not(target_arch = "wasm32"))]
pub use ceilings::Ceilings;
pub use context::{AllocatorBytes, Context, Memory};
pub use error::Error;
pub use kernel::Pipeline;
pub use limits::Limits;
#[cfg(not(target_arch = "wasm32"))]
pub use listing::adapters;
pub use listing::{Choice, Listing};
pub use plan::Plan;
pub use plan_builder::{Binding, PlanBuilder, Workgroups};
#[cfg(not(target_arch = "wasm32"))]
pub use profile::{DispatchTime, PlanTimes, Timestamps};
pub use request::{Backend, DeviceRequest, DeviceSelector, Feature};
pub use tally::{Counters, HostTimes};
#[cfg(not(target_arch = "wasm32"))]
pub use upload::Uploader;
pub use work::Work;
