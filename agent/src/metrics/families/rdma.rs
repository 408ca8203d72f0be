//! RDMA adapters and their ports.

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::number::Number;
use crate::metrics::parts::{DEVICE, PORT, Parts, said};
use crate::metrics::text::Sink;

/// Logical states of a port, as the kernel names them.
const STATES: &[&str] = &["ACTIVE", "ACTIVE_DEFER", "ARMED", "DOWN", "INIT"];

/// Physical states of a port, as the kernel names them.
const PHYSICAL_STATES: &[&str] = &[
    "Disabled",
    "LinkErrorRecovery",
    "LinkUp",
    "Phy Test",
    "Polling",
    "PortConfigurationTraining",
    "Sleep",
];

/// Counters of traffic and waiting, which have families of their own.
const TRAFFIC: [&str; 5] = [
    "port_rcv_data",
    "port_rcv_packets",
    "port_xmit_data",
    "port_xmit_packets",
    "port_xmit_wait",
];

/// A setting among the counters: the time in milliseconds for which they are kept.
const NO_COUNTER: &str = "lifespan";

/// Counters that tell trouble of the link or of the adapter: PortCounters, and mlx5's.
const ERRORS: [&str; 29] = [
    "VL15_dropped",
    "duplicate_request",
    "excessive_buffer_overrun_errors",
    "implied_nak_seq_err",
    "link_downed",
    "link_error_recovery",
    "local_ack_timeout_err",
    "local_link_integrity_errors",
    "out_of_buffer",
    "out_of_sequence",
    "packet_seq_err",
    "port_rcv_constraint_errors",
    "port_rcv_errors",
    "port_rcv_remote_physical_errors",
    "port_rcv_switch_relay_errors",
    "port_xmit_constraint_errors",
    "port_xmit_discards",
    "req_cqe_error",
    "req_cqe_flush_error",
    "req_remote_access_errors",
    "req_remote_invalid_request",
    "req_rnr_retries_exceeded",
    "req_transport_retries_exceeded",
    "resp_cqe_error",
    "resp_cqe_flush_error",
    "resp_local_length_error",
    "resp_remote_access_errors",
    "rnr_nak_retry_err",
    "symbol_error",
];

