//! Row remapping (Ampere and later) and page retirement (before).

use std::ptr::null_mut;

use cupel_model::Reading;
use cupel_model::snapshot::{GpuRemappedRows, GpuRetiredPages};
use nvml_wrapper_sys::bindings::{
    nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
    nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
    nvmlPageRetirementCause_t, nvmlRowRemapperHistogramValues_t,
};

use super::{on_off, within};
use crate::calls::{Gpu, Told, get, reading};
use crate::codes;

/// No GPU has as many spare rows, banks or retired pages.
const MOST: u32 = 1 << 20;

pub fn remapped(gpu: &Gpu<'_>) -> Reading<GpuRemappedRows> {
    let call = "nvmlDeviceGetRemappedRows";
    let rows = gpu.raw(
        call,
        &gpu.library().nvmlDeviceGetRemappedRows,
        |function, device| {
            let mut rows = [0_u32; 4];
            let [correctable, uncorrectable, pending, failure] = &mut rows;
            // SAFETY: the signature is the bindings'; the four outputs are live and distinct.
            let code = unsafe { function(device, correctable, uncorrectable, pending, failure) };
            (code, rows)
        },
    );
    let empty = nvmlRowRemapperHistogramValues_t {
        max: 0,
        high: 0,
        partial: 0,
        low: 0,
        none: 0,
    };
    let banks = get!(gpu, nvmlDeviceGetRowRemapperHistogram() -> empty);
    if let (Err(rows), Err(banks)) = (&rows, &banks)
        && rows.unsupported
        && banks.unsupported
    {
        return rows.clone().reading();
    }
    let row = |index: usize| rows.clone().map(|rows| rows[index]);
    let count = |told: Told<u32>| reading(within(call, told, MOST, "rows")).map(u64::from);
    let bank = |pick: fn(&nvmlRowRemapperHistogramValues_t) -> u32| {
        let told = banks.as_ref().map(pick).map_err(Clone::clone);
        reading(within(
            "nvmlDeviceGetRowRemapperHistogram",
            told,
            MOST,
            "banks",
        ))
        .map(u64::from)
    };
    Reading::Value(GpuRemappedRows {
        correctable: count(row(0)),
        uncorrectable: count(row(1)),
        pending: reading(on_off(call, row(2))),
        failure: reading(on_off(call, row(3))),
        banks_max: bank(|banks| banks.max),
        banks_high: bank(|banks| banks.high),
        banks_partial: bank(|banks| banks.partial),
        banks_low: bank(|banks| banks.low),
        banks_none: bank(|banks| banks.none),
    })
}

pub fn retired(gpu: &Gpu<'_>) -> Reading<GpuRetiredPages> {
    let single = pages(
        gpu,
        nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
    );
    let double = pages(
        gpu,
        nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
    );
    let pending = get!(gpu, nvmlDeviceGetRetiredPagesPendingStatus() -> 0);
    if let (Err(single), Err(double), Err(pending)) = (&single, &double, &pending)
        && single.unsupported
        && double.unsupported
        && pending.unsupported
    {
        return single.clone().reading();
    }
    let count =
        |told| reading(within("nvmlDeviceGetRetiredPages", told, MOST, "pages")).map(u64::from);
    Reading::Value(GpuRetiredPages {
        single_bit: count(single),
        double_bit: count(double),
        pending: reading(on_off("nvmlDeviceGetRetiredPagesPendingStatus", pending)),
    })
}

/// How many pages were retired for a cause: asked with no buffer, the call gives the count alone.
fn pages(gpu: &Gpu<'_>, cause: nvmlPageRetirementCause_t) -> Told<u32> {
    gpu.raw(
        "nvmlDeviceGetRetiredPages",
        &gpu.library().nvmlDeviceGetRetiredPages,
        |function, device| {
            let mut count = 0;
            // SAFETY: the signature is the bindings'; a count of zero says that there is no buffer.
            let code = unsafe { function(device, cause, &raw mut count, null_mut()) };
            let code = if code == codes::INSUFFICIENT_SIZE {
                codes::SUCCESS
            } else {
                code
            };
            (code, count)
        },
    )
}
