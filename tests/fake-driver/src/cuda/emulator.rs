//! The emulator's C functions.

use std::ffi::{CStr, c_char, c_int, c_void};

/// `struct kernel`.
#[repr(C)]
#[derive(Clone, Copy)]
struct KernelOfC {
    name: *const c_char,
    entry: *const c_void,
    bytes: u32,
    threads: u32,
    cluster: u32,
    waits: u32,
    output: u32,
}

unsafe extern "C" {
    fn cupel_emulated_kernel(index: u32, kernel: *mut KernelOfC) -> c_int;
    fn cupel_emulate(
        index: u32,
        args: *const c_void,
        blocks_x: u32,
        blocks_y: u32,
        threads: u32,
        shared: u32,
        cluster: u32,
        multiprocessors: u32,
        why: *mut c_char,
        room: usize,
    ) -> c_int;
    fn cupel_tensor_map(
        map: *mut c_void,
        base: u64,
        bytes: u64,
        rows: u64,
        pitch: u64,
        box_bytes: u64,
        box_rows: u64,
    );
    static cupel_layout: [u32; 64];
    static cupel_layout_count: u32;
}

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its number in the emulator.
    pub index: u32,
    /// Its name.
    pub name: &'static str,
    /// Size of its arguments.
    pub bytes: usize,
    /// Where in them the address is that it writes to.
    pub output: usize,
}

/// The kernel of that number; none past the last one.
fn kernel(index: u32) -> Option<Kernel> {
    let mut told = KernelOfC {
        name: std::ptr::null(),
        entry: std::ptr::null(),
        bytes: 0,
        threads: 0,
        cluster: 0,
        waits: 0,
        output: 0,
    };
    // SAFETY: `told` is live, and has the layout of the C structure.
    if unsafe { cupel_emulated_kernel(index, &raw mut told) } == 0 {
        return None;
    }
    // SAFETY: the name is a literal of the C code.
    let name = unsafe { CStr::from_ptr(told.name) };
    Some(Kernel {
        index,
        name: name.to_str().unwrap_or_default(),
        bytes: usize::try_from(told.bytes).unwrap_or(0),
        output: usize::try_from(told.output).unwrap_or(0),
    })
}

/// The kernel of that name.
pub fn named(name: &str) -> Option<Kernel> {
    (0..).map_while(kernel).find(|kernel| kernel.name == name)
}

/// The kernel of that number.
pub fn numbered(index: u32) -> Option<Kernel> {
    kernel(index)
}

/// How a kernel is launched.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Blocks.
    pub blocks: [u32; 2],
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory.
    pub shared: u32,
    /// Blocks of a cluster.
    pub cluster: u32,
    /// Multiprocessors of the GPU.
    pub multiprocessors: u32,
}

/// Runs a kernel to its end.
///
/// # Errors
/// Why a GPU would not have ended it.
///
/// # Safety
/// `args` are the kernel's, and every address in them is of live memory that is large enough.
pub unsafe fn run(kernel: Kernel, args: *const c_void, launch: Launch) -> Result<(), String> {
    let mut why = [0_u8; 256];
    // SAFETY: as the caller promises; the buffer is live and as long as is said.
    let failed = unsafe {
        cupel_emulate(
            kernel.index,
            args,
            launch.blocks[0],
            launch.blocks[1],
            launch.threads,
            launch.shared,
            launch.cluster,
            launch.multiprocessors,
            why.as_mut_ptr().cast(),
            why.len(),
        )
    };
    if failed == 0 {
        return Ok(());
    }
    let text = why.split(|byte| *byte == 0).next().unwrap_or_default();
    Err(String::from_utf8_lossy(text).into_owned())
}

/// Writes a tensor map of rows of bytes.
///
/// # Safety
/// `map` has 128 writable bytes.
pub unsafe fn tensor_map(map: *mut c_void, base: u64, size: [u64; 2], pitch: u64, boxes: [u32; 2]) {
    // SAFETY: as the caller promises.
    unsafe {
        cupel_tensor_map(
            map,
            base,
            size[0],
            size[1],
            pitch,
            u64::from(boxes[0]),
            u64::from(boxes[1]),
        );
    }
}

/// Sizes and offsets of the structures that kernels are given, as the C compiler lays them out.
pub fn kernel_layout() -> Vec<usize> {
    // SAFETY: written by nobody; the array has at least as many entries as the count says.
    unsafe {
        let count = usize::try_from(cupel_layout_count).unwrap_or(0);
        let first = (&raw const cupel_layout).cast::<u32>();
        (0..count)
            .map(|at| usize::try_from(first.add(at).read()).unwrap_or(0))
            .collect()
    }
}

/// The pattern as the kernels write it, from word `first`. `words` is as long as a multiple of 2048: a
/// block writes as many at once.
pub fn kernel_pattern(seed: u64, first: u64, words: &mut [u64]) {
    /// `struct memory_args`.
    #[repr(C)]
    struct Args([u64; 9]);
    let units = words.len() as u64 / 64;
    let base = words.as_mut_ptr().expose_provenance() as u64;
    let args = Args([base, first, units, seed, 0, 0, 0, 0, 0]);
    let Some(kernel) = named("memory_write") else {
        return;
    };
    let launch = Launch {
        blocks: [1, 1],
        threads: 256,
        shared: 0,
        cluster: 1,
        multiprocessors: 1,
    };
    // SAFETY: the arguments are the kernel's; it writes `units` units, all within `words`.
    let _ = unsafe { run(kernel, (&raw const args).cast(), launch) };
}
