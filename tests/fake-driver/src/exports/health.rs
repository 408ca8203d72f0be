//! ECC, rows, pages, heat, power, clocks, PCIe, processes, utilisation.

use std::os::raw::{c_int, c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlEccSramErrorStatus_t, nvmlMarginTemperature_t, nvmlProcessInfo_t, nvmlReturn_t,
    nvmlRowRemapperHistogramValues_t, nvmlUtilization_t, nvmlViolationTime_t,
};

use super::values;
use crate::fault::{
    ARGUMENT_VERSION_MISMATCH, INSUFFICIENT_SIZE, INVALID_ARGUMENT, NOT_SUPPORTED, Output, SUCCESS,
    on_gpu, put,
};
use crate::state::{Clocks, EccCounts, Gpu};

/// The counts of a period: 0 volatile, 1 aggregate.
fn counts(gpu: &Gpu, period: c_uint) -> Option<EccCounts> {
    match period {
        0 => gpu.ecc_volatile,
        1 => gpu.ecc_aggregate,
        _ => None,
    }
}

/// The clock of a domain: 0 graphics, 1 SM, 2 memory.
fn clock(clocks: Option<Clocks>, domain: c_uint) -> Option<c_uint> {
    let clocks = clocks?;
    match domain {
        0 => Some(clocks.graphics),
        1 => Some(clocks.sm),
        2 => Some(clocks.memory),
        _ => None,
    }
}

values! {
    nvmlDeviceGetMemoryErrorCounter(kind: c_uint, period: c_uint, location: c_uint) -> c_ulonglong
        = |gpu, kind, period, location| {
            let counts = counts(gpu, period)?;
            match (kind, location) {
                (0, 7) => Some(counts.sram_corrected),
                (1, 7) => Some(counts.sram_uncorrected),
                (0, 2) => Some(counts.dram_corrected),
                (1, 2) => Some(counts.dram_uncorrected),
                _ => None,
            }
        };
    nvmlDeviceGetTotalEccErrors(kind: c_uint, period: c_uint) -> c_ulonglong
        = |gpu, kind, period| {
            let counts = counts(gpu, period)?;
            Some(if kind == 0 {
                counts.sram_corrected + counts.dram_corrected
            } else {
                counts.sram_uncorrected + counts.dram_uncorrected
            })
        };
    nvmlDeviceGetRowRemapperHistogram() -> nvmlRowRemapperHistogramValues_t
        = |gpu| gpu.row_histogram.map(|banks| nvmlRowRemapperHistogramValues_t {
            max: banks.max,
            high: banks.high,
            partial: banks.partial,
            low: banks.low,
            none: banks.none,
        });
    nvmlDeviceGetRetiredPagesPendingStatus() -> c_uint
        = |gpu| gpu.retired_pages.as_ref().map(|pages| pages.pending);
    nvmlDeviceGetTemperature(sensor: c_uint) -> c_uint
        = |gpu, sensor| gpu.temperature.filter(|_| sensor == 0);
    nvmlDeviceGetTemperatureThreshold(which: c_uint) -> c_uint = |gpu, which| match which {
        0 => gpu.shutdown_temperature,
        1 => gpu.slowdown_temperature,
        _ => None,
    };
    nvmlDeviceGetPowerUsage() -> c_uint = |gpu| gpu.power_mw;
    nvmlDeviceGetEnforcedPowerLimit() -> c_uint = |gpu| gpu.power_limit_mw;
    nvmlDeviceGetPowerManagementLimit() -> c_uint = |gpu| gpu.power_limit_mw;
    nvmlDeviceGetPowerManagementDefaultLimit() -> c_uint = |gpu| gpu.power_default_limit_mw;
    nvmlDeviceGetTotalEnergyConsumption() -> c_ulonglong = |gpu| gpu.energy_mj;
    nvmlDeviceGetFanSpeed() -> c_uint = |gpu| gpu.fan_percent;
    nvmlDeviceGetClockInfo(domain: c_uint) -> c_uint = |gpu, domain| clock(gpu.clocks, domain);
    nvmlDeviceGetMaxClockInfo(domain: c_uint) -> c_uint
        = |gpu, domain| clock(gpu.max_clocks, domain);
    nvmlDeviceGetPerformanceState() -> c_uint = |gpu| gpu.performance_state;
    nvmlDeviceGetCurrentClocksThrottleReasons() -> c_ulonglong = |gpu| gpu.throttle_reasons;
    nvmlDeviceGetCurrentClocksEventReasons() -> c_ulonglong = |gpu| gpu.throttle_reasons;
    nvmlDeviceGetViolationStatus(policy: c_uint) -> nvmlViolationTime_t = |gpu, policy| {
        let violations = gpu.violations?;
        let nanoseconds = match policy {
            0 => violations.power,
            1 => violations.thermal,
            3 => violations.board,
            5 => violations.reliability,
            _ => return None,
        };
        Some(nvmlViolationTime_t {
            referenceTime: 1_700_000_000_000_000,
            violationTime: nanoseconds,
        })
    };
    nvmlDeviceGetCurrPcieLinkGeneration() -> c_uint
        = |gpu| gpu.pcie.map(|pcie| pcie.current_generation);
    nvmlDeviceGetMaxPcieLinkGeneration() -> c_uint = |gpu| gpu.pcie.map(|pcie| pcie.max_generation);
    nvmlDeviceGetCurrPcieLinkWidth() -> c_uint = |gpu| gpu.pcie.map(|pcie| pcie.current_width);
    nvmlDeviceGetMaxPcieLinkWidth() -> c_uint = |gpu| gpu.pcie.map(|pcie| pcie.max_width);
    nvmlDeviceGetPcieReplayCounter() -> c_uint = |gpu| gpu.pcie.map(|pcie| pcie.replay_count);
    nvmlDeviceGetUtilizationRates() -> nvmlUtilization_t
        = |gpu| gpu.utilisation.map(|utilisation| nvmlUtilization_t {
            gpu: utilisation.gpu,
            memory: utilisation.memory,
        });
}

