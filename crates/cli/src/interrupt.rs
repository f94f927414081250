//! Ctrl-C: commands that can stop gracefully do so on the first, every command ends on the second.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// Whether the running command looks at [`RAISED`].
static WATCHED: AtomicBool = AtomicBool::new(false);
/// Whether Ctrl-C was pressed since the command last lowered it.
static RAISED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C end the program with exit code 130.
pub(crate) fn install() -> Result<(), Failure> {
    ctrlc::set_handler(on_ctrl_c).map_err(|error| {
        Failure::Device(format!(
            "cannot watch for Ctrl-C: {error}; run outside the sandbox that forbids it"
        ))
    })
}

/// From here on the first Ctrl-C only raises the flag returned.
pub(crate) fn watch() -> &'static AtomicBool {
    WATCHED.store(true, Ordering::Relaxed);
    &RAISED
}

/// Runs `action` as one that can stop gracefully: the first Ctrl-C only raises the flag that it is given.
///
/// # Errors
/// [`Failure::Interrupted`] if that happened and the action went on to its end all the same; the action's own.
pub(crate) fn watch_during<T>(
    action: impl FnOnce(&AtomicBool) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let was_watched = WATCHED.swap(true, Ordering::Relaxed);
    let result = action(&RAISED);
    WATCHED.store(was_watched, Ordering::Relaxed);
    match result {
        Ok(_) if RAISED.load(Ordering::Relaxed) => Err(Failure::Interrupted),
        result => result,
    }
}

/// Lowers the flag, so that the next Ctrl-C is a first one again. Returns whether it was raised.
pub(crate) fn lower() -> bool {
    RAISED.swap(false, Ordering::Relaxed)
}

fn on_ctrl_c() {
    let first = !RAISED.swap(true, Ordering::Relaxed);
    if WATCHED.load(Ordering::Relaxed) && first {
        return;
    }
    #[expect(
        clippy::exit,
        reason = "a second Ctrl-C must end the program wherever it is"
    )]
    std::process::exit(130);
}
