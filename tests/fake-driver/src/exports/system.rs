//! Initialising, versions, counting, handles.

use std::os::raw::{c_char, c_int, c_uint};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nvml_wrapper_sys::bindings::{nvmlPciInfo_t, nvmlReturn_t};

use crate::fault::{
    INITIALISED, INVALID_ARGUMENT, NOT_FOUND, Output, SUCCESS, UNINITIALIZED, enter, handle,
    on_gpu, put, put_text,
};
use crate::state::{Gpu, State};

fn initialise(call: &str) -> nvmlReturn_t {
    match enter(call, None, &[]) {
        Err(code) => code,
        Ok(book) if book.init != SUCCESS => book.init,
        Ok(_) => {
            INITIALISED.fetch_add(1, Ordering::SeqCst);
            SUCCESS
        }
    }
}

/// A call on the whole system, refused where the library is not initialised.
pub(super) fn on_system(
    call: &str,
    outputs: &[Output],
    answer: impl FnOnce(Arc<State>) -> nvmlReturn_t,
) -> nvmlReturn_t {
    match enter(call, None, outputs) {
        Err(code) => code,
        Ok(_) if INITIALISED.load(Ordering::SeqCst) == 0 => UNINITIALIZED,
        Ok(book) => answer(book),
    }
}

/// As [`on_system`], for what needs no initialisation.
fn uninitialised(
    call: &str,
    outputs: &[Output],
    answer: impl FnOnce(Arc<State>) -> nvmlReturn_t,
) -> nvmlReturn_t {
    enter(call, None, outputs).map_or_else(|code| code, answer)
}

/// `nvmlInit_v2`.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    initialise("nvmlInit_v2")
}

/// `nvmlInit`.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit() -> nvmlReturn_t {
    initialise("nvmlInit")
}

/// `nvmlInitWithFlags`.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> nvmlReturn_t {
    initialise("nvmlInitWithFlags")
}

/// `nvmlShutdown`.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    on_system("nvmlShutdown", &[], |_| {
        INITIALISED.fetch_sub(1, Ordering::SeqCst);
        SUCCESS
    })
}

/// `nvmlErrorString`.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(code: nvmlReturn_t) -> *const c_char {
    match code {
        0 => c"Success",
        3 => c"Not Supported",
        15 => c"GPU is lost",
        18 => c"Driver/library version mismatch",
        _ => c"Unknown Error",
    }
    .as_ptr()
}

macro_rules! versions {
    ($($function:ident = $field:ident by $enter:ident;)*) => {$(
        #[doc = concat!("`", stringify!($function), "`.")]
        ///
        /// # Safety
        /// As NVML's header says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(to: *mut c_char, room: c_uint) -> nvmlReturn_t {
            let bytes = usize::try_from(room).unwrap_or(0);
            $enter(stringify!($function), &[Output::many(to, bytes)], |book| {
                // SAFETY: the caller of the C function gives `room` live bytes.
                unsafe { put_text(to.cast(), bytes, Some(&book.$field)) }
            })
        }
    )*};
}

versions! {
    nvmlSystemGetDriverVersion = driver_version by on_system;
    // The real library's needs no initialisation either: it is the one that tells its version where
    // it refuses the loaded kernel module.
    nvmlSystemGetNVMLVersion = nvml_version by uninitialised;
}

macro_rules! system_values {
    ($($function:ident -> $output:ty = $answer:expr;)*) => {$(
        #[doc = concat!("`", stringify!($function), "`.")]
        ///
        /// # Safety
        /// As NVML's header says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(to: *mut $output) -> nvmlReturn_t {
            on_system(stringify!($function), &[Output::one(to)], |book| {
                let answer: fn(&State) -> Option<$output> = $answer;
                // SAFETY: the caller of the C function gives a live output.
                unsafe { put(to, answer(&book)) }
            })
        }
    )*};
}

system_values! {
    nvmlSystemGetCudaDriverVersion -> c_int = |book| Some(book.cuda_version);
    nvmlSystemGetCudaDriverVersion_v2 -> c_int = |book| Some(book.cuda_version);
    nvmlDeviceGetCount -> c_uint = |book| u32::try_from(book.gpus.len()).ok();
    nvmlDeviceGetCount_v2 -> c_uint = |book| u32::try_from(book.gpus.len()).ok();
}

