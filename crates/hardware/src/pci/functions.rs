//! Reads every function of the PCI bus.

use std::collections::BTreeMap;
use std::time::Duration;

use cupel_model::snapshot::{PciDevice, Problem};
use cupel_model::{PciAddress, Reading};

use super::slots::Slots;
use super::{aer, link, vpd};
use crate::error::ReadError;
use crate::root::Root;
use crate::sysfs::{Attributes, full_pci_address};

/// The bus, as the kernel lists it.
const DEVICES: &str = "/sys/bus/pci/devices";

/// Vendor id of NVIDIA.
const NVIDIA: &str = "10de";

/// All PCI functions, sorted by address, and what could not be read. VPD is read when it is given
/// a time limit.
pub fn collect(root: &Root, vpd_limit: Option<Duration>) -> (Vec<PciDevice>, Vec<Problem>) {
    let mut problems = Vec::new();
    let names = match root.names(DEVICES) {
        Ok(names) => names,
        Err(error) => {
            problems.push(problem(&error));
            Vec::new()
        }
    };
    let (slots, errors) = Slots::read(root);
    problems.extend(errors.iter().map(problem));
    let mut devices = Vec::new();
    for name in names {
        let Some(address) = full_pci_address(&name) else {
            let error = ReadError::malformed(DEVICES, 1, &name, "a PCI address dddd:bb:dd.f");
            problems.push(problem(&error));
            continue;
        };
        let at = Attributes::new(root, format!("{DEVICES}/{name}"));
        devices.push(one(&at, &slots, address));
    }
    devices.sort_by_key(|device| device.address);
    if let Some(limit) = vpd_limit {
        add_vpd(root, &mut devices, limit);
    }
    (devices, problems)
}

/// Whether there is an NVIDIA GPU on the bus, so far as it can be read.
pub fn has_nvidia_gpu(root: &Root) -> bool {
    let names = root.names(DEVICES).unwrap_or_default();
    let addresses = names.iter().filter_map(|name| full_pci_address(name));
    addresses.into_iter().any(|address| {
        let directory = format!("{DEVICES}/{address}");
        let at = Attributes::new(root, directory);
        let vendor = at.hexadecimal("vendor", 4);
        vendor.value().is_some_and(|vendor| vendor == NVIDIA)
            && one(&at, &Slots::default(), address).is_nvidia_gpu()
    })
}

fn problem(error: &ReadError) -> Problem {
    Problem {
        source: "pci".to_owned(),
        why: error.to_string(),
    }
}

fn one(at: &Attributes, slots: &Slots, address: PciAddress) -> PciDevice {
    let chain = bridges_above(at, address);
    let slot = match &chain {
        Ok(chain) => std::iter::once(&address)
            .chain(chain)
            .find_map(|place| slots.of(*place))
            .map_or_else(
                || Reading::absent("the kernel knows no slot of it or of a bridge above it"),
                |slot| Reading::Value(slot.to_owned()),
            ),
        Err(error) => error.clone().into_reading(),
    };
    let upstream = match &chain {
        Ok(chain) => chain.first().map_or_else(
            || Reading::absent("on a root bus"),
            |bridge| Reading::Value(*bridge),
        ),
        Err(error) => error.clone().into_reading(),
    };
    let no_vpd = || Reading::unsupported("VPD was not asked for: only RDMA adapters are");
    let (current_speed_gts, current_width) = link::read(at, "current");
    let (max_speed_gts, max_width) = link::read(at, "max");
    PciDevice {
        address,
        vendor: at.hexadecimal("vendor", 4),
        device: at.hexadecimal("device", 4),
        subsystem: subsystem(at),
        class: at.hexadecimal("class", 6),
        revision: at.hexadecimal("revision", 2),
        current_speed_gts,
        current_width,
        max_speed_gts,
        max_width,
        aer: aer::read(at),
        driver: driver(at),
        numa_node: at
            .number::<i64>("numa_node")
            .and_then(|node| match u32::try_from(node) {
                Ok(node) => Reading::Value(node),
                Err(_) => Reading::absent(format!("the kernel says {node}: no NUMA node")),
            }),
        slot,
        upstream,
        serial: no_vpd(),
        part_number: no_vpd(),
        manages_switches: Reading::absent("not read for this kind of device"),
    }
}

fn driver(at: &Attributes) -> Reading<String> {
    let driver = at.link_name("driver");
    if let Reading::Absent(_) = driver {
        return Reading::absent("no driver is bound");
    }
    driver
}

