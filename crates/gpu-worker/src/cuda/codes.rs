//! CUDA's results: their names, and what they mean for whoever has to act.
//!
//! The names are cuda.h's; `cuGetErrorName` is not called, so that telling of an error cannot hang.

use cupel_model::worker_burnin::BurnErrorKind;

/// Success.
pub const SUCCESS: i32 = 0;
/// An event has not happened yet.
pub const NOT_READY: i32 = 600;
/// A peer's memory is already mapped.
pub const PEER_ACCESS_ALREADY_ENABLED: i32 = 704;
/// The image has no such function.
pub const NOT_FOUND: i32 = 500;

use BurnErrorKind::{
    FabricNotReady, Hung, Image, Lost, NoDriver, NoGpu, NvlinkError, Other, OutOfMemory,
    UncorrectableEcc,
};

/// By number: name without `CUDA_ERROR_`, and meaning.
const CODES: [(i32, &str, BurnErrorKind); 98] = [
    (1, "INVALID_VALUE", Other),
    (2, "OUT_OF_MEMORY", OutOfMemory),
    (3, "NOT_INITIALIZED", NoDriver),
    (4, "DEINITIALIZED", Other),
    (5, "PROFILER_DISABLED", Other),
    (6, "PROFILER_NOT_INITIALIZED", Other),
    (7, "PROFILER_ALREADY_STARTED", Other),
    (8, "PROFILER_ALREADY_STOPPED", Other),
    (34, "STUB_LIBRARY", NoDriver),
    (36, "CALL_REQUIRES_NEWER_DRIVER", NoDriver),
    (46, "DEVICE_UNAVAILABLE", Lost),
    (100, "NO_DEVICE", NoGpu),
    (101, "INVALID_DEVICE", NoGpu),
    (102, "DEVICE_NOT_LICENSED", Other),
    (200, "INVALID_IMAGE", Image),
    (201, "INVALID_CONTEXT", Lost),
    (202, "CONTEXT_ALREADY_CURRENT", Other),
    (205, "MAP_FAILED", Other),
    (206, "UNMAP_FAILED", Other),
    (207, "ARRAY_IS_MAPPED", Other),
    (208, "ALREADY_MAPPED", Other),
    (209, "NO_BINARY_FOR_GPU", Image),
    (210, "ALREADY_ACQUIRED", Other),
    (211, "NOT_MAPPED", Other),
    (212, "NOT_MAPPED_AS_ARRAY", Other),
    (213, "NOT_MAPPED_AS_POINTER", Other),
    (214, "ECC_UNCORRECTABLE", UncorrectableEcc),
    (215, "UNSUPPORTED_LIMIT", Other),
    (216, "CONTEXT_ALREADY_IN_USE", Other),
    (217, "PEER_ACCESS_UNSUPPORTED", Other),
    (218, "INVALID_PTX", Image),
    (219, "INVALID_GRAPHICS_CONTEXT", Other),
    (220, "NVLINK_UNCORRECTABLE", NvlinkError),
    (221, "JIT_COMPILER_NOT_FOUND", Image),
    (222, "UNSUPPORTED_PTX_VERSION", Image),
    (223, "JIT_COMPILATION_DISABLED", Image),
    (224, "UNSUPPORTED_EXEC_AFFINITY", Other),
    (225, "UNSUPPORTED_DEVSIDE_SYNC", Image),
    (226, "CONTAINED", UncorrectableEcc),
    (300, "INVALID_SOURCE", Image),
    (301, "FILE_NOT_FOUND", Other),
    (302, "SHARED_OBJECT_SYMBOL_NOT_FOUND", NoDriver),
    (303, "SHARED_OBJECT_INIT_FAILED", NoDriver),
    (304, "OPERATING_SYSTEM", Other),
    (400, "INVALID_HANDLE", Other),
    (401, "ILLEGAL_STATE", Other),
    (402, "LOSSY_QUERY", Other),
    (500, "NOT_FOUND", Image),
    (600, "NOT_READY", Other),
    (700, "ILLEGAL_ADDRESS", Lost),
    (701, "LAUNCH_OUT_OF_RESOURCES", Image),
    (702, "LAUNCH_TIMEOUT", Hung),
    (703, "LAUNCH_INCOMPATIBLE_TEXTURING", Other),
    (704, "PEER_ACCESS_ALREADY_ENABLED", Other),
    (705, "PEER_ACCESS_NOT_ENABLED", Other),
    (708, "PRIMARY_CONTEXT_ACTIVE", Other),
    (709, "CONTEXT_IS_DESTROYED", Lost),
    (710, "ASSERT", Lost),
    (711, "TOO_MANY_PEERS", Other),
    (712, "HOST_MEMORY_ALREADY_REGISTERED", Other),
    (713, "HOST_MEMORY_NOT_REGISTERED", Other),
    (714, "HARDWARE_STACK_ERROR", Lost),
    (715, "ILLEGAL_INSTRUCTION", Lost),
    (716, "MISALIGNED_ADDRESS", Lost),
    (717, "INVALID_ADDRESS_SPACE", Lost),
    (718, "INVALID_PC", Lost),
    (719, "LAUNCH_FAILED", Lost),
    (720, "COOPERATIVE_LAUNCH_TOO_LARGE", Other),
    (721, "TENSOR_MEMORY_LEAK", Other),
    (800, "NOT_PERMITTED", Other),
    (801, "NOT_SUPPORTED", Other),
    (802, "SYSTEM_NOT_READY", FabricNotReady),
    (803, "SYSTEM_DRIVER_MISMATCH", NoDriver),
    (804, "COMPAT_NOT_SUPPORTED_ON_DEVICE", NoDriver),
    (805, "MPS_CONNECTION_FAILED", Other),
    (806, "MPS_RPC_FAILURE", Other),
    (807, "MPS_SERVER_NOT_READY", Other),
    (808, "MPS_MAX_CLIENTS_REACHED", Other),
    (809, "MPS_MAX_CONNECTIONS_REACHED", Other),
    (810, "MPS_CLIENT_TERMINATED", Other),
    (811, "CDP_NOT_SUPPORTED", Other),
    (812, "CDP_VERSION_MISMATCH", Other),
    (900, "STREAM_CAPTURE_UNSUPPORTED", Other),
    (901, "STREAM_CAPTURE_INVALIDATED", Other),
    (902, "STREAM_CAPTURE_MERGE", Other),
    (903, "STREAM_CAPTURE_UNMATCHED", Other),
    (904, "STREAM_CAPTURE_UNJOINED", Other),
    (905, "STREAM_CAPTURE_ISOLATION", Other),
    (906, "STREAM_CAPTURE_IMPLICIT", Other),
    (907, "CAPTURED_EVENT", Other),
    (908, "STREAM_CAPTURE_WRONG_THREAD", Other),
    (909, "TIMEOUT", Other),
    (910, "GRAPH_EXEC_UPDATE_FAILURE", Other),
    (911, "EXTERNAL_DEVICE", Other),
    (912, "INVALID_CLUSTER_SIZE", Image),
    (913, "FUNCTION_NOT_LOADED", Image),
    (915, "INVALID_RESOURCE_CONFIGURATION", Other),
    (999, "UNKNOWN", Lost),
];