pub(super) const GROUP: Group = Group {
    title: "RDMA",
    source: "rdma",
    families: &[
        Family::info(
            "cupel_rdma_device_info",
            &[
                "device",
                "pci",
                "slot",
                "serial",
                "firmware",
                "board_id",
                "hca_type",
                "node_guid",
            ],
            "Always 1: an RDMA device, where it is and what it is. Names change with udev and bonds; pci and node_guid stay.",
            |at, out| {
                for device in &at.devices {
                    let is = device.is;
                    let pci = is.pci.get().map(|pci| pci.to_string());
                    out.one(
                        &device.labels,
                        &[
                            ("pci", pci.as_deref().unwrap_or_default()),
                            ("slot", said(&is.slot)),
                            ("serial", said(&is.serial)),
                            ("firmware", said(&is.firmware)),
                            ("board_id", said(&is.board_id)),
                            ("hca_type", said(&is.hca_type)),
                            ("node_guid", said(&is.node_guid)),
                        ],
                    );
                }
            },
        ),
        Family::info(
            "cupel_rdma_port_info",
            &["device", "port", "link_layer", "interfaces"],
            "Always 1: a port, its link layer (InfiniBand, Ethernet) and its network interfaces.",
            |at, out| {
                for port in &at.ports {
                    let interfaces = port.is.interfaces.join(",");
                    let layer = said(&port.is.link_layer);
                    let more = [("link_layer", layer), ("interfaces", &*interfaces)];
                    out.one(&port.labels, &more);
                }
            },
        ),
        Family::gauge(
            "cupel_rdma_port_up",
            Unit::None,
            PORT,
            "1 if the port is ACTIVE and LinkUp, 0 if not.",
            |at, out| {
                for port in &at.ports {
                    let (state, physical) = (&port.is.state, &port.is.physical_state);
                    if let (Some(state), Some(physical)) = (state.value(), physical.value()) {
                        let up = state == "ACTIVE" && physical == "LinkUp";
                        out.put(&port.labels, &[], up);
                    }
                }
            },
        ),
        Family::gauge(
            "cupel_rdma_port_state",
            Unit::None,
            &["device", "port", "state"],
            "1 for the logical state of the port in the kernel's words (ACTIVE, ACTIVE_DEFER, ARMED, DOWN, INIT), 0 for the others.",
            |at, out| {
                for port in &at.ports {
                    out.state(&port.labels, "state", STATES, &port.is.state);
                }
            },
        ),
        Family::gauge(
            "cupel_rdma_port_physical_state",
            Unit::None,
            &["device", "port", "state"],
            "1 for the physical state of the port in the kernel's words (LinkUp, Polling, Disabled, …), 0 for the others.",
            |at, out| {
                for port in &at.ports {
                    let state = &port.is.physical_state;
                    out.state(&port.labels, "state", PHYSICAL_STATES, state);
                }
            },
        ),
        Family::gauge(
            "cupel_rdma_port_rate_bytes_per_second",
            Unit::BytesPerSecond,
            PORT,
            "Rate of the port, in bytes per second.",
            |at, out| {
                for port in &at.ports {
                    out.reading(&port.labels, &[], &port.is.rate_gbps);
                }
            },
        ),
        Family::counter(
            "cupel_rdma_port_received_bytes_total",
            Unit::Bytes,
            PORT,
            "Data that the port received, in bytes (port_rcv_data counts words of four bytes).",
            |at, out| named(at, out, "port_rcv_data", of_words),
        ),
        Family::counter(
            "cupel_rdma_port_transmitted_bytes_total",
            Unit::Bytes,
            PORT,
            "Data that the port sent, in bytes (port_xmit_data counts words of four bytes).",
            |at, out| named(at, out, "port_xmit_data", of_words),
        ),
        Family::counter(
            "cupel_rdma_port_received_packets_total",
            Unit::None,
            PORT,
            "Packets that the port received (port_rcv_packets).",
            |at, out| named(at, out, "port_rcv_packets", Number::Whole),
        ),
        Family::counter(
            "cupel_rdma_port_transmitted_packets_total",
            Unit::None,
            PORT,
            "Packets that the port sent (port_xmit_packets).",
            |at, out| named(at, out, "port_xmit_packets", Number::Whole),
        ),
        Family::counter(
            "cupel_rdma_port_transmit_wait_ticks_total",
            Unit::None,
            PORT,
            "Ticks in which the port had data to send and could not (port_xmit_wait); the length of a tick is the adapter's.",
            |at, out| named(at, out, "port_xmit_wait", Number::Whole),
        ),
        Family::counter(
            "cupel_rdma_port_errors_total",
            Unit::None,
            &["device", "port", "counter"],
            "Errors of the port, by the kernel's counter (symbol_error, link_downed, link_error_recovery, port_rcv_errors, out_of_sequence, …).",
            |at, out| {
                for port in &at.ports {
                    out.counters(&port.labels, &port.is.counters, is_error);
                }
            },
        ),
        Family::counter(
            "cupel_rdma_port_events_total",
            Unit::None,
            &["device", "port", "counter"],
            "Whatever else the kernel counts of the port, by the kernel's counter (np_cnp_sent, rx_read_requests, unicast_rcv_packets, …).",
            |at, out| {
                for port in &at.ports {
                    out.counters(&port.labels, &port.is.counters, is_event);
                }
            },
        ),
        Family::counter(
            "cupel_rdma_device_events_total",
            Unit::None,
            &["device", "counter"],
            "What the kernel counts of the device as a whole, by the kernel's counter.",
            |at, out| {
                for device in &at.devices {
                    let counters = &device.is.counters;
                    out.counters(&device.labels, counters, |name| name != NO_COUNTER);
                }
            },
        ),
        Family::gauge(
            "cupel_rdma_ports",
            Unit::None,
            DEVICE,
            "Ports of the RDMA device.",
            |at, out| {
                for device in &at.devices {
                    out.put(&device.labels, &[], device.is.ports.len());
                }
            },
        ),
    ],
};

/// The kernel's name, without the directory that a doubled one has.
fn bare(name: &str) -> &str {
    name.strip_prefix("hw_counters/").unwrap_or(name)
}

fn is_error(name: &str) -> bool {
    ERRORS.binary_search(&bare(name)).is_ok()
}

fn is_event(name: &str) -> bool {
    !is_error(name) && !TRAFFIC.contains(&name) && bare(name) != NO_COUNTER
}

/// Words of four bytes, in bytes.
fn of_words(words: u64) -> Number {
    Number::Whole(words.saturating_mul(4))
}

/// One counter of each port.
fn named(at: &Parts<'_>, out: &mut Sink, name: &str, number: fn(u64) -> Number) {
    for port in &at.ports {
        let mut counters = port.is.counters.iter();
        if let Some(counter) = counters.find(|counter| counter.name == name) {
            out.counted(&port.labels, &[], &counter.value, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_of_a_port_is_in_one_family() {
        assert!(ERRORS.is_sorted(), "binary search wants order");
        for name in ["symbol_error", "hw_counters/out_of_sequence"] {
            assert!(is_error(name) && !is_event(name), "{name}");
        }
        for name in TRAFFIC.iter().copied().chain([NO_COUNTER]) {
            assert!(!is_error(name) && !is_event(name), "{name}");
        }
        assert!(is_event("np_cnp_sent") && is_event("unicast_rcv_packets"));
    }
}
