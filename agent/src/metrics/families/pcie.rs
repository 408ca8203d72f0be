//! PCIe links and AER counters.
//!
//! # Invariants
//! - A server has hundreds of functions. GPUs, NVSwitches, RDMA adapters, NVMe drives and the bridge
//!   above each are always told of; any other one when it has counted an error.

use cupel_model::snapshot::{NamedCounter, PciDevice};

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::{PCI, Part, Parts};
use crate::metrics::text::Sink;

/// Names of the kernel's own sums, and what is summed.
const SUMS: [(&str, &str); 3] = [
    ("correctable/TOTAL_ERR_COR", "correctable"),
    ("nonfatal/TOTAL_ERR_NONFATAL", "nonfatal"),
    ("fatal/TOTAL_ERR_FATAL", "fatal"),
];

pub(super) const GROUP: Group = Group {
    title: "PCIe",
    source: "pci",
    families: &[
        Family::gauge(
            "cupel_pcie_lanes",
            Unit::None,
            PCI,
            "PCIe lanes of the link now, as the kernel sees it.",
            |at, out| {
                for device in at.watched() {
                    out.reading(&device.labels, &[], &device.is.current_width);
                }
            },
        ),
        Family::gauge(
            "cupel_pcie_max_lanes",
            Unit::None,
            PCI,
            "Most PCIe lanes of the device.",
            |at, out| {
                for device in at.watched() {
                    out.reading(&device.labels, &[], &device.is.max_width);
                }
            },
        ),
        Family::gauge(
            "cupel_pcie_speed_transfers_per_second",
            Unit::TransfersPerSecond,
            PCI,
            "Speed of the PCIe link now, in transfers per second and lane; it falls when a GPU is idle.",
            |at, out| {
                for device in at.watched() {
                    out.reading(&device.labels, &[], &device.is.current_speed_gts);
                }
            },
        ),
        Family::gauge(
            "cupel_pcie_max_speed_transfers_per_second",
            Unit::TransfersPerSecond,
            PCI,
            "Highest speed of the PCIe link of the device, in transfers per second and lane.",
            |at, out| {
                for device in at.watched() {
                    out.reading(&device.labels, &[], &device.is.max_speed_gts);
                }
            },
        ),
        Family::counter(
            "cupel_pcie_errors_total",
            Unit::None,
            &["pci", "severity"],
            "PCIe errors that AER counted since boot, by severity (correctable, nonfatal, fatal). Where firmware keeps AER to itself there is no sample; it is not zero.",
            |at, out| {
                for device in at.watched() {
                    if let Some(counters) = out.value(&device.is.aer) {
                        sums(device, counters, true, out);
                    }
                }
                for device in at.unwatched() {
                    sums(device, counted(device.is), false, out);
                }
            },
        ),
        Family::counter(
            "cupel_pcie_error_causes_total",
            Unit::None,
            &["pci", "severity", "error"],
            "PCIe errors that AER counted since boot, by the kernel's name of the error (RxErr, BadTLP, …). Those that never happened have no sample.",
            causes,
        ),
    ],
};

fn counted(device: &PciDevice) -> &[NamedCounter] {
    device.aer.value().map_or(&[], Vec::as_slice)
}

fn sums(device: &Part<'_, PciDevice>, counters: &[NamedCounter], zeros: bool, out: &mut Sink) {
    for (name, severity) in SUMS {
        let mut own = counters.iter().filter(|counter| counter.name == name);
        if let Some(sum) = own.next()
            && (zeros || happened(sum))
        {
            out.counter(&device.labels, &[("severity", severity)], &sum.value);
        }
    }
}

fn happened(counter: &NamedCounter) -> bool {
    counter.value.get().is_some_and(|counter| counter.value > 0)
}

fn causes(at: &Parts<'_>, out: &mut Sink) {
    for device in &at.pci {
        for counter in counted(device.is).iter().filter(|c| happened(c)) {
            let is_sum = SUMS.iter().any(|(name, _)| *name == counter.name);
            if let (false, Some((severity, error))) = (is_sum, counter.name.split_once('/')) {
                let labels = [("severity", severity), ("error", error)];
                out.counter(&device.labels, &labels, &counter.value);
            }
        }
    }
}
