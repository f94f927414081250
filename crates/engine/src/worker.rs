//! An engine with a thread of its own.

use std::ops::Deref;
use std::sync::Arc;
use std::thread::JoinHandle;

use thalweg_rwkv::Batch;

use crate::{Engine, Error, Submitter};

/// An engine that steps by itself while there is something to do, and sleeps otherwise. It takes requests as a
/// [`Submitter`]. Dropping it ends what is running with [`Error::Stopped`], within a step.
pub struct EngineThread {
    submitter: Submitter,
    thread: Option<JoinHandle<()>>,
}

impl<B: Batch + Send + 'static> Engine<B> {
    /// Moves the engine to a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the system starts no more threads.
    pub fn spawn(mut self) -> Result<EngineThread, Error> {
        let submitter = self.submitter();
        let run = move || {
            let intake = Arc::clone(&self.intake);
            while intake.goes_on(self.is_busy()) {
                self.step();
            }
        };
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(run)
            .map_err(|error| Error::stopped(&format!("its thread did not start: {error}")))?;
        Ok(EngineThread {
            submitter,
            thread: Some(thread),
        })
    }
}

impl EngineThread {
    /// Takes requests from other threads too.
    pub fn submitter(&self) -> &Submitter {
        &self.submitter
    }
}

impl Deref for EngineThread {
    type Target = Submitter;

    fn deref(&self) -> &Submitter {
        &self.submitter
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        self.submitter.intake.close("it was dropped");
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // if it panicked, the handles have heard of the end
        }
    }
}
