//! The C functions, by the names that cuda.h gives them.
//!
//! Handles: a device is its index; contexts and modules are the index and one; streams, events and
//! kernels are numbers of tables here. None is an address that is followed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::emulator::{self, Launch};
use super::launch::{Config, copy, run};
use super::{faults, gpus};
use crate::fault;
use crate::state::State;

const SUCCESS: c_int = 0;
const INVALID_VALUE: c_int = 1;
const OUT_OF_MEMORY: c_int = 2;
const NOT_INITIALIZED: c_int = 3;
const NO_DEVICE: c_int = 100;
const INVALID_DEVICE: c_int = 101;
const INVALID_IMAGE: c_int = 200;
pub(super) const INVALID_CONTEXT: c_int = 201;
const PEER_ACCESS_UNSUPPORTED: c_int = 217;
pub(super) const INVALID_HANDLE: c_int = 400;
const NOT_FOUND: c_int = 500;
const NOT_READY: c_int = 600;
pub(super) const LAUNCH_FAILED: c_int = 719;

static INITIALISED: AtomicU32 = AtomicU32::new(0);
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// Events: the GPU, and when by its clock it happened.
static EVENTS: Mutex<Events> = Mutex::new(BTreeMap::new());

type Events = BTreeMap<usize, (u32, Option<u64>)>;

thread_local! {
    static CURRENT: Cell<Option<u32>> = const { Cell::new(None) };
}

fn number(handle: *const c_void) -> usize {
    handle.addr()
}

fn handle(number: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(number)
}

/// The GPU behind a context or a module.
pub(super) fn index_of(of: *const c_void) -> Option<u32> {
    u32::try_from(number(of).checked_sub(1)?).ok()
}

/// What every call begins with: the answer book, unless a fault ends the call here.
fn enter(call: &str, gpu: Option<u32>) -> Result<Arc<State>, c_int> {
    let lost = |index: &u32| gpus::all().get(index).and_then(|gpu| gpu.lost);
    if let Some(code) = gpu.as_ref().and_then(lost) {
        return Err(code);
    }
    let book = fault::enter(call, gpu, &[]).map_err(|code| {
        // A book that cannot be read is a driver that is not there.
        c_int::try_from(code).unwrap_or(NO_DEVICE)
    })?;
    if call != "cuInit" && INITIALISED.load(Ordering::SeqCst) == 0 {
        return Err(NOT_INITIALIZED);
    }
    Ok(book)
}

/// As [`enter`], of the current context.
pub(super) fn enter_current(call: &str) -> Result<(Arc<State>, u32), c_int> {
    let gpu = CURRENT.get().ok_or(INVALID_CONTEXT)?;
    enter(call, Some(gpu)).map(|book| (book, gpu))
}

fn code(result: Result<(), c_int>) -> c_int {
    match result {
        Ok(()) => SUCCESS,
        Err(code) => code,
    }
}

/// Writes an output.
///
/// # Safety
/// `to` is null or writable.
unsafe fn put<T>(to: *mut T, value: T) -> Result<(), c_int> {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: as the caller promises.
    unsafe { to.write(value) };
    Ok(())
}

fn device(book: &State, device: c_int) -> Result<(&crate::state::Gpu, u32), c_int> {
    let index = u32::try_from(device).map_err(|_| INVALID_DEVICE)?;
    usize::try_from(index)
        .ok()
        .and_then(|at| book.gpus.get(at))
        .map(|gpu| (gpu, index))
        .ok_or(INVALID_DEVICE)
}

fn capability(book: &State, gpu: &crate::state::Gpu) -> (c_int, c_int) {
    book.cuda.capability.unwrap_or(match gpu.architecture {
        Some(7) => (8, 0),
        Some(8) => (8, 9),
        Some(10) => (10, 0),
        _ => (9, 0),
    })
}

macro_rules! exports {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) $body:block)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        $(#[$doc])*
        ///
        /// # Safety
        /// As cuda.h says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> c_int {
            let body = || -> Result<(), c_int> { $body };
            code(body())
        }
    )*};
}

