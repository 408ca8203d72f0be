//! How a call misbehaves.
//!
//! # Invariants
//! - Whatever a fault does, memory outside the outputs that the caller gave stays untouched: the
//!   reader's mistakes show, not the fake's.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use nvml_wrapper_sys::bindings::nvmlReturn_t;

use crate::book;
use crate::state::{Act, Gpu, State};

/// NVML's return codes that the fake gives of itself.
pub const SUCCESS: nvmlReturn_t = 0;
pub const UNINITIALIZED: nvmlReturn_t = 1;
pub const INVALID_ARGUMENT: nvmlReturn_t = 2;
pub const NOT_SUPPORTED: nvmlReturn_t = 3;
pub const NOT_FOUND: nvmlReturn_t = 6;
pub const INSUFFICIENT_SIZE: nvmlReturn_t = 7;
pub const DRIVER_NOT_LOADED: nvmlReturn_t = 9;
pub const TIMEOUT: nvmlReturn_t = 10;
pub const ARGUMENT_VERSION_MISMATCH: nvmlReturn_t = 25;

/// How often the library was initialised and not yet shut down.
pub static INITIALISED: AtomicU32 = AtomicU32::new(0);

/// Memory that the caller gave to be written.
#[derive(Clone, Copy)]
pub struct Output {
    to: *mut u8,
    bytes: usize,
    /// Whether it is a count of entries, which [`Act::ShortBuffer`] makes absurd.
    count: bool,
}

impl Output {
    /// One value.
    pub fn one<T>(to: *mut T) -> Self {
        Self::many(to, 1)
    }

    /// An array.
    pub fn many<T>(to: *mut T, entries: usize) -> Self {
        Self {
            to: to.cast(),
            bytes: entries * size_of::<T>(),
            count: false,
        }
    }

    /// A count of entries, in and out.
    pub fn count(to: *mut u32) -> Self {
        Self {
            count: true,
            ..Self::one(to)
        }
    }

    fn fill(self, seed: &mut u64) {
        if self.to.is_null() {
            return;
        }
        for offset in 0..self.bytes {
            *seed ^= *seed << 13;
            *seed ^= *seed >> 7;
            *seed ^= *seed << 17;
            // No zero byte, and no UTF-8: no text in it ever ends.
            let byte = seed.to_le_bytes()[3] | 0x80;
            // SAFETY: the caller of the C function promises `bytes` writable bytes at `to`.
            unsafe { self.to.add(offset).write(byte) };
        }
    }
}

/// What every call begins with: the answer book, unless a fault ends the call here.
///
/// # Errors
/// The code to return at once.
pub fn enter(call: &str, gpu: Option<u32>, outputs: &[Output]) -> Result<Arc<State>, nvmlReturn_t> {
    let book = book::current().ok_or(DRIVER_NOT_LOADED)?;
    match book.fault(call, gpu) {
        None => {}
        Some(Act::Return(code)) => return Err(*code),
        Some(Act::Hang) => loop {
            sleep(Duration::from_secs(3600));
        },
        // SAFETY: raising a signal in the calling process is the point.
        Some(Act::Crash) => unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::raise(libc::SIGSEGV);
        },
        Some(Act::Abort) => std::process::abort(),
        // SAFETY: ending the calling process, without its exit handlers, is the point.
        Some(Act::Exit(code)) => unsafe { libc::_exit(i32::from(*code)) },
        Some(Act::Garbage(seed)) => {
            let mut seed = seed ^ 0x9e37_79b9_7f4a_7c15;
            for output in outputs {
                output.fill(&mut seed);
            }
            return Err(SUCCESS);
        }
        Some(Act::ShortBuffer) => {
            let mut seed = u64::MAX;
            for output in outputs.iter().filter(|output| output.count) {
                output.fill(&mut seed);
            }
            return Err(INSUFFICIENT_SIZE);
        }
        Some(Act::Slow(milliseconds)) => sleep(Duration::from_millis(*milliseconds)),
        Some(Act::Write(path)) => write(path),
    }
    Ok(book)
}

/// Writes and waits for the disk. A file that cannot be written delays nothing.
fn write(path: &Path) {
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
        let _ = file.write_all(b"cupel\n");
        let _ = file.sync_all();
    }
}

/// A call that concerns one GPU: refused where the library is not initialised, the handle is none
/// of its own, or the GPU has no handle to give.
pub fn on_gpu(
    call: &str,
    device: *const (),
    outputs: &[Output],
    answer: impl FnOnce(&Gpu) -> nvmlReturn_t,
) -> nvmlReturn_t {
    let index = index(device);
    let book = match enter(call, index, outputs) {
        Ok(book) => book,
        Err(code) => return code,
    };
    if INITIALISED.load(Ordering::SeqCst) == 0 {
        return UNINITIALIZED;
    }
    let gpu = index
        .and_then(|index| usize::try_from(index).ok())
        .and_then(|index| book.gpus.get(index));
    match gpu {
        Some(gpu) if gpu.handle != SUCCESS => gpu.handle,
        Some(gpu) => answer(gpu),
        None => INVALID_ARGUMENT,
    }
}

/// The handle of a GPU: its index and one, as an address that is never followed.
pub fn handle(index: u32) -> *mut () {
    std::ptr::without_provenance_mut(usize::try_from(index).unwrap_or(0) + 1)
}

/// The index behind a handle.
pub fn index(device: *const ()) -> Option<u32> {
    u32::try_from(device.addr().checked_sub(1)?).ok()
}

/// Writes a value where there is one; `None` is "not supported".
///
/// # Safety
/// `to` is null or writable.
pub unsafe fn put<T>(to: *mut T, value: Option<T>) -> nvmlReturn_t {
    match value {
        _ if to.is_null() => INVALID_ARGUMENT,
        Some(value) => {
            // SAFETY: as the caller promises.
            unsafe { to.write(value) };
            SUCCESS
        }
        None => NOT_SUPPORTED,
    }
}

/// Writes text and its end where both fit.
///
/// # Safety
/// `to` is null or has `room` writable bytes.
pub unsafe fn put_text(to: *mut u8, room: usize, text: Option<&str>) -> nvmlReturn_t {
    match text {
        _ if to.is_null() => INVALID_ARGUMENT,
        None => NOT_SUPPORTED,
        Some(text) if text.len() >= room => INSUFFICIENT_SIZE,
        Some(text) => {
            // SAFETY: text and its end fit, as the line above says.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), to, text.len());
                to.add(text.len()).write(0);
            }
            SUCCESS
        }
    }
}