/// Gives the handle of the GPU that `wanted` picks, or the code that it gives instead.
fn give_handle(
    call: &str,
    index: Option<u32>,
    to: *mut *mut (),
    wanted: impl Fn(&Gpu) -> bool,
) -> nvmlReturn_t {
    let book = match enter(call, index, &[Output::one(to)]) {
        Ok(book) => book,
        Err(code) => return code,
    };
    if INITIALISED.load(Ordering::SeqCst) == 0 {
        return UNINITIALIZED;
    }
    let found = match index {
        Some(index) => usize::try_from(index).ok().and_then(|at| {
            let gpu = book.gpus.get(at)?;
            Some((index, gpu))
        }),
        None => (0_u32..).zip(&book.gpus).find(|(_, gpu)| wanted(gpu)),
    };
    match found {
        Some((_, gpu)) if gpu.handle != SUCCESS => gpu.handle,
        // SAFETY: the caller of the C function gives a live output.
        Some((index, _)) => unsafe { put(to, Some(handle(index))) },
        None if index.is_some() => INVALID_ARGUMENT,
        None => NOT_FOUND,
    }
}

/// `nvmlDeviceGetHandleByIndex_v2`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    to: *mut *mut (),
) -> nvmlReturn_t {
    give_handle("nvmlDeviceGetHandleByIndex_v2", Some(index), to, |_| true)
}

/// `nvmlDeviceGetHandleByIndex`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex(
    index: c_uint,
    to: *mut *mut (),
) -> nvmlReturn_t {
    give_handle("nvmlDeviceGetHandleByIndex", Some(index), to, |_| true)
}

macro_rules! handles {
    ($($function:ident = $matches:expr;)*) => {$(
        #[doc = concat!("`", stringify!($function), "`.")]
        ///
        /// # Safety
        /// As NVML's header says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(key: *const c_char, to: *mut *mut ()) -> nvmlReturn_t {
            if key.is_null() {
                return INVALID_ARGUMENT;
            }
            // SAFETY: the caller of the C function gives terminated text.
            let key = unsafe { std::ffi::CStr::from_ptr(key) };
            let key = key.to_string_lossy();
            let matches: fn(&Gpu, &str) -> bool = $matches;
            give_handle(stringify!($function), None, to, |gpu| matches(gpu, &key))
        }
    )*};
}

handles! {
    nvmlDeviceGetHandleByUUID = |gpu, key| gpu.uuid.as_deref() == Some(key);
    nvmlDeviceGetHandleBySerial = |gpu, key| gpu.serial.as_deref() == Some(key);
    nvmlDeviceGetHandleByPciBusId_v2 = |gpu, key| key
        .to_ascii_lowercase()
        .trim_start_matches("0000")
        .ends_with(gpu.pci.trim_start_matches("0000"));
}

/// `nvmlDeviceGetPciInfo_v3`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(
    device: *const (),
    to: *mut nvmlPciInfo_t,
) -> nvmlReturn_t {
    on_gpu(
        "nvmlDeviceGetPciInfo_v3",
        device,
        &[Output::one(to)],
        |gpu| {
            let info = pci_info(&gpu.pci).map(|info| nvmlPciInfo_t {
                pciDeviceId: gpu.pci_device_id,
                pciSubSystemId: gpu.pci_subsystem_id,
                ..info
            });
            // SAFETY: the caller of the C function gives a live output.
            unsafe { put(to, info) }
        },
    )
}

/// The description of `dddd:bb:dd.f`; `None` where the answer book has no such address.
pub fn pci_info(address: &str) -> Option<nvmlPciInfo_t> {
    let (domain, rest) = address.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let hex = |text| u32::from_str_radix(text, 16).ok();
    let (domain, bus, device) = (hex(domain)?, hex(bus)?, hex(device)?);
    let mut info = nvmlPciInfo_t {
        busIdLegacy: [0; 16],
        domain,
        bus,
        device,
        pciDeviceId: 0,
        pciSubSystemId: 0,
        busId: [0; 32],
    };
    write(
        &mut info.busIdLegacy,
        &format!("{domain:04X}:{bus:02X}:{device:02X}.{function}"),
    );
    write(
        &mut info.busId,
        &format!("{domain:08X}:{bus:02X}:{device:02X}.{function}"),
    );
    Some(info)
}

fn write(to: &mut [c_char], text: &str) {
    let room = to.len() - 1;
    for (to, from) in to.iter_mut().zip(text.bytes()).take(room) {
        *to = c_char::from_ne_bytes([from]);
    }
}
