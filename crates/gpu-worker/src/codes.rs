//! NVML's return codes: their names, their words, and which of them mean "not offered".
//!
//! The words are the ones that `nvmlErrorString` gives; that function is not called, so that
//! telling of an error cannot hang.

use nvml_wrapper_sys::bindings::nvmlReturn_t;

/// Success.
pub const SUCCESS: nvmlReturn_t = 0;
/// An argument was invalid; for a field value: the driver does not know the field.
pub const INVALID_ARGUMENT: nvmlReturn_t = 2;
/// Not offered by this GPU in its present mode.
pub const NOT_SUPPORTED: nvmlReturn_t = 3;
/// The buffer is too small.
pub const INSUFFICIENT_SIZE: nvmlReturn_t = 7;
/// Nothing happened within the time given.
pub const TIMEOUT: nvmlReturn_t = 10;
/// The kernel driver has no such function.
pub const FUNCTION_NOT_FOUND: nvmlReturn_t = 13;
/// The GPU fell off the bus or cannot be reached.
pub const GPU_IS_LOST: nvmlReturn_t = 15;
/// vGPU with ECC.
const VGPU_ECC_NOT_SUPPORTED: nvmlReturn_t = 22;
/// The library does not know this version of a structure.
pub const ARGUMENT_VERSION_MISMATCH: nvmlReturn_t = 25;
/// The function is there no more.
const DEPRECATED: nvmlReturn_t = 26;

/// Whether the code means that GPU or driver do not offer the value.
pub fn is_unsupported(code: nvmlReturn_t) -> bool {
    matches!(
        code,
        NOT_SUPPORTED
            | FUNCTION_NOT_FOUND
            | VGPU_ECC_NOT_SUPPORTED
            | ARGUMENT_VERSION_MISMATCH
            | DEPRECATED
    )
}

/// The name of a code without its prefix, in lower case with hyphens, and the driver's words.
fn entry(code: nvmlReturn_t) -> Option<(&'static str, &'static str)> {
    Some(match code {
        0 => ("success", "Success"),
        1 => ("uninitialized", "Uninitialized"),
        2 => ("invalid-argument", "Invalid Argument"),
        3 => ("not-supported", "Not Supported"),
        4 => ("no-permission", "Insufficient Permissions"),
        5 => ("already-initialized", "Already Initialized"),
        6 => ("not-found", "Not Found"),
        7 => ("insufficient-size", "Insufficient Size"),
        8 => ("insufficient-power", "Insufficient External Power"),
        9 => ("driver-not-loaded", "Driver Not Loaded"),
        10 => ("timeout", "Timeout"),
        11 => ("irq-issue", "Interrupt Request Issue"),
        12 => ("library-not-found", "NVML Shared Library Not Found"),
        13 => ("function-not-found", "Function Not Found"),
        14 => ("corrupted-inforom", "Corrupted infoROM"),
        15 => ("gpu-is-lost", "GPU is lost"),
        16 => ("reset-required", "GPU requires reset"),
        17 => (
            "operating-system",
            "GPU access blocked by the operating system",
        ),
        18 => ("lib-rm-version-mismatch", "Driver/library version mismatch"),
        19 => ("in-use", "In use by another client"),
        20 => ("memory", "Insufficient Memory"),
        21 => ("no-data", "No data"),
        22 => ("vgpu-ecc-not-supported", "vGPU ECC is not supported"),
        23 => ("insufficient-resources", "Insufficient resources"),
        24 => ("freq-not-supported", "Frequency not supported"),
        25 => ("argument-version-mismatch", "Argument version mismatch"),
        26 => ("deprecated", "Deprecated"),
        27 => ("not-ready", "System is not in ready state"),
        28 => ("gpu-not-found", "No GPUs were found"),
        29 => ("invalid-state", "Invalid state"),
        30 => ("reset-type-not-supported", "Reset type not supported"),
        999 => ("unknown", "Unknown Error"),
        _ => return None,
    })
}

/// The name of a code: `success`, `gpu-is-lost`, or `unknown-N`.
pub fn name(code: nvmlReturn_t) -> String {
    entry(code).map_or_else(|| format!("unknown-{code}"), |(name, _)| name.to_owned())
}

/// The driver's words, and the code.
pub fn words(code: nvmlReturn_t) -> String {
    match entry(code) {
        Some((_, words)) => format!("{words} (NVML code {code})"),
        None => format!("unknown error (NVML code {code})"),
    }
}
