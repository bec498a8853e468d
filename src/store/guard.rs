//! A fence around an engine that panics on damaged files.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, and turns a panic into its message without printing it.
///
/// Needs `panic = "unwind"`, the default of every profile.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    silence_quiet_threads();
    let before = QUIET.replace(true);
    // What `work` borrowed is not used after a panic: callers give up the store.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    outcome.map_err(|payload| message(payload.as_ref()))
}

/// Installs, once, a hook that passes on every panic but the fenced ones.
fn silence_quiet_threads() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // The flag is gone while a thread ends; then the panic is not ours.
            if !QUIET.try_with(Cell::get).unwrap_or(false) {
                previous(info);
            }
        }));
    });
}

/// The first line of the panic's message.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
