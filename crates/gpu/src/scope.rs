//! Failures of the device: caught where they can be, recorded where they cannot.
//!
//! wgpu panics on an error that nobody catches. Calls that create something run inside error scopes; what falls outside
//! of them reaches handlers that keep the first failure until somebody asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Error;

/// What has gone wrong with a device outside of any error scope.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    lost: Mutex<Option<String>>,
    uncaptured: Mutex<Option<Fault>>,
}

impl Failures {
    /// Records the failures of `device` from now on.
    pub(crate) fn watch(device: &wgpu::Device) -> Arc<Failures> {
        let failures = Arc::new(Failures::default());
        let (on_loss, on_error) = (Arc::clone(&failures), Arc::clone(&failures));
        device.set_device_lost_callback(move |reason, message| {
            on_loss.lose(format!("{reason:?} {message}"))
        });
        device.on_uncaptured_error(Arc::new(move |error| {
            lock(&on_error.uncaptured).get_or_insert(Fault::from(error));
        }));
        failures
    }

    /// Records that the device is lost; the first reason counts.
    pub(crate) fn lose(&self, reason: String) {
        lock(&self.lost).get_or_insert(reason);
    }

    /// The failure recorded since the last call, if any. A lost device stays lost.
    pub(crate) fn check(&self, doing: &str, bytes: u64) -> Result<(), Error> {
        if let Some(reason) = lock(&self.lost).as_deref() {
            let reason = reason.trim_end().to_owned();
            return Err(Error::DeviceLost {
                doing: doing.to_owned(),
                reason,
            });
        }
        match lock(&self.uncaptured).take() {
            Some(fault) => Err(fault.while_doing(doing, bytes)),
            None => Ok(()),
        }
    }
}

/// Runs `action` and returns the error that it caused, memory that ran out before what was invalid because of it.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn catch<T>(
    device: &wgpu::Device,
    doing: &str,
    bytes: u64,
    action: impl FnOnce() -> T,
) -> (T, Result<(), Error>) {
    use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};

    let scopes = [Validation, Internal, OutOfMemory].map(|filter| device.push_error_scope(filter));
    let result = action();
    let errors = scopes
        .into_iter()
        .rev()
        .map(|scope| pollster::block_on(scope.pop()));
    let first = errors.fold(None, Option::or).map(Fault::from);
    (
        result,
        first.map_or(Ok(()), |fault| Err(fault.while_doing(doing, bytes))),
    )
}

/// In the browser a scope tells its error only later, so that errors go to the uncaptured-error handler instead.
#[cfg(target_arch = "wasm32")]
pub(crate) fn catch<T>(
    _: &wgpu::Device,
    _: &str,
    _: u64,
    action: impl FnOnce() -> T,
) -> (T, Result<(), Error>) {
    (action(), Ok(()))
}

/// An error of wgpu, in a form that may pass between threads in the browser too.
#[derive(Debug)]
enum Fault {
    OutOfMemory,
    Validation(String),
    Internal(String),
}

impl From<wgpu::Error> for Fault {
    fn from(error: wgpu::Error) -> Fault {
        match error {
            wgpu::Error::OutOfMemory { .. } => Fault::OutOfMemory,
            wgpu::Error::Validation { description, .. } => Fault::Validation(causes(&description)),
            wgpu::Error::Internal { description, .. } => Fault::Internal(causes(&description)),
        }
    }
}

impl Fault {
    fn while_doing(self, doing: &str, bytes: u64) -> Error {
        let doing = doing.to_owned();
        match self {
            Fault::OutOfMemory => Error::OutOfMemory { doing, bytes },
            Fault::Validation(message) => Error::Validation { doing, message },
            Fault::Internal(message) => Error::Internal { doing, message },
        }
    }
}

/// What wgpu tells, without its customary heading.
fn causes(description: &str) -> String {
    let causes = description
        .strip_prefix("Validation Error\n\nCaused by:\n")
        .unwrap_or(description);
    causes.trim().to_owned()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
