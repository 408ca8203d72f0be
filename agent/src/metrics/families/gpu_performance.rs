//! GPU clocks, what holds them down, utilisation, and the PCIe link as the driver sees it.

use super::gpu::each;
use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::number::Number;
use crate::metrics::parts::GPU;

/// Reasons that NVML names.
const THROTTLE_REASONS: &[&str] = &[
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

pub(super) const GROUP: Group = Group {
    title: "GPU clocks, load and PCIe",
    source: "gpu-performance",
    families: &[
        Family::gauge(
            "cupel_gpu_clock_hertz",
            Unit::Hertz,
            &["gpu", "pci", "clock"],
            "Clock now, in hertz, by clock (graphics, sm, memory).",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    let clocks = &gpu.clocks;
                    out.reading(at, &[("clock", "graphics")], &clocks.graphics_mhz);
                    out.reading(at, &[("clock", "sm")], &clocks.sm_mhz);
                    out.reading(at, &[("clock", "memory")], &clocks.memory_mhz);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_max_clock_hertz",
            Unit::Hertz,
            &["gpu", "pci", "clock"],
            "Highest clock, in hertz, by clock (sm, memory).",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[("clock", "sm")], &gpu.clocks.max_sm_mhz);
                    out.reading(at, &[("clock", "memory")], &gpu.clocks.max_memory_mhz);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_performance_state",
            Unit::None,
            GPU,
            "Performance state, 0 (fastest) to 15.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.clocks.performance_state);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_throttled",
            Unit::None,
            &["gpu", "pci", "reason"],
            "1 for each reason that holds the clocks down now (gpu-idle, applications-clocks, sw-power-cap, hw-slowdown, sync-boost, sw-thermal-slowdown, hw-thermal-slowdown, hw-power-brake-slowdown, display-clocks), 0 for the others.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(active) = out.value(&gpu.clocks.throttle_reasons) {
                        let active = active.iter().map(String::as_str);
                        out.words(at, "reason", THROTTLE_REASONS, active);
                    }
                });
            },
        ),
        Family::counter(
            "cupel_gpu_throttled_seconds_total",
            Unit::Seconds,
            &["gpu", "pci", "cause"],
            "Time that the clocks were held down since the driver was loaded, in seconds, by cause (power, thermal, reliability, board).",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    for (cause, time) in [
                        ("power", &gpu.clocks.power_violation_ns),
                        ("thermal", &gpu.clocks.thermal_violation_ns),
                        ("reliability", &gpu.clocks.reliability_violation_ns),
                        ("board", &gpu.clocks.board_violation_ns),
                    ] {
                        out.counted(at, &[("cause", cause)], time, Number::Nanoseconds);
                    }
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_utilisation_ratio",
            Unit::Ratio,
            GPU,
            "Share of time in which a kernel ran, over the driver's last sample, a ratio from 0 to 1.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.processes.utilisation_percent);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_memory_utilisation_ratio",
            Unit::Ratio,
            GPU,
            "Share of time in which memory was read or written, over the driver's last sample, a ratio from 0 to 1.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.processes.memory_utilisation_percent);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_compute_processes",
            Unit::None,
            GPU,
            "Compute processes on the GPU.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(processes) = out.value(&gpu.processes.compute) {
                        out.put(at, &[], processes.len());
                    }
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_pcie_generation",
            Unit::None,
            GPU,
            "PCIe generation of the link now; it falls when the GPU is idle.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.pcie.current_generation);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_pcie_max_generation",
            Unit::None,
            GPU,
            "Highest PCIe generation of GPU and slot together.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.pcie.max_generation);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_pcie_lanes",
            Unit::None,
            GPU,
            "PCIe lanes of the link now.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.pcie.current_width)
                })
            },
        ),
        Family::gauge(
            "cupel_gpu_pcie_max_lanes",
            Unit::None,
            GPU,
            "Most PCIe lanes of GPU and slot together.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.pcie.max_width)
                })
            },
        ),
        Family::counter(
            "cupel_gpu_pcie_replays_total",
            Unit::None,
            GPU,
            "PCIe replays since the driver was loaded.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.counter(at, &[], &gpu.pcie.replay_count)
                })
            },
        ),
    ],
};
