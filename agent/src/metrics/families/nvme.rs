//! NVMe drives and what they say of their health.

use cupel_model::snapshot::NvmeHealth;

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::{DRIVE, Parts, said};
use crate::metrics::text::Sink;

/// Bits of the critical warning (NVM Express Base Specification 2.0, log page 02h).
const WARNINGS: &[&str] = &[
    "available-spare",
    "temperature",
    "reliability",
    "read-only",
    "volatile-backup",
    "persistent-memory",
];

pub(super) const GROUP: Group = Group {
    title: "NVMe drives",
    source: "nvme",
    families: &[
        Family::info(
            "cupel_nvme_info",
            &["drive", "pci", "slot", "model", "serial", "firmware"],
            "Always 1: an NVMe controller, where it is and what it is.",
            |at, out| {
                for drive in &at.drives {
                    let is = drive.is;
                    let pci = is.pci.get().map(|pci| pci.to_string());
                    out.one(
                        &drive.labels,
                        &[
                            ("pci", pci.as_deref().unwrap_or_default()),
                            ("slot", said(&is.slot)),
                            ("model", said(&is.model)),
                            ("serial", said(&is.serial)),
                            ("firmware", said(&is.firmware)),
                        ],
                    );
                }
            },
        ),
        Family::gauge(
            "cupel_nvme_live",
            Unit::None,
            DRIVE,
            "1 if the kernel says that the controller is live, 0 if it is in another state.",
            |at, out| {
                for drive in &at.drives {
                    if let Some(state) = out.value(&drive.is.state) {
                        out.put(&drive.labels, &[], state == "live");
                    }
                }
            },
        ),
        Family::gauge(
            "cupel_nvme_capacity_bytes",
            Unit::Bytes,
            DRIVE,
            "Size of all namespaces, in bytes.",
            |at, out| {
                for drive in &at.drives {
                    out.reading(&drive.labels, &[], &drive.is.capacity_bytes);
                }
            },
        ),
        Family::gauge(
            "cupel_nvme_critical_warning",
            Unit::None,
            &["drive", "warning"],
            "1 for each critical warning that the drive gives (available-spare, temperature, reliability, read-only, volatile-backup, persistent-memory), 0 for the others.",
            |at, out| {
                for drive in &at.drives {
                    if let Some(health) = out.value(&drive.is.health) {
                        let given = health.critical_warnings.iter().map(String::as_str);
                        out.words(&drive.labels, "warning", WARNINGS, given);
                    }
                }
            },
        ),
        Family::gauge(
            "cupel_nvme_temperature_celsius",
            Unit::Celsius,
            DRIVE,
            "Composite temperature, in degrees Celsius.",
            |at, out| {
                health(at, out, |out, at, health| {
                    out.reading(at, &[], &health.temperature_celsius);
                });
            },
        ),
        Family::gauge(
            "cupel_nvme_available_spare_ratio",
            Unit::Ratio,
            DRIVE,
            "Spare blocks that are left, a ratio from 0 to 1.",
            |at, out| {
                health(at, out, |out, at, health| {
                    out.reading(at, &[], &health.available_spare_percent);
                });
            },
        ),
        Family::gauge(
            "cupel_nvme_available_spare_threshold_ratio",
            Unit::Ratio,
            DRIVE,
            "Spare blocks below which the drive warns, a ratio from 0 to 1.",
            |at, out| {
                health(at, out, |out, at, health| {
                    out.reading(at, &[], &health.available_spare_threshold_percent);
                });
            },
        ),
        Family::gauge(
            "cupel_nvme_used_ratio",
            Unit::Ratio,
            DRIVE,
            "Life that is used up by the drive's own estimate, a ratio from 0 to 1; it may pass 1.",
            |at, out| {
                health(at, out, |out, at, health| {
                    out.reading(at, &[], &health.percentage_used);
                });
            },
        ),
        Family::counter(
            "cupel_nvme_media_errors_total",
            Unit::None,
            DRIVE,
            "Media and data integrity errors over the drive's life.",
            |at, out| {
                health(at, out, |out, at, health| {
                    out.reading(at, &[], &health.media_errors);
                });
            },
        ),
        Family::counter(
            "cupel_nvme_error_log_entries_total",
            Unit::None,
            DRIVE,
            "Entries of the error log over the drive's life.",
            |at, out| {
                health(at, out, |out, at, health| {
                    out.reading(at, &[], &health.error_log_entries);
                });
            },
        ),
        Family::counter(
            "cupel_nvme_unsafe_shutdowns_total",
            Unit::None,
            DRIVE,
            "Losses of power without a shutdown over the drive's life.",
            |at, out| {
                health(at, out, |out, at, health| {
                    out.reading(at, &[], &health.unsafe_shutdowns);
                });
            },
        ),
        Family::counter(
            "cupel_nvme_power_on_seconds_total",
            Unit::Seconds,
            DRIVE,
            "Time under power over the drive's life, in seconds; the drive counts whole hours.",
            |at, out| {
                health(at, out, |out, at, health| {
                    out.reading(at, &[], &health.power_on_hours);
                });
            },
        ),
    ],
};

/// Something of the health log of each drive that gives one.
fn health(at: &Parts<'_>, out: &mut Sink, of: fn(&mut Sink, &str, &NvmeHealth)) {
    for drive in &at.drives {
        if let Some(health) = drive.is.health.value() {
            of(out, &drive.labels, health);
        }
    }
}