exports! {
    fn cuInit(_flags: c_uint) {
        let book = enter("cuInit", None)?;
        if book.cuda.init != SUCCESS {
            return Err(book.cuda.init);
        }
        if book.gpus.is_empty() {
            return Err(NO_DEVICE);
        }
        INITIALISED.store(1, Ordering::SeqCst);
        Ok(())
    }

    fn cuDriverGetVersion(to: *mut c_int) {
        let book = enter("cuDriverGetVersion", None)?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, book.cuda_version) }
    }

    fn cuDeviceGetCount(to: *mut c_int) {
        let book = enter("cuDeviceGetCount", None)?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, c_int::try_from(book.gpus.len()).unwrap_or(0)) }
    }

    fn cuDeviceGetByPCIBusId(to: *mut c_int, address: *const c_char) {
        let book = enter("cuDeviceGetByPCIBusId", None)?;
        if address.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller gives terminated text.
        let address = unsafe { CStr::from_ptr(address) }.to_string_lossy().to_ascii_lowercase();
        let found = book
            .gpus
            .iter()
            .position(|gpu| address.ends_with(gpu.pci.trim_start_matches("0000")))
            .and_then(|at| c_int::try_from(at).ok())
            .ok_or(INVALID_DEVICE)?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, found) }
    }

    fn cuDeviceGetName(to: *mut c_char, room: c_int, of: c_int) {
        let book = enter("cuDeviceGetName", u32::try_from(of).ok())?;
        let (gpu, _) = device(&book, of)?;
        let name = gpu.name.as_deref().unwrap_or("GPU");
        let room = usize::try_from(room).unwrap_or(0);
        // SAFETY: the caller gives `room` live bytes.
        match unsafe { fault::put_text(to.cast(), room, Some(name)) } {
            0 => Ok(()),
            _ => Err(INVALID_VALUE),
        }
    }

    fn cuDeviceGetAttribute(to: *mut c_int, attribute: c_int, of: c_int) {
        let book = enter("cuDeviceGetAttribute", u32::try_from(of).ok())?;
        let (gpu, _) = device(&book, of)?;
        let value = match attribute {
            16 => c_int::try_from(book.cuda.multiprocessors).unwrap_or(0),
            38 => c_int::try_from(book.cuda.cache_bytes).unwrap_or(0),
            75 => capability(&book, gpu).0,
            76 => capability(&book, gpu).1,
            _ => return Err(INVALID_VALUE),
        };
        // SAFETY: the caller gives a live output.
        unsafe { put(to, value) }
    }

    fn cuDeviceTotalMem_v2(to: *mut usize, of: c_int) {
        let book = enter("cuDeviceTotalMem_v2", u32::try_from(of).ok())?;
        device(&book, of)?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, usize::try_from(book.cuda.memory_bytes).unwrap_or(0)) }
    }

    fn cuDeviceCanAccessPeer(to: *mut c_int, of: c_int, peer: c_int) {
        let book = enter("cuDeviceCanAccessPeer", u32::try_from(of).ok())?;
        let can = book.cuda.peers && of != peer;
        device(&book, peer)?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, c_int::from(can)) }
    }

    fn cuCtxCreate_v2(to: *mut *mut c_void, _flags: c_uint, of: c_int) {
        let book = enter("cuCtxCreate_v2", u32::try_from(of).ok())?;
        let (_, index) = device(&book, of)?;
        gpus::all().entry(index).or_default();
        CURRENT.set(Some(index));
        // SAFETY: the caller gives a live output.
        unsafe { put(to, handle(usize::try_from(index).unwrap_or(0) + 1)) }
    }

    fn cuCtxDestroy_v2(context: *mut c_void) {
        let index = index_of(context).ok_or(INVALID_CONTEXT)?;
        enter("cuCtxDestroy_v2", Some(index))?;
        if let Some(gpu) = gpus::all().remove(&index) {
            gpu.allocations.into_iter().for_each(gpus::give_back);
        }
        CURRENT.set(None);
        Ok(())
    }

    fn cuCtxSetCurrent(context: *mut c_void) {
        let index = index_of(context).ok_or(INVALID_CONTEXT)?;
        enter("cuCtxSetCurrent", Some(index))?;
        CURRENT.set(Some(index));
        Ok(())
    }

    fn cuCtxEnablePeerAccess(peer: *mut c_void, _flags: c_uint) {
        let (book, gpu) = enter_current("cuCtxEnablePeerAccess")?;
        let peer = index_of(peer).ok_or(INVALID_CONTEXT)?;
        if book.cuda.peers && peer != gpu {
            Ok(())
        } else {
            Err(PEER_ACCESS_UNSUPPORTED)
        }
    }

    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let (book, index) = enter_current("cuMemGetInfo_v2")?;
        let all = book.cuda.memory_bytes;
        let used = gpus::all().get(&index).map_or(0, gpus::Gpu::used);
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(0);
        // SAFETY: the caller gives live outputs.
        unsafe {
            put(free, size(all.saturating_sub(used)))?;
            put(total, size(all))
        }
    }

    fn cuMemAlloc_v2(to: *mut u64, bytes: usize) {
        let (book, index) = enter_current("cuMemAlloc_v2")?;
        let mut gpus = gpus::all();
        let gpu = gpus.get_mut(&index).ok_or(INVALID_CONTEXT)?;
        let most = book.cuda.scarce_after.unwrap_or(book.cuda.memory_bytes);
        if bytes == 0 || gpu.used() + bytes as u64 > most {
            return Err(if bytes == 0 { INVALID_VALUE } else { OUT_OF_MEMORY });
        }
        let taken = gpus::take(bytes as u64).ok_or(OUT_OF_MEMORY)?;
        gpu.allocations.push(taken);
        // SAFETY: the caller gives a live output.
        unsafe { put(to, taken.address) }
    }

    fn cuMemFree_v2(address: u64) {
        let (_, index) = enter_current("cuMemFree_v2")?;
        let mut gpus = gpus::all();
        let gpu = gpus.get_mut(&index).ok_or(INVALID_CONTEXT)?;
        let at = gpu.allocations.iter().position(|one| one.address == address);
        gpus::give_back(gpu.allocations.remove(at.ok_or(INVALID_VALUE)?));
        Ok(())
    }

    fn cuMemHostAlloc(to: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        enter_current("cuMemHostAlloc")?;
        // SAFETY: a size that is not zero; the allocator's own alignment is sixteen.
        let memory = unsafe { libc::malloc(bytes.max(1)) };
        if memory.is_null() {
            return Err(OUT_OF_MEMORY);
        }
        // SAFETY: the caller gives a live output.
        unsafe { put(to, memory) }
    }

    fn cuMemFreeHost(memory: *mut c_void) {
        enter_current("cuMemFreeHost")?;
        // SAFETY: given by `cuMemHostAlloc`.
        unsafe { libc::free(memory) };
        Ok(())
    }

    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) {
        copy("cuMemcpyHtoD_v2", to, from.expose_provenance() as u64, bytes, to)
    }

    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) {
        let to = to.expose_provenance() as u64;
        copy("cuMemcpyDtoH_v2", to, from, bytes, to)
    }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, _stream: *mut c_void) {
        copy("cuMemcpyHtoDAsync_v2", to, from.expose_provenance() as u64, bytes, to)
    }

    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, _stream: *mut c_void) {
        let to = to.expose_provenance() as u64;
        copy("cuMemcpyDtoHAsync_v2", to, from, bytes, to)
    }

    fn cuMemcpyPeerAsync(
        to: u64,
        _target: *mut c_void,
        from: u64,
        _source: *mut c_void,
        bytes: usize,
        _stream: *mut c_void
    ) {
        copy("cuMemcpyPeerAsync", to, from, bytes, to)
    }

    fn cuMemsetD8Async(to: u64, value: u8, bytes: usize, _stream: *mut c_void) {
        let (book, index) = enter_current("cuMemsetD8Async")?;
        let at = std::ptr::with_exposed_provenance_mut::<u8>(usize::try_from(to).unwrap_or(0));
        // SAFETY: the caller gives an address of as many bytes that it took.
        unsafe { std::ptr::write_bytes(at, value, bytes) };
        if let Some(gpu) = gpus::all().get(&index) {
            faults::settle(&book, gpu, index);
        }
        Ok(())
    }

    fn cuStreamCreate(to: *mut *mut c_void, _flags: c_uint) {
        enter_current("cuStreamCreate")?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, handle(NEXT.fetch_add(1, Ordering::SeqCst))) }
    }

    fn cuStreamDestroy_v2(_stream: *mut c_void) {
        enter_current("cuStreamDestroy_v2").map(|_| ())
    }

    fn cuStreamWaitEvent(_stream: *mut c_void, _event: *mut c_void, _flags: c_uint) {
        enter_current("cuStreamWaitEvent").map(|_| ())
    }

    fn cuEventCreate(to: *mut *mut c_void, _flags: c_uint) {
        let (_, index) = enter_current("cuEventCreate")?;
        let event = NEXT.fetch_add(1, Ordering::SeqCst);
        events().insert(event, (index, None));
        // SAFETY: the caller gives a live output.
        unsafe { put(to, handle(event)) }
    }

    fn cuEventRecord(event: *mut c_void, _stream: *mut c_void) {
        let (_, index) = enter_current("cuEventRecord")?;
        let when = gpus::all()
            .get(&index)
            .filter(|gpu| !gpu.hung)
            .map(|gpu| gpu.nanoseconds);
        *events().get_mut(&number(event)).ok_or(INVALID_HANDLE)? = (index, when);
        Ok(())
    }

    fn cuEventQuery(event: *mut c_void) {
        enter_current("cuEventQuery")?;
        let (_, when) = *events().get(&number(event)).ok_or(INVALID_HANDLE)?;
        when.map(|_| ()).ok_or(NOT_READY)
    }

    fn cuEventElapsedTime(to: *mut f32, from: *mut c_void, until: *mut c_void) {
        enter_current("cuEventElapsedTime")?;
        let events = events();
        let when = |event| events.get(&number(event)).and_then(|(_, when)| *when);
        let (from, until) = (when(from).ok_or(NOT_READY)?, when(until).ok_or(NOT_READY)?);
        let time = std::time::Duration::from_nanos(until.saturating_sub(from));
        // SAFETY: the caller gives a live output.
        unsafe { put(to, time.as_secs_f32() * 1000.0) }
    }

    fn cuEventDestroy_v2(event: *mut c_void) {
        enter_current("cuEventDestroy_v2")?;
        events().remove(&number(event)).map(|_| ()).ok_or(INVALID_HANDLE)
    }

    fn cuModuleLoadData(to: *mut *mut c_void, image: *const c_void) {
        let (_, index) = enter_current("cuModuleLoadData")?;
        // SAFETY: every image has four bytes.
        let head = unsafe { image.cast::<[u8; 4]>().read_unaligned() };
        if &head != b"\x7fELF" && &head[..2] != b"//" {
            return Err(INVALID_IMAGE);
        }
        // SAFETY: the caller gives a live output.
        unsafe { put(to, handle(usize::try_from(index).unwrap_or(0) + 1)) }
    }

    fn cuModuleUnload(_module: *mut c_void) {
        enter_current("cuModuleUnload").map(|_| ())
    }

    fn cuModuleGetFunction(to: *mut *mut c_void, module: *mut c_void, name: *const c_char) {
        let index = index_of(module).ok_or(INVALID_HANDLE)?;
        let book = enter("cuModuleGetFunction", Some(index))?;
        // SAFETY: the caller gives terminated text.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let (gpu, _) = device(&book, c_int::try_from(index).unwrap_or(0))?;
        let capability = capability(&book, gpu);
        // As the images have it.
        let has = match name.as_ref() {
            "gemm_hopper_bf16" | "gemm_hopper_e4m3" => capability == (9, 0),
            "gemm_mma_e4m3" => matches!(capability, (8, 9) | (12, 0)),
            _ => true,
        };
        let kernel = emulator::named(&name).filter(|_| has).ok_or(NOT_FOUND)?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, handle(usize::try_from(kernel.index).unwrap_or(0) + 1)) }
    }

    fn cuFuncSetAttribute(_function: *mut c_void, _attribute: c_int, _value: c_int) {
        enter_current("cuFuncSetAttribute").map(|_| ())
    }

    fn cuFuncGetAttribute(to: *mut c_int, _attribute: c_int, _function: *mut c_void) {
        enter_current("cuFuncGetAttribute")?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, 0) }
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        to: *mut c_int,
        _function: *mut c_void,
        _threads: c_int,
        _shared: usize
    ) {
        enter_current("cuOccupancyMaxActiveBlocksPerMultiprocessor")?;
        // SAFETY: the caller gives a live output.
        unsafe { put(to, 1) }
    }

    fn cuLaunchKernel(
        function: *mut c_void,
        blocks_x: c_uint,
        blocks_y: c_uint,
        _blocks_z: c_uint,
        threads_x: c_uint,
        _threads_y: c_uint,
        _threads_z: c_uint,
        shared: c_uint,
        _stream: *mut c_void,
        parameters: *mut *mut c_void,
        _extra: *mut *mut c_void
    ) {
        let launch = Launch {
            blocks: [blocks_x, blocks_y],
            threads: threads_x,
            shared,
            cluster: 1,
            multiprocessors: 1,
        };
        // SAFETY: the caller gives the kernel's arguments.
        unsafe { run("cuLaunchKernel", function, launch, parameters) }
    }

    fn cuLaunchKernelEx(
        config: *const Config,
        function: *mut c_void,
        parameters: *mut *mut c_void,
        _extra: *mut *mut c_void
    ) {
        // SAFETY: the caller gives a live configuration.
        let config = unsafe { config.read() };
        let mut cluster = 1;
        for at in 0..usize::try_from(config.attribute_count).unwrap_or(0) {
            // SAFETY: as many attributes are there as the configuration says.
            let attribute = unsafe { config.attributes.add(at).read() };
            if attribute.id == 4 {
                cluster = attribute.value[0];
            }
        }
        let launch = Launch {
            blocks: [config.grid[0], config.grid[1]],
            threads: config.block[0],
            shared: config.shared,
            cluster,
            multiprocessors: 1,
        };
        // SAFETY: the caller gives the kernel's arguments.
        unsafe { run("cuLaunchKernelEx", function, launch, parameters) }
    }

    fn cuTensorMapEncodeTiled(
        map: *mut c_void,
        kind: c_int,
        rank: c_uint,
        base: *mut c_void,
        sizes: *const u64,
        pitches: *const u64,
        boxes: *const c_uint,
        steps: *const c_uint,
        interleave: c_int,
        swizzle: c_int,
        _promotion: c_int,
        _fill: c_int
    ) {
        enter("cuTensorMapEncodeTiled", None)?;
        // SAFETY: two of each are there for a rank of two, one pitch less.
        let (sizes, pitch, boxes, steps) = unsafe {
            (
                sizes.cast::<[u64; 2]>().read(),
                pitches.read(),
                boxes.cast::<[u32; 2]>().read(),
                steps.cast::<[u32; 2]>().read(),
            )
        };
        // Bytes, in rows of 128 that are swizzled, as the driver demands them.
        let fits = kind == 0
            && rank == 2
            && interleave == 0
            && swizzle == 3
            && boxes[0] == 128
            && boxes[1] <= 256
            && steps == [1, 1]
            && pitch.is_multiple_of(16)
            && number(base).is_multiple_of(16)
            && number(map).is_multiple_of(64);
        if !fits {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller gives 128 writable bytes.
        unsafe { emulator::tensor_map(map, number(base) as u64, sizes, pitch, boxes) };
        Ok(())
    }
}

fn events() -> std::sync::MutexGuard<'static, Events> {
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner)
}