fn subsystem(at: &Attributes) -> Reading<String> {
    let vendor = at.hexadecimal("subsystem_vendor", 4);
    let device = at.hexadecimal("subsystem_device", 4);
    vendor.and_then(|vendor| device.map(|device| format!("{vendor}:{device}")))
}

/// The bridges above a function, nearest first.
fn bridges_above(at: &Attributes, address: PciAddress) -> Result<Vec<PciAddress>, ReadError> {
    let path = at.directory().resolve()?;
    Ok(upstream_of(address, &path))
}

/// The PCI addresses in a device's path above `address` itself, nearest first:
/// `/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0` has one bridge above `0000:01:00.0`.
pub fn upstream_of(address: PciAddress, path: &str) -> Vec<PciAddress> {
    let mut above: Vec<PciAddress> = path.split('/').filter_map(full_pci_address).collect();
    above.reverse();
    above.retain(|bridge| *bridge != address);
    above
}

/// Reads VPD of the functions that may be asked, all at once, each on its own thread; once for each
/// device, since all functions of an adapter give the same.
fn add_vpd(root: &Root, devices: &mut [PciDevice], limit: Duration) {
    let mut pending = BTreeMap::new();
    for device in devices.iter().filter(|device| vpd::wanted(device)) {
        pending
            .entry(device.address.with_function(0))
            .or_insert_with(|| vpd::start(root, &format!("{DEVICES}/{}", device.address), limit));
    }
    let read: BTreeMap<_, _> = pending
        .into_iter()
        .map(|(address, pending)| (address, pending.wait()))
        .collect();
    for device in devices.iter_mut().filter(|device| vpd::wanted(device)) {
        let Some(vpd) = read.get(&device.address.with_function(0)) else {
            continue;
        };
        let (serial, part_number, manages_switches) = match vpd {
            Ok(vpd) => (
                keyword(vpd.serial.as_ref(), "SN"),
                keyword(vpd.part_number.as_ref(), "PN"),
                Reading::Value(vpd.manages_switches()),
            ),
            Err(error) => (
                error.clone().into_reading(),
                error.clone().into_reading(),
                error.clone().into_reading(),
            ),
        };
        device.serial = serial;
        device.part_number = part_number;
        device.manages_switches = manages_switches;
    }
}

