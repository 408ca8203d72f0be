//! ECC modes and error counts.
//!
//! With MIG instances active the counts of the whole GPU are not offered; that is no fault.

use cupel_model::snapshot::{EccCounts, GpuEcc};
use cupel_model::{Counter, Reading};
use nvml_wrapper_sys::bindings::{
    nvmlEccCounterType_enum_NVML_AGGREGATE_ECC, nvmlEccCounterType_enum_NVML_VOLATILE_ECC,
    nvmlEccCounterType_t, nvmlEccSramErrorStatus_t,
    nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_CORRECTED,
    nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
    nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_DRAM,
    nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_SRAM,
};

use super::on_off;
use crate::calls::{Gpu, get, reading};

/// Version 1 of a structure, in the way of NVML: size, and version in the upper byte.
const fn version_1<T>() -> u32 {
    let size = size_of::<T>();
    assert!(size < 1 << 24, "the size shares its word with the version");
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below 2^24 by the line above"
    )]
    let size = size as u32;
    size | 1 << 24
}

pub fn read(gpu: &Gpu<'_>) -> GpuEcc {
    let modes = gpu.raw(
        "nvmlDeviceGetEccMode",
        &gpu.library().nvmlDeviceGetEccMode,
        |function, device| {
            let mut modes = (0, 0);
            // SAFETY: the signature is the bindings'; both outputs are live.
            let code = unsafe { function(device, &raw mut modes.0, &raw mut modes.1) };
            (code, modes)
        },
    );
    let (enabled, pending) = match modes {
        Ok((current, pending)) => (Ok(current), Ok(pending)),
        Err(refusal) => (Err(refusal.clone()), Err(refusal)),
    };
    GpuEcc {
        enabled: reading(on_off("nvmlDeviceGetEccMode", enabled)),
        pending: reading(on_off("nvmlDeviceGetEccMode", pending)),
        volatile: counts(gpu, nvmlEccCounterType_enum_NVML_VOLATILE_ECC),
        aggregate: counts(gpu, nvmlEccCounterType_enum_NVML_AGGREGATE_ECC),
        sram_threshold_exceeded: sram_threshold(gpu),
    }
}

fn counts(gpu: &Gpu<'_>, period: nvmlEccCounterType_t) -> EccCounts {
    let corrected = nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_CORRECTED;
    let uncorrected = nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_UNCORRECTED;
    let sram = nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_SRAM;
    let dram = nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_DRAM;
    let at = |kind, location| -> Reading<Counter> {
        reading(get!(gpu, nvmlDeviceGetMemoryErrorCounter(kind, period, location) -> 0))
            .map(|count| Counter::with_width(count, 64))
    };
    let total = |kind| -> Reading<Counter> {
        reading(get!(gpu, nvmlDeviceGetTotalEccErrors(kind, period) -> 0))
            .map(|count| Counter::with_width(count, 64))
    };
    EccCounts {
        sram_corrected: at(corrected, sram),
        sram_uncorrected: at(uncorrected, sram),
        dram_corrected: at(corrected, dram),
        dram_uncorrected: at(uncorrected, dram),
        total_corrected: total(corrected),
        total_uncorrected: total(uncorrected),
    }
}

fn sram_threshold(gpu: &Gpu<'_>) -> Reading<bool> {
    let empty = nvmlEccSramErrorStatus_t {
        version: version_1::<nvmlEccSramErrorStatus_t>(),
        aggregateUncParity: 0,
        aggregateUncSecDed: 0,
        aggregateCor: 0,
        volatileUncParity: 0,
        volatileUncSecDed: 0,
        volatileCor: 0,
        aggregateUncBucketL2: 0,
        aggregateUncBucketSm: 0,
        aggregateUncBucketPcie: 0,
        aggregateUncBucketMcu: 0,
        aggregateUncBucketOther: 0,
        bThresholdExceeded: 0,
    };
    let told = get!(gpu, nvmlDeviceGetSramEccErrorStatus() -> empty);
    reading(on_off(
        "nvmlDeviceGetSramEccErrorStatus",
        told.map(|status| status.bThresholdExceeded),
    ))
}
