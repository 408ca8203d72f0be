//! Copies and launches, with the faults around them.

use std::ffi::{c_int, c_uint, c_void};

use super::emulator::{self, Launch};
use super::exports::{INVALID_CONTEXT, INVALID_HANDLE, LAUNCH_FAILED, enter_current, index_of};
use super::{faults, gpus};

/// What a launch takes, nanoseconds.
const LAUNCH_NS: u64 = 1_000_000;
/// What a copy takes at least, and bytes that it copies in a nanosecond.
const COPY_NS: u64 = 10_000;
/// See [`COPY_NS`].
const COPY_BYTES: u64 = 50;

/// `CUlaunchConfig`.
#[repr(C)]
pub struct Config {
    /// Blocks.
    pub grid: [c_uint; 3],
    /// Threads of a block.
    pub block: [c_uint; 3],
    /// Dynamic shared memory.
    pub shared: c_uint,
    /// Stream.
    pub stream: *mut c_void,
    /// Attributes.
    pub attributes: *const Attribute,
    /// How many.
    pub attribute_count: c_uint,
}

/// `CUlaunchAttribute`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Attribute {
    /// 4: blocks of a cluster.
    pub id: c_uint,
    padding: c_uint,
    /// Its value.
    pub value: [c_uint; 16],
}

/// Copies bytes of the process.
pub fn copy(call: &str, to: u64, from: u64, bytes: usize, output: u64) -> Result<(), c_int> {
    let (book, index) = enter_current(call)?;
    let mut gpus = gpus::all();
    let gpu = gpus.get_mut(&index).ok_or(INVALID_CONTEXT)?;
    let around = faults::before(&book, gpu, index, call, output);
    let at = |address: u64| usize::try_from(address).unwrap_or(0);
    let source = std::ptr::with_exposed_provenance::<u8>(at(from));
    let target = std::ptr::with_exposed_provenance_mut::<u8>(at(to));
    // SAFETY: the caller of the C function gives addresses of as many bytes.
    unsafe { std::ptr::copy(source, target, bytes) };
    gpu.nanoseconds += faults::after(gpu, &around) + COPY_NS + bytes as u64 / COPY_BYTES;
    gpu.lost.map_or(Ok(()), Err)
}

/// Runs a kernel.
///
/// # Safety
/// `parameters` points to the address of the kernel's structure, whose addresses are live.
pub unsafe fn run(
    call: &str,
    function: *mut c_void,
    launch: Launch,
    parameters: *mut *mut c_void,
) -> Result<(), c_int> {
    let (book, index) = enter_current(call)?;
    let kernel = index_of(function)
        .and_then(emulator::numbered)
        .ok_or(INVALID_HANDLE)?;
    // SAFETY: every kernel has one parameter; the caller gives its address.
    let args = unsafe { parameters.read() };
    // SAFETY: the output's address is a field of the structure.
    let output = unsafe { args.byte_add(kernel.output).cast::<u64>().read_unaligned() };
    let mut gpus = gpus::all();
    let gpu = gpus.get_mut(&index).ok_or(INVALID_CONTEXT)?;
    if gpu.hung {
        return Ok(());
    }
    let around = faults::before(&book, gpu, index, kernel.name, output);
    let launch = Launch {
        multiprocessors: book.cuda.multiprocessors,
        ..launch
    };
    // SAFETY: as the caller promises.
    let ran = unsafe { emulator::run(kernel, args, launch) };
    gpu.nanoseconds += faults::after(gpu, &around) + LAUNCH_NS;
    if let Err(why) = ran {
        use std::io::Write;
        // For whoever reads the test's output; a GPU would only say that the launch failed.
        let _ = writeln!(std::io::stderr(), "emulator: {why}");
        gpu.lost = Some(LAUNCH_FAILED);
        return Err(LAUNCH_FAILED);
    }
    gpu.lost.map_or(Ok(()), Err)
}
