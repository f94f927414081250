//! The program from outside: what it prints, where, and the code it ends with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail like tests"
)]

mod batch;
mod bench;
mod chat;
mod compare;
mod devices;
mod failures;
mod generate;
mod info;
#[cfg(unix)]
mod interrupts;
mod measure;
mod models;
mod operations;
mod profile;
mod program;
mod report;
mod speculation;
mod tokenize;
mod tune;