/// `nvmlDeviceGetFanSpeed_v2`. Without a fan no number of one is valid, as the real library has it.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFanSpeed_v2(
    device: *const (),
    fan: c_uint,
    to: *mut c_uint,
) -> nvmlReturn_t {
    let outputs = [Output::one(to)];
    on_gpu("nvmlDeviceGetFanSpeed_v2", device, &outputs, |gpu| {
        match gpu.fan_percent.filter(|_| fan == 0) {
            None => INVALID_ARGUMENT,
            // SAFETY: the caller of the C function gives a live output.
            percent => unsafe { put(to, percent) },
        }
    })
}

/// `nvmlDeviceGetRemappedRows`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetRemappedRows(
    device: *const (),
    correctable: *mut c_uint,
    uncorrectable: *mut c_uint,
    pending: *mut c_uint,
    failure: *mut c_uint,
) -> nvmlReturn_t {
    let outputs = [correctable, uncorrectable, pending, failure];
    let writable = outputs.map(Output::one);
    on_gpu("nvmlDeviceGetRemappedRows", device, &writable, |gpu| {
        let Some(rows) = gpu.remapped_rows else {
            return NOT_SUPPORTED;
        };
        let values = [
            rows.correctable,
            rows.uncorrectable,
            rows.pending,
            rows.failure,
        ];
        for (to, value) in outputs.into_iter().zip(values) {
            // SAFETY: the caller of the C function gives four live outputs.
            let code = unsafe { put(to, Some(value)) };
            if code != SUCCESS {
                return code;
            }
        }
        SUCCESS
    })
}

/// `nvmlDeviceGetRetiredPages`: causes 0 (single-bit) and 1 (double-bit).
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetRetiredPages(
    device: *const (),
    cause: c_uint,
    count: *mut c_uint,
    addresses: *mut c_ulonglong,
) -> nvmlReturn_t {
    on_gpu(
        "nvmlDeviceGetRetiredPages",
        device,
        &[Output::count(count)],
        |gpu| {
            let pages = match (&gpu.retired_pages, cause) {
                (Some(pages), 0) => &pages.single_bit,
                (Some(pages), 1) => &pages.double_bit,
                (Some(_), _) => return INVALID_ARGUMENT,
                (None, _) => return NOT_SUPPORTED,
            };
            // SAFETY: the caller of the C function gives a live count, and as many addresses.
            unsafe { list(pages.iter().copied(), pages.len(), count, addresses) }
        },
    )
}

