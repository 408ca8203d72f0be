//! Framebuffer.

use cupel_model::Reading;
use cupel_model::snapshot::GpuMemory;
use cupel_model::units::Bytes;
use nvml_wrapper_sys::bindings::nvmlMemory_t;

use crate::calls::{Gpu, get, reading};

/// No GPU has as much.
const MOST: u64 = 64 << 40;

pub fn read(gpu: &Gpu<'_>) -> GpuMemory {
    let newer = "nvmlDeviceGetMemoryInfo_v2";
    let told = gpu.wrapped(newer, |device| device.memory_info());
    let (call, told) = match told {
        // Drivers before R510 have the older one only.
        Err(refusal) if refusal.unsupported => {
            let empty = nvmlMemory_t {
                total: 0,
                free: 0,
                used: 0,
            };
            let told = get!(gpu, nvmlDeviceGetMemoryInfo() -> empty);
            (
                "nvmlDeviceGetMemoryInfo",
                told.map(|info| (info.total, info.free, info.used)),
            )
        }
        other => (newer, other.map(|info| (info.total, info.free, info.used))),
    };
    let told = reading(told).and_then(|(total, free, used)| {
        if total > MOST || free > total || used > total {
            Reading::failed(format!(
                "{call}: total {total}, free {free}, used {used} bytes cannot be"
            ))
        } else {
            Reading::Value((total, free, used))
        }
    });
    GpuMemory {
        total_bytes: told.clone().map(|(total, _, _)| Bytes(total)),
        free_bytes: told.clone().map(|(_, free, _)| Bytes(free)),
        used_bytes: told.map(|(_, _, used)| Bytes(used)),
    }
}
