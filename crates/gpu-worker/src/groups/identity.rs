//! Who the GPU is.

use std::os::raw::{c_char, c_uint};

use cupel_model::Reading;
use cupel_model::snapshot::GpuIdentity;
use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlReturn_t};

use super::{on_off, within};
use crate::calls::{Gpu, get, reading, reading_of};
use crate::text;

/// Longest text that NVML documents for these calls (`NVML_DEVICE_NAME_V2_BUFFER_SIZE`).
const TEXT_BUFFER: usize = 96;

/// Words of the CPU mask: 1024 CPUs.
const CPU_WORDS: usize = 16;

/// Sockets of a baseboard are few; a larger id is none.
const MODULE_ID_MAX: u32 = 255;

pub fn read(gpu: &Gpu<'_>) -> GpuIdentity {
    let library = gpu.library();
    let mig = gpu.raw(
        "nvmlDeviceGetMigMode",
        &library.nvmlDeviceGetMigMode,
        |function, device| {
            let mut modes = (0, 0);
            // SAFETY: the signature is the bindings'; both outputs are live.
            let code = unsafe { function(device, &raw mut modes.0, &raw mut modes.1) };
            (code, modes)
        },
    );
    let (mig_mode, mig_mode_pending) = match mig {
        Ok((current, pending)) => (Ok(current), Ok(pending)),
        Err(refusal) => (Err(refusal.clone()), Err(refusal)),
    };
    let cpu_affinity = gpu.raw(
        "nvmlDeviceGetCpuAffinity",
        &library.nvmlDeviceGetCpuAffinity,
        |function, device| {
            let mut words = [0; CPU_WORDS];
            // SAFETY: the signature is the bindings'; the size is the live array's, in words.
            let code = unsafe { function(device, 16, words.as_mut_ptr()) };
            (code, words)
        },
    );
    GpuIdentity {
        name: text(gpu, "nvmlDeviceGetName", &library.nvmlDeviceGetName),
        uuid: text(gpu, "nvmlDeviceGetUUID", &library.nvmlDeviceGetUUID),
        serial: text(gpu, "nvmlDeviceGetSerial", &library.nvmlDeviceGetSerial),
        module_id: reading(within(
            "nvmlDeviceGetModuleId",
            get!(gpu, nvmlDeviceGetModuleId() -> 0),
            MODULE_ID_MAX,
            "as a module id",
        )),
        part_number: text(
            gpu,
            "nvmlDeviceGetBoardPartNumber",
            &library.nvmlDeviceGetBoardPartNumber,
        ),
        board_id: reading(gpu.wrapped("nvmlDeviceGetBoardId", |device| device.board_id())),
        architecture: reading_of(get!(gpu, nvmlDeviceGetArchitecture() -> 0), architecture),
        vbios_version: text(
            gpu,
            "nvmlDeviceGetVbiosVersion",
            &library.nvmlDeviceGetVbiosVersion,
        ),
        inforom_version: text(
            gpu,
            "nvmlDeviceGetInforomImageVersion",
            &library.nvmlDeviceGetInforomImageVersion,
        ),
        gsp_version: gsp_version(gpu),
        persistence_mode: reading(on_off(
            "nvmlDeviceGetPersistenceMode",
            get!(gpu, nvmlDeviceGetPersistenceMode() -> 0),
        )),
        compute_mode: reading(get!(gpu, nvmlDeviceGetComputeMode() -> 0)).and_then(compute_mode),
        mig_mode: reading(on_off("nvmlDeviceGetMigMode", mig_mode)),
        mig_mode_pending: reading(on_off("nvmlDeviceGetMigMode", mig_mode_pending)),
        cpu_affinity: reading(cpu_affinity).and_then(|words| {
            if words.iter().all(|word| *word == 0) {
                Reading::failed("nvmlDeviceGetCpuAffinity: no CPU at all")
            } else {
                Reading::Value(text::cpu_list(&words))
            }
        }),
    }
}

type TextFunction = unsafe extern "C" fn(nvmlDevice_t, *mut c_char, c_uint) -> nvmlReturn_t;

fn text<E>(gpu: &Gpu<'_>, call: &'static str, symbol: &Result<TextFunction, E>) -> Reading<String> {
    let told = gpu.raw(call, symbol, |function, device| {
        let mut buffer = [0_u8; TEXT_BUFFER];
        // SAFETY: the signature is the bindings'; 96 is the length of the live buffer.
        let code = unsafe { function(device, buffer.as_mut_ptr().cast(), 96) };
        (code, buffer)
    });
    reading(told).and_then(|buffer| text::read(call, &buffer))
}

/// This call takes no length: the header promises at most 64 bytes.
fn gsp_version(gpu: &Gpu<'_>) -> Reading<String> {
    let call = "nvmlDeviceGetGspFirmwareVersion";
    let told = gpu.raw(
        call,
        &gpu.library().nvmlDeviceGetGspFirmwareVersion,
        |function, device| {
            let mut buffer = [0_u8; 4 * TEXT_BUFFER];
            // SAFETY: the signature is the bindings'; the buffer is several times what the header
            // says that the call may write (`NVML_GSP_FIRMWARE_VERSION_BUF_SIZE`).
            let code = unsafe { function(device, buffer.as_mut_ptr().cast()) };
            (code, buffer)
        },
    );
    reading(told).and_then(|buffer| text::read(call, &buffer))
}

/// `NVML_DEVICE_ARCH_*`.
fn architecture(code: u32) -> String {
    match code {
        2 => "kepler",
        3 => "maxwell",
        4 => "pascal",
        5 => "volta",
        6 => "turing",
        7 => "ampere",
        8 => "ada",
        9 => "hopper",
        10 => "blackwell",
        other => return format!("unknown-{other}"),
    }
    .to_owned()
}

/// `nvmlComputeMode_t`.
fn compute_mode(code: u32) -> Reading<String> {
    let word = match code {
        0 => "default",
        1 => "exclusive-thread",
        2 => "prohibited",
        3 => "exclusive-process",
        other => {
            return Reading::failed(format!(
                "nvmlDeviceGetComputeMode: {other} is no compute mode"
            ));
        }
    };
    Reading::Value(word.to_owned())
}
