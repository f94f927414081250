//! `thalweg`: RWKV-7 language models from GGUF files, on the command line.
//!
//! One file a command under [`commands`]; the flags that several commands share stand in [`flags`]. Standard output
//! carries results alone; progress, summaries and errors go to standard error.

mod cache;
mod cli;
mod commands;
mod demo;
mod device;
mod failure;
mod flags;
mod interrupt;
mod model;
mod output;
mod prompt_cache;
mod some_ids;
mod speculation;
mod tuned;
mod tuner;

use std::process::ExitCode;

use cli::Cli;
use failure::Failure;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    device::silence_device_select();
    let result = match Cli::read() {
        Ok(cli) => interrupt::install().and_then(|()| cli.run()),
        Err(error) if error.use_stderr() => Err(Failure::from(error)),
        Err(help) => output::write(help.render().to_string().as_bytes()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
