//! Network interfaces that are backed by a device.

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::{INTERFACE, said};

pub(super) const GROUP: Group = Group {
    title: "Network interfaces",
    source: "network",
    families: &[
        Family::info(
            "cupel_network_info",
            &["interface", "pci", "mac", "driver"],
            "Always 1: a network interface that is backed by a device.",
            |at, out| {
                for interface in &at.interfaces {
                    let is = interface.is;
                    let pci = is.pci.get().map(|pci| pci.to_string());
                    out.one(
                        &interface.labels,
                        &[
                            ("pci", pci.as_deref().unwrap_or_default()),
                            ("mac", said(&is.mac)),
                            ("driver", said(&is.driver)),
                        ],
                    );
                }
            },
        ),
        Family::gauge(
            "cupel_network_up",
            Unit::None,
            INTERFACE,
            "1 if the interface is up (operstate), 0 if it is in another state.",
            |at, out| {
                for interface in &at.interfaces {
                    if let Some(state) = out.value(&interface.is.state) {
                        out.put(&interface.labels, &[], state == "up");
                    }
                }
            },
        ),
        Family::gauge(
            "cupel_network_carrier",
            Unit::None,
            INTERFACE,
            "1 if there is a carrier, 0 if there is none. An interface that is down has no sample.",
            |at, out| {
                for interface in &at.interfaces {
                    out.reading(&interface.labels, &[], &interface.is.carrier);
                }
            },
        ),
        Family::gauge(
            "cupel_network_rate_bytes_per_second",
            Unit::BytesPerSecond,
            INTERFACE,
            "Rate of the link, in bytes per second. An interface without a link has no sample.",
            |at, out| {
                for interface in &at.interfaces {
                    out.reading(&interface.labels, &[], &interface.is.rate_gbps);
                }
            },
        ),
        Family::gauge(
            "cupel_network_mtu_bytes",
            Unit::Bytes,
            INTERFACE,
            "MTU of the interface, in bytes.",
            |at, out| {
                for interface in &at.interfaces {
                    out.reading(&interface.labels, &[], &interface.is.mtu);
                }
            },
        ),
        Family::counter(
            "cupel_network_carrier_losses_total",
            Unit::None,
            INTERFACE,
            "How often the carrier was lost since boot.",
            |at, out| {
                for interface in &at.interfaces {
                    out.reading(&interface.labels, &[], &interface.is.carrier_down_count);
                }
            },
        ),
        Family::counter(
            "cupel_network_errors_total",
            Unit::None,
            &["interface", "counter"],
            "Errors and drops of the interface since boot, by the kernel's counter (rx_crc_errors, rx_dropped, tx_errors, …).",
            |at, out| {
                for interface in &at.interfaces {
                    out.counters(&interface.labels, &interface.is.counters, |_| true);
                }
            },
        ),
    ],
};
