//! Who a GPU is, its memory, its modes.

use std::os::raw::{c_char, c_uint, c_ulong};

use nvml_wrapper_sys::bindings::{nvmlMemory_t, nvmlMemory_v2_t, nvmlReturn_t};

use super::values;
use crate::fault::{
    ARGUMENT_VERSION_MISMATCH, INVALID_ARGUMENT, NOT_SUPPORTED, Output, SUCCESS, on_gpu, put,
    put_text,
};
use crate::state::Modes;

macro_rules! texts {
    ($($function:ident = $field:ident;)*) => {$(
        #[doc = concat!("`", stringify!($function), "`.")]
        ///
        /// # Safety
        /// As NVML's header says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(
            device: *const (),
            to: *mut c_char,
            room: c_uint,
        ) -> nvmlReturn_t {
            let bytes = usize::try_from(room).unwrap_or(0);
            on_gpu(stringify!($function), device, &[Output::many(to, bytes)], |gpu| {
                // SAFETY: the caller of the C function gives `room` live bytes.
                unsafe { put_text(to.cast(), bytes, gpu.$field.as_deref()) }
            })
        }
    )*};
}

texts! {
    nvmlDeviceGetName = name;
    nvmlDeviceGetUUID = uuid;
    nvmlDeviceGetSerial = serial;
    nvmlDeviceGetBoardPartNumber = part_number;
    nvmlDeviceGetVbiosVersion = vbios_version;
    nvmlDeviceGetInforomImageVersion = inforom_version;
}

/// Room that the header promises for a GSP firmware version.
const GSP_ROOM: usize = 64;

/// `nvmlDeviceGetGspFirmwareVersion`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGspFirmwareVersion(
    device: *const (),
    to: *mut c_char,
) -> nvmlReturn_t {
    let outputs = [Output::many(to, GSP_ROOM)];
    on_gpu("nvmlDeviceGetGspFirmwareVersion", device, &outputs, |gpu| {
        // SAFETY: the caller of the C function gives as many bytes as the header wants.
        unsafe { put_text(to.cast(), GSP_ROOM, gpu.gsp_version.as_deref()) }
    })
}

values! {
    nvmlDeviceGetMinorNumber() -> c_uint = |gpu| gpu.module_id;
    nvmlDeviceGetModuleId() -> c_uint = |gpu| gpu.module_id;
    nvmlDeviceGetBoardId() -> c_uint = |gpu| gpu.board_id;
    nvmlDeviceGetArchitecture() -> c_uint = |gpu| gpu.architecture;
    nvmlDeviceGetPersistenceMode() -> c_uint = |gpu| gpu.persistence_mode;
    nvmlDeviceGetComputeMode() -> c_uint = |gpu| gpu.compute_mode;
    nvmlDeviceGetMemoryInfo() -> nvmlMemory_t = |gpu| gpu.memory.map(|memory| nvmlMemory_t {
        total: memory.total,
        free: memory.total.saturating_sub(memory.reserved + memory.used),
        used: memory.reserved + memory.used,
    });
}

macro_rules! modes {
    ($($function:ident = $field:ident;)*) => {$(
        #[doc = concat!("`", stringify!($function), "`.")]
        ///
        /// # Safety
        /// As NVML's header says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(
            device: *const (),
            current: *mut c_uint,
            pending: *mut c_uint,
        ) -> nvmlReturn_t {
            let outputs = [Output::one(current), Output::one(pending)];
            on_gpu(stringify!($function), device, &outputs, |gpu| {
                let modes: Option<Modes> = gpu.$field;
                // SAFETY: the caller of the C function gives two live outputs.
                unsafe {
                    match put(current, modes.map(|modes| modes.current)) {
                        SUCCESS => put(pending, modes.map(|modes| modes.pending)),
                        code => code,
                    }
                }
            })
        }
    )*};
}

modes! {
    nvmlDeviceGetMigMode = mig_mode;
    nvmlDeviceGetEccMode = ecc_mode;
}

/// `nvmlDeviceGetCpuAffinity`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCpuAffinity(
    device: *const (),
    words: c_uint,
    to: *mut c_ulong,
) -> nvmlReturn_t {
    let room = usize::try_from(words).unwrap_or(0);
    on_gpu(
        "nvmlDeviceGetCpuAffinity",
        device,
        &[Output::many(to, room)],
        |gpu| {
            let Some(mask) = &gpu.cpu_affinity else {
                return NOT_SUPPORTED;
            };
            if to.is_null() {
                return INVALID_ARGUMENT;
            }
            for index in 0..room {
                let word = mask.get(index).copied().unwrap_or(0);
                // SAFETY: the caller of the C function gives as many words.
                unsafe { to.add(index).write(word) };
            }
            SUCCESS
        },
    )
}

/// `nvmlDeviceGetMemoryInfo_v2`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: *const (),
    to: *mut nvmlMemory_v2_t,
) -> nvmlReturn_t {
    on_gpu(
        "nvmlDeviceGetMemoryInfo_v2",
        device,
        &[Output::one(to)],
        |gpu| {
            if to.is_null() {
                return INVALID_ARGUMENT;
            }
            // SAFETY: the caller of the C function gives a live structure.
            let version = unsafe { (*to).version };
            if version != 40 | 2 << 24 {
                return ARGUMENT_VERSION_MISMATCH;
            }
            let info = gpu.memory.map(|memory| nvmlMemory_v2_t {
                version,
                total: memory.total,
                reserved: memory.reserved,
                free: memory.total.saturating_sub(memory.reserved + memory.used),
                used: memory.used,
            });
            // SAFETY: as above.
            unsafe { put(to, info) }
        },
    )
}
