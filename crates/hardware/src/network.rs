//! Network interfaces that are backed by a device: `/sys/class/net`.
//!
//! # Invariants
//! - Sorted by name. Bonds, bridges and other software interfaces are left out.

use cupel_model::Reading;
use cupel_model::snapshot::{NamedCounter, NetworkInterface, Problem};
use cupel_model::units::GigabitsPerSecond;

use crate::root::Root;
use crate::sysfs::{Attributes, count, flag};

const CLASS: &str = "/sys/class/net";

/// Statistics that tell trouble.
const STATISTICS: [&str; 11] = [
    "rx_crc_errors",
    "rx_dropped",
    "rx_errors",
    "rx_fifo_errors",
    "rx_frame_errors",
    "rx_length_errors",
    "rx_missed_errors",
    "rx_over_errors",
    "tx_carrier_errors",
    "tx_dropped",
    "tx_errors",
];

/// All interfaces that have a device, by name, and what could not be read.
pub fn collect(root: &Root) -> (Vec<NetworkInterface>, Vec<Problem>) {
    match root.names(CLASS) {
        Ok(names) => (
            names.iter().filter_map(|name| one(root, name)).collect(),
            Vec::new(),
        ),
        Err(error) if error.is_missing() => (Vec::new(), Vec::new()),
        Err(error) => {
            let problem = Problem {
                source: "network".to_owned(),
                why: error.to_string(),
            };
            (Vec::new(), vec![problem])
        }
    }
}

fn one(root: &Root, name: &str) -> Option<NetworkInterface> {
    let at = Attributes::new(root, format!("{CLASS}/{name}"));
    let device = at.path("device");
    if root.link(&device).is_err() && !root.exists(&device) {
        return None;
    }
    let statistics = at.below("statistics");
    Some(NetworkInterface {
        name: name.to_owned(),
        pci: at.pci_address(),
        mac: at.value("address"),
        state: at.value("operstate"),
        carrier: carrier(&at),
        rate_gbps: rate(&at),
        mtu: at.number("mtu"),
        carrier_down_count: at.number("carrier_down_count"),
        driver: at.link_name("device/driver"),
        counters: STATISTICS
            .iter()
            .map(|counter| NamedCounter {
                name: (*counter).into(),
                value: statistics.parsed(counter, "a count", count),
            })
            .collect(),
    })
}

/// Whether there is a carrier. An interface that is down does not say.
fn carrier(at: &Attributes) -> Reading<bool> {
    let carrier = at.parsed("carrier", "0 or 1", flag);
    if let Reading::Unsupported(_) = carrier {
        return Reading::failed(format!("{}: not told while it is down", at.path("carrier")));
    }
    carrier
}

/// Megabits a second; without a link the kernel says -1, or refuses.
fn rate(at: &Attributes) -> Reading<GigabitsPerSecond> {
    let speed = at.number::<i64>("speed");
    if let Reading::Unsupported(_) = speed {
        return Reading::absent("no link, or a device without a rate");
    }
    speed.and_then(|megabits| match u32::try_from(megabits) {
        Ok(0) | Err(_) => Reading::absent(format!(
            "no link, or a device without a rate (the kernel says {megabits})"
        )),
        // The kernel's "unknown" as an unsigned number.
        Ok(u32::MAX) => Reading::absent("no link"),
        Ok(megabits) => GigabitsPerSecond::new(f64::from(megabits) / 1000.0)
            .map_or_else(|error| Reading::failed(error.to_string()), Reading::Value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn interfaces_with_a_device_and_no_other() {
        let tree = Tree::new();
        let device = "/sys/devices/pci0000:37/0000:38:00.0";
        tree.file(&format!("{device}/vendor"), "0x15b3");
        tree.link(
            &format!("{device}/driver"),
            "../../../bus/pci/drivers/mlx5_core",
        );
        tree.link(
            "/sys/class/net/eth0/device",
            "../../../devices/pci0000:37/0000:38:00.0",
        );
        for (file, value) in [
            ("address", "00:11:22:33:44:55"),
            ("operstate", "up"),
            ("carrier", "1"),
            ("speed", "200000"),
            ("mtu", "9000"),
            ("carrier_down_count", "2"),
            ("statistics/rx_errors", "3"),
        ] {
            tree.file(&format!("/sys/class/net/eth0/{file}"), value);
        }
        tree.file("/sys/class/net/lo/operstate", "unknown");
        tree.link(
            "/sys/class/net/eth1/device",
            "../../../devices/pci0000:37/0000:38:00.1",
        );
        tree.file("/sys/class/net/eth1/speed", "-1");
        let (interfaces, problems) = collect(&tree.root());
        assert_eq!(problems, []);
        let names: Vec<_> = interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["eth0", "eth1"]);
        let eth0 = &interfaces[0];
        assert_eq!(
            eth0.pci.get().map(|a| a.to_string()).as_deref(),
            Some("0000:38:00.0")
        );
        assert_eq!(eth0.rate_gbps.get().map(f64::from), Some(200.0));
        assert_eq!(eth0.driver, Reading::Value("mlx5_core".to_owned()));
        assert_eq!(eth0.carrier, Reading::Value(true));
        let errors = eth0
            .counters
            .iter()
            .find(|c| c.name == "rx_errors")
            .expect("listed");
        assert_eq!(errors.value.get().map(|c| c.value), Some(3));
        assert!(matches!(interfaces[1].rate_gbps, Reading::Absent(_)));
        assert!(matches!(interfaces[1].mac, Reading::Absent(_)));
    }

    #[test]
    fn a_virtio_interface_belongs_to_the_function_above_it() {
        let tree = Tree::new();
        tree.file(
            "/sys/devices/pci0000:00/0000:00:03.0/virtio2/vendor",
            "0x1af4",
        );
        tree.link(
            "/sys/class/net/eth0/device",
            "../../../devices/pci0000:00/0000:00:03.0/virtio2",
        );
        let (interfaces, _) = collect(&tree.root());
        let pci = interfaces[0].pci.get().map(|a| a.to_string());
        assert_eq!(pci.as_deref(), Some("0000:00:03.0"));
    }
}
