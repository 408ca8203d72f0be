//! NVLinks, the fabric that they make, and NVSwitches.

use super::gpu::each;
use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::{NVLINK, said, shown};

/// States of a GPU's registration in the fabric; `completed` is well.
const FABRIC_STATES: &[&str] = &["not-supported", "not-started", "in-progress", "completed"];

pub(super) const GROUP: Group = Group {
    title: "NVLink and fabric",
    source: "nvlink",
    families: &[
        Family::gauge(
            "cupel_nvlink_active",
            Unit::None,
            NVLINK,
            "1 if the NVLink is active, 0 if it is not.",
            |at, out| {
                // GPUs whose links could not be read are counted here.
                each(at, out, |out, _, gpu| {
                    out.value(&gpu.nvlink);
                });
                for link in &at.nvlinks {
                    out.reading(&link.labels, &[], &link.is.active);
                }
            },
        ),
        Family::gauge(
            "cupel_nvlink_speed_bytes_per_second",
            Unit::BytesPerSecond,
            NVLINK,
            "Speed of the NVLink, one way, in bytes per second.",
            |at, out| {
                for link in &at.nvlinks {
                    out.reading(&link.labels, &[], &link.is.speed_gbps);
                }
            },
        ),
        Family::counter(
            "cupel_nvlink_errors_total",
            Unit::None,
            &["gpu", "pci", "link", "counter"],
            "NVLink errors since the driver was loaded or the GPU was reset, by the driver's counter (replay, recovery, crc_flit, crc_data, ecc_data; from NVLink 5 symbol_errors, effective_errors and more).",
            |at, out| {
                for link in &at.nvlinks {
                    out.counters(&link.labels, &link.is.counters, |_| true);
                }
            },
        ),
        Family::gauge(
            "cupel_gpu_fabric_state",
            Unit::None,
            &["gpu", "pci", "state"],
            "1 for the state of the GPU's registration in the NVLink fabric (not-supported, not-started, in-progress, completed), 0 for the others.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(fabric) = out.value(&gpu.fabric) {
                        out.state(at, "state", FABRIC_STATES, &fabric.state);
                    }
                });
            },
        ),
        Family::gauge(
            "cupel_gpu_fabric_ready",
            Unit::None,
            &["gpu", "pci"],
            "1 if the registration is completed and its status is success, 0 if not; where the fabric is supported. It is latched: it says nothing of the fabric manager now.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    let Some(fabric) = gpu.fabric.value() else {
                        return;
                    };
                    let supported = said(&fabric.state) != "not-supported";
                    if let (true, Some(state), Some(status)) =
                        (supported, fabric.state.value(), out.value(&fabric.status))
                    {
                        out.put(at, &[], state == "completed" && status == "success");
                    }
                });
            },
        ),
        Family::info(
            "cupel_gpu_fabric_info",
            &["gpu", "pci", "cluster_uuid", "clique_id", "status"],
            "Always 1: NVLink domain and clique of a GPU, and NVML's status of its registration.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    if let Some(fabric) = gpu.fabric.value() {
                        out.one(
                            at,
                            &[
                                ("cluster_uuid", said(&fabric.cluster_uuid)),
                                ("clique_id", &shown(&fabric.clique_id)),
                                ("status", said(&fabric.status)),
                            ],
                        );
                    }
                });
            },
        ),
        Family::info(
            "cupel_gpu_fabric_problem",
            &["gpu", "pci", "problem"],
            "Always 1: trouble that the fabric's health mask tells, e.g. degraded-bandwidth.",
            |at, out| {
                each(at, out, |out, at, gpu| {
                    let Some(fabric) = gpu.fabric.value() else {
                        return;
                    };
                    for problem in out.value(&fabric.health_problems).into_iter().flatten() {
                        out.one(at, &[("problem", problem)]);
                    }
                });
            },
        ),
        Family::info(
            "cupel_nvswitch_info",
            &["pci", "slot", "driver", "firmware"],
            "Always 1: an NVSwitch on the PCI bus of the node.",
            |at, out| {
                for switch in at.snapshot.iter().flat_map(|snapshot| &snapshot.nvswitches) {
                    out.one(
                        "",
                        &[
                            ("pci", &switch.pci.to_string()),
                            ("slot", said(&switch.slot)),
                            ("driver", said(&switch.driver)),
                            ("firmware", said(&switch.firmware)),
                        ],
                    );
                }
            },
        ),
    ],
};
