//! What a benchmark does with its samples: which it takes, what they come to, how they are shown, kept and compared.
//!
//! A [`Report`] names everything that a figure depends on (program, device, model, precision) and keeps every sample;
//! what it shows of them is their [`Summary`]. It is text, Markdown, CSV, JSON or lines of JSON, and read again from the
//! last two. A [`Comparison`] sets reports side by side; [`plot`] draws both. Of all [`Results`] in a folder a
//! [`ReportFile`] is made.

mod case;
mod check;
mod comparison;
mod drift;
mod error;
mod figures;
mod format;
mod host;
mod json;
mod limits;
mod llama_bench;
mod noise;
pub mod operations;
mod order;
pub mod plot;
pub mod profile;
mod report;
mod report_file;
#[cfg(test)]
mod samples;
mod setting;
mod statistics;
mod sweep;
mod table;
mod work;

pub use case::Case;
pub use check::{Check, Finding, tolerance};
pub use comparison::{Comparison, Entry, Row, Run};
pub use drift::{DRIFT, drift};
pub use error::Error;
pub use figures::{Figure, Figures, Target};
pub use host::{HostMemory, host_memory};
pub use limits::{Limit, Limits, Share};
pub use llama_bench::{LlamaBench, LlamaTest};
pub use noise::{RULE, Verdict};
pub use order::interleave;
pub use report::{Device, Load, Model, Report};
pub use report_file::{MarkerFault, ReportFile, Results};
pub use setting::{Activations, Setting, Task, Test};
pub use statistics::Summary;
pub use sweep::{Sweep, SweepError};
pub use table::Table;
pub use work::Work;
