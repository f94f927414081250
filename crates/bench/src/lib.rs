//! What a benchmark does with its samples: statistics, a report, and the report as a table or as JSON.
//!
//! A [`Report`] names everything that a figure depends on (program, device, model, precision) and keeps every sample;
//! what it shows of them is their [`Summary`].

mod host;
pub mod profile;
mod report;
mod statistics;
mod table;

pub use host::{HostMemory, host_memory};
pub use report::{Case, Device, Load, Model, Report, Setting, Task};
pub use statistics::Summary;
pub use table::Table;