fn keyword(value: Option<&String>, keyword: &str) -> Reading<String> {
    value.map_or_else(
        || Reading::absent(format!("VPD has no keyword {keyword}")),
        |value| Reading::Value(value.clone()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn gpu(tree: &Tree) -> String {
        let bridge = "/sys/devices/pci0000:15/0000:15:01.0";
        let path = format!("{bridge}/0000:16:00.0");
        tree.file(&format!("{bridge}/vendor"), "0x8086\n");
        for (name, value) in [
            ("vendor", "0x10de\n"),
            ("device", "0x2330\n"),
            ("subsystem_vendor", "0x10de\n"),
            ("subsystem_device", "0x16c1\n"),
            ("class", "0x030200\n"),
            ("revision", "0xa1\n"),
            ("current_link_speed", "32.0 GT/s PCIe\n"),
            ("current_link_width", "16\n"),
            ("max_link_speed", "32.0 GT/s PCIe\n"),
            ("max_link_width", "16\n"),
            ("numa_node", "-1\n"),
            (
                "aer_dev_correctable",
                "RxErr 2\nBadTLP 0\nTOTAL_ERR_COR 2\n",
            ),
        ] {
            tree.file(&format!("{path}/{name}"), value);
        }
        tree.link(
            "/sys/bus/pci/devices/0000:15:01.0",
            "../../../devices/pci0000:15/0000:15:01.0",
        );
        tree.link(
            "/sys/bus/pci/devices/0000:16:00.0",
            "../../../devices/pci0000:15/0000:15:01.0/0000:16:00.0",
        );
        tree.link(
            &format!("{path}/driver"),
            "../../../../bus/pci/drivers/nvidia",
        );
        tree.file("/sys/bus/pci/slots/21/address", "0000:15:01\n");
        path
    }

    fn collected(tree: &Tree) -> (Vec<PciDevice>, Vec<Problem>) {
        collect(&tree.root(), Some(Duration::from_secs(5)))
    }

    #[test]
    fn a_gpu_below_a_bridge_in_a_slot() {
        let tree = Tree::new();
        gpu(&tree);
        let (devices, problems) = collected(&tree);
        assert_eq!(problems, []);
        assert_eq!(devices.len(), 2);
        let gpu = &devices[1];
        assert!(gpu.is_nvidia_gpu());
        assert_eq!(gpu.id().as_deref(), Some("10de:2330"));
        assert_eq!(gpu.subsystem, Reading::Value("10de:16c1".to_owned()));
        assert_eq!(gpu.current_width, Reading::Value(16));
        assert_eq!(gpu.current_speed_gts.get().map(f64::from), Some(32.0));
        assert_eq!(gpu.driver, Reading::Value("nvidia".to_owned()));
        assert_eq!(gpu.slot, Reading::Value("21".to_owned()));
        assert_eq!(
            gpu.upstream.get().map(|a| a.to_string()).as_deref(),
            Some("0000:15:01.0")
        );
        assert!(matches!(gpu.numa_node, Reading::Absent(_)));
        let aer = gpu.aer.value().expect("counters");
        let names: Vec<_> = aer.iter().map(|counter| counter.name.as_str()).collect();
        let sorted = ["BadTLP", "RxErr", "TOTAL_ERR_COR"].map(|name| format!("correctable/{name}"));
        assert_eq!(names, sorted);
        assert!(matches!(devices[0].upstream, Reading::Absent(_)));
        assert!(matches!(devices[0].aer, Reading::Absent(_)));
        assert!(matches!(devices[0].driver, Reading::Absent(_)));
    }

    #[test]
    fn a_gpu_off_the_bus_has_no_width() {
        let tree = Tree::new();
        let path = gpu(&tree);
        tree.file(&format!("{path}/current_link_speed"), "Unknown\n");
        tree.file(&format!("{path}/current_link_width"), "255\n");
        let (devices, _) = collected(&tree);
        assert!(devices[1].current_speed_gts.is_failed());
        assert_eq!(
            devices[1].current_width,
            Reading::failed(
                "/sys/bus/pci/devices/0000:16:00.0/current_link_width: the kernel says 255: the device does not answer"
            )
        );
    }

    #[test]
    fn garbage_fails_its_own_value_only() {
        let tree = Tree::new();
        let path = gpu(&tree);
        tree.file(&format!("{path}/vendor"), "zzzz\n");
        tree.file(&format!("{path}/max_link_width"), "");
        tree.file(&format!("{path}/aer_dev_fatal"), "nonsense\n");
        tree.file("/sys/bus/pci/devices/lost+found/vendor", "");
        let (devices, problems) = collected(&tree);
        assert_eq!(
            devices[1].vendor.why(),
            Some(
                "/sys/bus/pci/devices/0000:16:00.0/vendor: line 1: \"zzzz\" is not a hexadecimal number"
            )
        );
        assert!(devices[1].max_width.is_failed());
        assert!(devices[1].aer.is_failed());
        assert_eq!(devices[1].device, Reading::Value("2330".to_owned()));
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn an_rdma_adapter_has_its_serial_from_vpd() {
        let tree = Tree::new();
        for function in ["0000:9a:00.0", "0000:9a:00.1"] {
            let directory = format!("/sys/bus/pci/devices/{function}");
            tree.file(&format!("{directory}/vendor"), "0x15b3\n");
            tree.file(&format!("{directory}/class"), "0x020700\n");
        }
        let vpd = b"\x82\x02\0CX\x90\x0b\0SN\x03XZ7PN\x02AB\x78";
        tree.file("/sys/bus/pci/devices/0000:9a:00.0/vpd", vpd);
        let (devices, _) = collected(&tree);
        assert_eq!(devices[0].serial.why(), None);
        for device in &devices {
            assert_eq!(device.serial, Reading::Value("XZ7".to_owned()));
            assert_eq!(device.part_number, Reading::Value("AB".to_owned()));
        }
        tree.file("/sys/bus/pci/devices/0000:9a:00.0/vpd", b"\x90\xff\xff");
        let (devices, _) = collected(&tree);
        assert_eq!(
            devices[1].serial.why(),
            Some(
                "/sys/bus/pci/devices/0000:9a:00.0/vpd: VPD offset 0: length 65535 reaches beyond its 3 bytes"
            )
        );
    }

    #[test]
    fn no_bus_is_told() {
        let tree = Tree::new();
        let (devices, problems) = collected(&tree);
        assert_eq!(devices, []);
        assert_eq!(problems[0].why, "/sys/bus/pci/devices: no such file");
    }
}