/// The name of a result, and its meaning.
pub fn meaning(code: i32) -> (String, BurnErrorKind) {
    match CODES.iter().find(|(known, _, _)| *known == code) {
        Some((_, name, kind)) => (format!("CUDA_ERROR_{name}"), *kind),
        None => (format!("CUDA result {code}"), Other),
    }
}

/// What to do about it, where that is known.
pub fn advice(code: i32) -> Option<&'static str> {
    Some(match code {
        3 => "the kernel module is not loaded, or /dev/nvidia* are missing",
        34 => "this is the toolkit's stub, not the driver",
        46 => "the GPU is in use by somebody else, or its compute mode forbids it",
        100 => "the driver sees no GPU; /dev/nvidia-uvm may be missing (nvidia-modprobe -u)",
        802 => {
            "the fabric manager has not set up the NVSwitches: is it running, of the driver's version?"
        }
        803 => {
            "the library and the kernel module are of different versions: reboot after an update"
        }
        804 => "a forward-compatibility library is in use on a GPU that does not allow it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_known_by_number_once_each() {
        assert!(CODES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(
            meaning(802),
            ("CUDA_ERROR_SYSTEM_NOT_READY".to_owned(), FabricNotReady)
        );
        assert_eq!(meaning(12345), ("CUDA result 12345".to_owned(), Other));
    }
}
