//! A sync of a part of a file that is one.
//!
//! On Linux the engine has each buffer written out with `sync_file_range`, takes it for safe, and writes over the places where
//! the same pages were before. But that call writes neither the size of the file and the places of its data on the disk, nor what
//! the disk has in its cache: in a power cut what was new is gone, and what was old was written over. Among simulated cuts
//! under load with large commits there were two after which the engine could not read its files.
//!
//! So the function which the engine calls by that name is the one below, and not that of the C library: it syncs the file. The
//! engine does the same by itself where the kernel has no such call.

#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "a function of the C library is replaced by a stricter one, and calls another one")]

use std::ffi::{c_int, c_uint};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often it was called.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Whether it has failed: the engine then fails at some later call, which need not be a flush.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Syncs a file with all that is needed to read it, whatever part of it is asked for; the answer is that of `fdatasync`.
// SAFETY: of the same name, form and meaning as that of the C library, except that it does more.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(file: c_int, _offset: i64, _bytes: i64, _flags: c_uint) -> c_int {
    CALLS.fetch_add(1, Ordering::Relaxed);
    loop {
        // SAFETY: takes a number and touches no memory; one that is no open file is an error in `errno`.
        let synced = unsafe { libc::fdatasync(file) };
        if synced == 0 {
            return synced;
        }
        // The error stays in `errno`, for the engine.
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            FAILED.store(true, Ordering::SeqCst);
            return synced;
        }
    }
}

/// Whether any file of this process could not be synced.
pub(super) fn has_failed() -> bool {
    FAILED.load(Ordering::SeqCst)
}

/// Whether the function above is the one that was called: a program may be linked so that it is not.
pub(super) fn is_in_use() -> bool {
    CALLS.load(Ordering::Relaxed) > 0
}

/// How often it was called.
#[cfg(test)]
pub(super) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}
