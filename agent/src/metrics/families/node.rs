//! The machine as a whole: identity, kernel, driver, processors, services, firmware.

use cupel_model::snapshot::WorkerState;

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::{said, shown};
use crate::metrics::text::labels;
use crate::render::words::word;

/// States of a unit, as systemd names them.
const ACTIVE_STATES: &[&str] = &[
    "activating",
    "active",
    "deactivating",
    "failed",
    "inactive",
    "reloading",
];

pub(super) const GROUP: Group = Group {
    title: "Node",
    source: "node",
    families: &[
        Family::info(
            "cupel_node_info",
            &[
                "id",
                "hostname",
                "manufacturer",
                "product",
                "serial",
                "platform",
                "tenancy",
                "kernel",
            ],
            "Always 1: which machine this is.",
            |at, out| {
                let Some(snapshot) = at.snapshot else { return };
                let node = &snapshot.node;
                let platform = at.view.report.and_then(|report| report.platform.as_deref());
                out.one(
                    "",
                    &[
                        ("id", said(&node.id)),
                        ("hostname", said(&node.hostname)),
                        ("manufacturer", said(&node.manufacturer)),
                        ("product", said(&node.product)),
                        ("serial", said(&node.serial)),
                        ("platform", platform.unwrap_or_default()),
                        ("tenancy", &word(&snapshot.tenancy)),
                        ("kernel", said(&snapshot.kernel.release)),
                    ],
                );
            },
        ),
        Family::gauge(
            "cupel_node_uptime_seconds",
            Unit::Seconds,
            &[],
            "Time since boot when the snapshot was taken, in seconds.",
            |at, out| {
                if let Some(snapshot) = at.snapshot {
                    out.reading("", &[], &snapshot.node.uptime_seconds);
                }
            },
        ),
        Family::gauge(
            "cupel_snapshot_timestamp_seconds",
            Unit::Time,
            &[],
            "When the snapshot was taken that these metrics show, in seconds since 1970-01-01 UTC.",
            |at, out| out.some("", at.snapshot.map(|snapshot| snapshot.taken_at)),
        ),
        Family::gauge(
            "cupel_kernel_taint",
            Unit::None,
            &[],
            "Taint flags of the kernel as one number, as /proc/sys/kernel/tainted gives it; 0 is untainted.",
            |at, out| {
                if let Some(snapshot) = at.snapshot {
                    out.reading("", &[], &snapshot.kernel.taint);
                }
            },
        ),
        Family::gauge(
            "cupel_cpus_online",
            Unit::None,
            &[],
            "Logical CPUs that are online.",
            |at, out| {
                if let Some(snapshot) = at.snapshot {
                    out.reading("", &[], &snapshot.cpus.online_count);
                }
            },
        ),
        Family::gauge(
            "cupel_cpus_possible",
            Unit::None,
            &[],
            "Logical CPUs that could be online.",
            |at, out| {
                if let Some(snapshot) = at.snapshot {
                    out.reading("", &[], &snapshot.cpus.possible_count);
                }
            },
        ),
        Family::info(
            "cupel_driver_info",
            &["version", "flavour", "library", "nvml", "cuda"],
            "Always 1: the NVIDIA driver; version is that of the kernel module, library that of the driver library.",
            |at, out| {
                let Some(snapshot) = at.snapshot else { return };
                let driver = &snapshot.driver;
                let labels = labels(&[
                    ("version", said(&driver.kernel_version)),
                    ("flavour", said(&driver.flavour)),
                    ("library", said(&driver.library_version)),
                    ("nvml", said(&driver.nvml_version)),
                    ("cuda", said(&driver.cuda_version)),
                ]);
                if !labels.is_empty() {
                    out.one(&labels, &[]);
                }
            },
        ),
        Family::gauge(
            "cupel_driver_answers",
            Unit::None,
            &[],
            "1 if the NVIDIA driver answered, 0 if its initialisation hung or failed and all GPU health is unknown. No sample where there is nothing to ask.",
            |at, out| {
                let worker = at.snapshot.map(|snapshot| &snapshot.driver.worker);
                let answers = worker.and_then(|worker| match worker {
                    WorkerState::Answered { .. } => Some(true),
                    WorkerState::Failed { .. } => Some(false),
                    WorkerState::NotStarted { .. } => None,
                });
                out.some("", answers);
            },
        ),
        Family::gauge(
            "cupel_service_state",
            Unit::None,
            &["unit", "state"],
            "1 for the state that a systemd unit is in (activating, active, deactivating, failed, inactive, reloading), 0 for the others. A unit that is not installed has no sample.",
            |at, out| {
                for service in at.snapshot.iter().flat_map(|snapshot| &snapshot.services) {
                    let unit = labels(&[("unit", &service.name)]);
                    out.state(&unit, "state", ACTIVE_STATES, &service.active_state);
                }
            },
        ),
        Family::info(
            "cupel_firmware_info",
            &["component", "name", "version"],
            "Always 1: a firmware version that is visible in-band. One that could not be read has no sample.",
            |at, out| {
                for entry in at.snapshot.iter().flat_map(|snapshot| &snapshot.firmware) {
                    if entry.version.value().is_some() {
                        out.one(
                            "",
                            &[
                                ("component", &entry.component),
                                ("name", &entry.name),
                                ("version", &shown(&entry.version)),
                            ],
                        );
                    }
                }
            },
        ),
    ],
};
