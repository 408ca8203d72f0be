//! Clocks, performance state, what holds the clocks down and for how long.

use cupel_model::snapshot::GpuClocks;
use cupel_model::units::Megahertz;
use cupel_model::{Counter, Reading};
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper_sys::bindings::{
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_BOARD_LIMIT,
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_POWER,
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_RELIABILITY,
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_THERMAL, nvmlPerfPolicyType_t, nvmlViolationTime_t,
};

use super::within;
use crate::calls::{Gpu, get, reading, reading_of};

/// No clock runs as fast: 50 GHz.
const FASTEST: u32 = 50_000;

/// The slowest performance state; NVML's 32 means "unknown".
const SLOWEST_STATE: u32 = 15;

/// The bits of `nvmlClocksThrottleReasons`, from bit 0.
const REASONS: [&str; 9] = [
    "gpu-idle",
    "applications-clocks",
    "sw-power-cap",
    "hw-slowdown",
    "sync-boost",
    "sw-thermal-slowdown",
    "hw-thermal-slowdown",
    "hw-power-brake-slowdown",
    "display-clocks",
];

pub fn read(gpu: &Gpu<'_>) -> GpuClocks {
    let now = |clock: Clock| {
        let call = "nvmlDeviceGetClockInfo";
        megahertz(call, gpu.wrapped(call, |device| device.clock_info(clock)))
    };
    let most = |clock: Clock| {
        let call = "nvmlDeviceGetMaxClockInfo";
        megahertz(
            call,
            gpu.wrapped(call, |device| device.max_clock_info(clock)),
        )
    };
    let state = get!(gpu, nvmlDeviceGetPerformanceState() -> 0);
    GpuClocks {
        graphics_mhz: now(Clock::Graphics),
        sm_mhz: now(Clock::SM),
        memory_mhz: now(Clock::Memory),
        max_sm_mhz: most(Clock::SM),
        max_memory_mhz: most(Clock::Memory),
        performance_state: reading(within(
            "nvmlDeviceGetPerformanceState",
            state,
            SLOWEST_STATE,
            "as a performance state",
        )),
        throttle_reasons: reading_of(
            get!(gpu, nvmlDeviceGetCurrentClocksThrottleReasons() -> 0),
            reasons,
        ),
        power_violation_ns: violation(gpu, nvmlPerfPolicyType_enum_NVML_PERF_POLICY_POWER),
        thermal_violation_ns: violation(gpu, nvmlPerfPolicyType_enum_NVML_PERF_POLICY_THERMAL),
        reliability_violation_ns: violation(
            gpu,
            nvmlPerfPolicyType_enum_NVML_PERF_POLICY_RELIABILITY,
        ),
        board_violation_ns: violation(gpu, nvmlPerfPolicyType_enum_NVML_PERF_POLICY_BOARD_LIMIT),
    }
}

fn megahertz(call: &'static str, told: crate::calls::Told<u32>) -> Reading<Megahertz> {
    reading_of(within(call, told, FASTEST, "MHz"), Megahertz)
}

/// The names of the bits that are set; one without a name is `bit-N`.
fn reasons(bits: u64) -> Vec<String> {
    (0_usize..64)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| {
            REASONS
                .get(bit)
                .map_or_else(|| format!("bit-{bit}"), |name| (*name).to_owned())
        })
        .collect()
}

fn violation(gpu: &Gpu<'_>, policy: nvmlPerfPolicyType_t) -> Reading<Counter> {
    let empty = nvmlViolationTime_t {
        referenceTime: 0,
        violationTime: 0,
    };
    reading_of(
        get!(gpu, nvmlDeviceGetViolationStatus(policy) -> empty),
        |time| Counter::with_width(time.violationTime, 64),
    )
}

#[cfg(test)]
mod tests {
    use super::reasons;

    #[test]
    fn a_bit_without_a_name_keeps_its_number() {
        assert_eq!(reasons(0b1_0000_0001), ["gpu-idle", "display-clocks"]);
        assert_eq!(reasons(1 << 40), ["bit-40"]);
        assert!(reasons(0).is_empty());
    }
}
