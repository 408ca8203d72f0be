//! Counters of RDMA devices and ports, and how wide their registers are.

use cupel_model::snapshot::NamedCounter;
use cupel_model::{Counter, Reading};
use smol_str::{SmolStr, format_smolstr};

use crate::error::{ReadError, reading};
use crate::root::{Directory, Identity};

/// Bits of the registers of PortCounters (InfiniBand Architecture Specification 1.4, volume 1,
/// 16.1.3.5), by the kernel's file name.
const PORT_COUNTERS: [(&str, u32); 13] = [
    ("VL15_dropped", 16),
    ("excessive_buffer_overrun_errors", 4),
    ("link_downed", 8),
    ("link_error_recovery", 8),
    ("local_link_integrity_errors", 4),
    ("port_rcv_constraint_errors", 8),
    ("port_rcv_errors", 16),
    ("port_rcv_remote_physical_errors", 16),
    ("port_rcv_switch_relay_errors", 16),
    ("port_xmit_constraint_errors", 8),
    ("port_xmit_discards", 16),
    ("port_xmit_wait", 32),
    ("symbol_error", 16),
];

/// Traffic counters: 64 bits where the port has PortCountersExtended, else 32.
const TRAFFIC: [&str; 4] = [
    "port_rcv_data",
    "port_rcv_packets",
    "port_xmit_data",
    "port_xmit_packets",
];

/// Counters that only a port with PortCountersExtended has.
const EXTENDED_ONLY: [&str; 4] = [
    "multicast_rcv_packets",
    "multicast_xmit_packets",
    "unicast_rcv_packets",
    "unicast_xmit_packets",
];

/// Bits of the register behind a file of `counters/`.
pub fn width_of(name: &str, extended: bool) -> u32 {
    if let Some((_, bits)) = PORT_COUNTERS.iter().find(|(known, _)| *known == name) {
        return *bits;
    }
    if TRAFFIC.contains(&name) && !extended {
        32
    } else {
        64
    }
}

/// A count of a register of `bits` bits. At its maximum it has saturated; above it the register is
/// evidently wider than the specification's, and the count is exact.
pub fn parse(text: &str, bits: u32) -> Option<Counter> {
    let value: u64 = text.parse().ok()?;
    let full = Counter::with_width(value, bits);
    let at_maximum = full.saturated && (bits >= 64 || value == (1_u64 << bits) - 1);
    Some(if at_maximum {
        full
    } else {
        Counter::exact(value)
    })
}

/// The counters in a directory: their names, and by what the directory is known again.
#[derive(Debug)]
pub(super) struct Counters {
    names: Vec<SmolStr>,
    identity: Option<Identity>,
}

impl Counters {
    /// Those that there are now.
    pub(super) fn list(directory: &Directory, problems: &mut Vec<ReadError>) -> Self {
        Self {
            identity: directory.identity(),
            names: list(directory, problems)
                .into_iter()
                .map(Into::into)
                .collect(),
        }
    }

    /// Each as a counter of 64 bits, by name.
    pub(super) fn read(&self, mut directory: Directory) -> Vec<NamedCounter> {
        directory.is_still(self.identity);
        let directory = &directory;
        self.names
            .iter()
            .map(|name| NamedCounter {
                name: name.clone(),
                value: value(directory, name, directory.value(name), 64),
            })
            .collect()
    }
}

/// The counters of a port.
#[derive(Debug)]
pub(super) struct PortCounters {
    standard: Counters,
    hardware: Counters,
}

impl PortCounters {
    /// Those that the port has now.
    pub(super) fn list(port: &Directory, problems: &mut Vec<ReadError>) -> Self {
        Self {
            standard: Counters::list(&port.below("counters"), problems),
            hardware: Counters::list(&port.below("hw_counters"), problems),
        }
    }

    /// Every counter of `counters` and `hw_counters`, by name.
    pub(super) fn read(&self, port: &Directory) -> Vec<NamedCounter> {
        let mut standard = port.below("counters");
        standard.is_still(self.standard.identity);
        let texts: Vec<(&SmolStr, Result<String, ReadError>)> = self
            .standard
            .names
            .iter()
            .map(|name| (name, standard.value(name)))
            .collect();
        // Some drivers give 64-bit traffic counters without the multicast and unicast ones; a count
        // beyond 32 bits is the only other sign of it.
        let extended = texts.iter().any(|(name, text)| {
            EXTENDED_ONLY.contains(&name.as_str())
                || (TRAFFIC.contains(&name.as_str())
                    && text.as_ref().is_ok_and(|text| {
                        text.parse::<u64>()
                            .is_ok_and(|value| value > u64::from(u32::MAX))
                    }))
        });
        let mut counters: Vec<NamedCounter> = texts
            .into_iter()
            .map(|(name, text)| NamedCounter {
                name: name.clone(),
                value: value(&standard, name, text, width_of(name, extended)),
            })
            .collect();
        for mut counter in self.hardware.read(port.below("hw_counters")) {
            if self.standard.names.contains(&counter.name) {
                counter.name = format_smolstr!("hw_counters/{}", counter.name);
            }
            counters.push(counter);
        }
        counters.sort_by(|a, b| a.name.cmp(&b.name));
        counters
    }
}

/// Names of the counters in a directory.
fn list(directory: &Directory, problems: &mut Vec<ReadError>) -> Vec<String> {
    match directory.names() {
        Ok(names) => names,
        // Drivers without such counters have no such directory.
        Err(error) if error.is_missing() => Vec::new(),
        Err(error) => {
            problems.push(error);
            Vec::new()
        }
    }
}

fn value(
    directory: &Directory,
    name: &str,
    text: Result<String, ReadError>,
    bits: u32,
) -> Reading<Counter> {
    let path = || directory.path_of(name);
    reading(text).and_then(|text| match parse(&text, bits) {
        Some(counter) => Reading::Value(counter),
        None if text.starts_with("N/A") => Reading::unsupported(format!("{}: {text}", path())),
        None => ReadError::malformed(&path(), 1, &text, "a count").into_reading(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturation_is_known_by_width() {
        let saturated = |name: &str, value: u64, extended: bool| {
            parse(&value.to_string(), width_of(name, extended))
                .expect("count")
                .saturated
        };
        assert!(saturated("link_downed", 255, true));
        assert!(!saturated("link_downed", 254, true));
        assert!(saturated("symbol_error", 65535, false));
        assert!(saturated("local_link_integrity_errors", 15, false));
        assert!(saturated("port_xmit_wait", u64::from(u32::MAX), true));
        assert!(saturated("port_rcv_data", u64::from(u32::MAX), false));
        assert!(!saturated("port_rcv_data", u64::from(u32::MAX), true));
        assert!(saturated("port_rcv_data", u64::MAX, true));
        assert!(!saturated("out_of_buffer", 255, false));
        // A driver that keeps wider counters than the specification.
        assert!(!saturated("link_downed", 256, true));
    }
}
