//! GPUs: who they are, whether they are there, heat and power.

use cupel_model::snapshot::Gpu;

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::{GPU, Parts, said};
use crate::metrics::text::Sink;

/// Recovery actions that NVML names; `none` is well.
const RECOVERY_ACTIONS: &[&str] = &[
    "none",
    "gpu-reset",
    "node-reboot",
    "drain-p2p",
    "drain-and-reset",
    "recover-imex",
    "bus-reset",
    "system-reboot",
];

pub(super) const GROUP: Group = Group {
    title: "GPUs",
    source: "gpu",
    families: &[
        Family::gauge(
            "cupel_gpus",
            Unit::None,
            &[],
            "GPUs that the driver lists or the PCI bus shows.",
            |at, out| out.some("", at.snapshot.map(|snapshot| snapshot.gpus.len())),
        ),
        Family::info(
            "cupel_gpu_info",
            &[
                "gpu",
                "pci",
                "slot",
                "uuid",
                "serial",
                "name",
                "architecture",
                "part_number",
                "vbios",
                "inforom",
                "gsp",
            ],
            "Always 1: a GPU, where it is and what it is. Join on gpu and pci.",
            |at, out| {
                for gpu in &at.gpus {
                    info(&gpu.labels, gpu.is, out);
                }
            },
        ),
        Family::gauge(
            "cupel_gpu_on_bus",
            Unit::None,
            GPU,
            "1 if the GPU answers on the PCI bus, 0 if it has fallen off.",
            |at, out| each(at, out, |out, at, gpu| out.reading(at, &[], &gpu.on_bus)),
        ),
        Family::gauge(
            "cupel_gpu_in_driver",
            Unit::None,
            GPU,
            "1 if the driver gives a handle of the GPU, 0 if not.",
            |at, out| each(at, out, |out, at, gpu| out.reading(at, &[], &gpu.in_driver)),
        ),
        Family::gauge(
            "cupel_gpu_driver_call_hung",
            Unit::None,
            GPU,
            "1 if a driver call on this GPU did not come back, 0 if none did so.",
            |at, out| each(at, out, |out, at, gpu| out.put(at, &[], gpu.hung.is_some())),
        ),
        Family::gauge(
            "cupel_gpu_recovery_action",
            Unit::None,
            &["gpu", "pci", "action"],
            "1 for the recovery action that the driver asks for (none is well), 0 for the others.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    let action = &gpu.processes.recovery_action;
                    out.state(at, "action", RECOVERY_ACTIONS, action);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_persistence_mode",
            Unit::None,
            GPU,
            "1 if persistence mode is on, 0 if it is off.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.identity.persistence_mode);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_mig_mode",
            Unit::None,
            GPU,
            "1 if MIG is on, 0 if it is off.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.identity.mig_mode)
                })
            },
        ),
        Family::gauge(
            "cupel_gpu_temperature_celsius",
            Unit::Celsius,
            GPU,
            "Temperature of the GPU die, in degrees Celsius.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.temperature_celsius);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_memory_temperature_celsius",
            Unit::Celsius,
            GPU,
            "Temperature of the GPU's memory, in degrees Celsius.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.memory_temperature_celsius);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_slowdown_temperature_celsius",
            Unit::Celsius,
            GPU,
            "Temperature of the GPU die at which hardware slowdown begins, in degrees Celsius.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.slowdown_celsius);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_shutdown_temperature_celsius",
            Unit::Celsius,
            GPU,
            "Temperature of the GPU die at which the driver shuts the GPU down, in degrees Celsius.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.shutdown_celsius);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_temperature_margin_celsius",
            Unit::Celsius,
            GPU,
            "Distance to the temperature limit where the GPU gives that instead of limits, in degrees Celsius.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.margin_celsius);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_power_watts",
            Unit::Watts,
            GPU,
            "Power that the GPU draws, as the driver averages it, in watts.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.power_watts)
                })
            },
        ),
        Family::gauge(
            "cupel_gpu_power_limit_watts",
            Unit::Watts,
            GPU,
            "Power limit that is enforced, in watts.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.power_limit_watts);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_power_default_limit_watts",
            Unit::Watts,
            GPU,
            "Power limit that the GPU left the factory with, in watts.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.power_default_limit_watts);
                });
            },
        ),
        Family::counter(
            "cupel_gpu_energy_joules_total",
            Unit::Joules,
            GPU,
            "Energy that the GPU took since the driver was loaded, in joules.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.energy_joules);
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_fan_speed_ratio",
            Unit::Ratio,
            GPU,
            "Fan speed as a share of the maximum, a ratio from 0 to 1.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    out.reading(at, &[], &gpu.thermal.fan_percent)
                })
            },
        ),
    ],
};

/// Something of each GPU.
pub(super) fn each(at: &Parts<'_>, out: &mut Sink, of: fn(&mut Sink, &str, &Gpu)) {
    for gpu in &at.gpus {
        of(out, &gpu.labels, gpu.is);
    }
}

fn info(at: &str, gpu: &Gpu, out: &mut Sink) {
    let identity = &gpu.identity;
    out.one(
        at,
        &[
            ("slot", said(&gpu.slot)),
            ("uuid", said(&identity.uuid)),
            ("serial", said(&identity.serial)),
            ("name", said(&identity.name)),
            ("architecture", said(&identity.architecture)),
            ("part_number", said(&identity.part_number)),
            ("vbios", said(&identity.vbios_version)),
            ("inforom", said(&identity.inforom_version)),
            ("gsp", said(&identity.gsp_version)),
        ],
    );
}