/// `nvmlDeviceGetComputeRunningProcesses_v3`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: *const (),
    count: *mut c_uint,
    to: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    let call = "nvmlDeviceGetComputeRunningProcesses_v3";
    on_gpu(call, device, &[Output::count(count)], |gpu| {
        let Some(processes) = &gpu.processes else {
            return NOT_SUPPORTED;
        };
        let entries = processes.iter().map(|process| nvmlProcessInfo_t {
            pid: process.pid,
            usedGpuMemory: process.memory.unwrap_or(u64::MAX),
            gpuInstanceId: u32::MAX,
            computeInstanceId: u32::MAX,
        });
        // SAFETY: the caller of the C function gives a live count, and as many entries.
        unsafe { list(entries, processes.len(), count, to) }
    })
}

/// Writes a list in NVML's way: where there is not enough room, only how much is needed.
///
/// # Safety
/// `count` is null or live, and `to` has room for as many entries as it says.
unsafe fn list<T>(
    entries: impl Iterator<Item = T>,
    length: usize,
    count: *mut c_uint,
    to: *mut T,
) -> nvmlReturn_t {
    if count.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: as the caller promises.
    let room = usize::try_from(unsafe { count.read() }).unwrap_or(0);
    // SAFETY: likewise.
    unsafe { count.write(u32::try_from(length).unwrap_or(u32::MAX)) };
    if length > room {
        return INSUFFICIENT_SIZE;
    }
    if length > 0 && to.is_null() {
        return INVALID_ARGUMENT;
    }
    for (index, entry) in entries.take(room).enumerate() {
        // SAFETY: below the room that the caller promises.
        unsafe { to.add(index).write(entry) };
    }
    SUCCESS
}

/// `nvmlDeviceGetSramEccErrorStatus`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetSramEccErrorStatus(
    device: *const (),
    to: *mut nvmlEccSramErrorStatus_t,
) -> nvmlReturn_t {
    on_gpu(
        "nvmlDeviceGetSramEccErrorStatus",
        device,
        &[Output::one(to)],
        |gpu| {
            if to.is_null() {
                return INVALID_ARGUMENT;
            }
            // SAFETY: the caller of the C function gives a live structure.
            let version = unsafe { (*to).version };
            if version != 104 | 1 << 24 {
                return ARGUMENT_VERSION_MISMATCH;
            }
            let (Some(exceeded), Some(volatile), Some(aggregate)) = (
                gpu.sram_threshold_exceeded,
                gpu.ecc_volatile,
                gpu.ecc_aggregate,
            ) else {
                return NOT_SUPPORTED;
            };
            let status = nvmlEccSramErrorStatus_t {
                version,
                aggregateUncParity: 0,
                aggregateUncSecDed: aggregate.sram_uncorrected,
                aggregateCor: aggregate.sram_corrected,
                volatileUncParity: 0,
                volatileUncSecDed: volatile.sram_uncorrected,
                volatileCor: volatile.sram_corrected,
                aggregateUncBucketL2: aggregate.sram_uncorrected,
                aggregateUncBucketSm: 0,
                aggregateUncBucketPcie: 0,
                aggregateUncBucketMcu: 0,
                aggregateUncBucketOther: 0,
                bThresholdExceeded: exceeded,
            };
            // SAFETY: as above.
            unsafe { put(to, Some(status)) }
        },
    )
}

/// `nvmlDeviceGetMarginTemperature`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMarginTemperature(
    device: *const (),
    to: *mut nvmlMarginTemperature_t,
) -> nvmlReturn_t {
    on_gpu(
        "nvmlDeviceGetMarginTemperature",
        device,
        &[Output::one(to)],
        |gpu| {
            if to.is_null() {
                return INVALID_ARGUMENT;
            }
            // SAFETY: the caller of the C function gives a live structure.
            let version = unsafe { (*to).version };
            if version != 8 | 1 << 24 {
                return ARGUMENT_VERSION_MISMATCH;
            }
            let margin = gpu
                .margin_temperature
                .map(|margin: c_int| nvmlMarginTemperature_t {
                    version,
                    marginTemperature: margin,
                });
            // SAFETY: as above.
            unsafe { put(to, margin) }
        },
    )
}
