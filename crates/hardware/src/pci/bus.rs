//! The PCI bus, read again and again.
//!
//! # Invariants
//! - What a function is, and where, is read when it appears and every hour; its link, its driver and
//!   its error counters each time. A device that took the place of another at the same address is
//!   another directory of sysfs, and so is known as new.
//! - VPD is slow to read, and the same for all functions of an adapter: once for each, when it
//!   appears and every hour.

use std::collections::BTreeMap;
use std::time::Duration;

use cupel_model::snapshot::{PciDevice, Problem};
use cupel_model::{PciAddress, Reading};

use super::functions::{DEVICES, driver, one};
use super::slots::Slots;
use super::vpd::{self, Vpd};
use super::{aer, link};
use crate::clock;
use crate::error::ReadError;
use crate::root::{Identity, Root};
use crate::sysfs::{Attributes, full_pci_address};

/// How long what does not change is believed.
const BELIEVED: Duration = Duration::from_secs(3600);

/// After how long VPD that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(300);

/// All PCI functions, sorted by address, and what could not be read. VPD is read when it is given
/// a time limit.
pub fn collect(root: &Root, vpd_limit: Option<Duration>) -> (Vec<PciDevice>, Vec<Problem>) {
    Bus::default().read(root, vpd_limit)
}

/// The bus, with what was read of it before.
#[derive(Debug, Default)]
pub struct Bus {
    known: BTreeMap<PciAddress, Known>,
    /// By function 0 of the adapter.
    vpd: BTreeMap<PciAddress, KnownVpd>,
    /// What went wrong when slots were read.
    slot_problems: Vec<Problem>,
    /// Until when that is believed, as time since boot.
    until: Duration,
}

/// One function as it was last read in full.
#[derive(Debug)]
struct Known {
    identity: Option<Identity>,
    /// Without its counters.
    device: PciDevice,
    counts_errors: bool,
}

#[derive(Debug)]
struct KnownVpd {
    /// Of the function that it was read of.
    identity: Option<Identity>,
    read: Result<Vpd, ReadError>,
    at: Duration,
}

impl KnownVpd {
    fn is_believed(&self, identity: Option<Identity>, now: Duration) -> bool {
        let age = now.saturating_sub(self.at);
        let long = if self.read.is_ok() { BELIEVED } else { RETRY };
        self.identity.is_some() && self.identity == identity && age < long
    }
}

/// A function on the bus, with its open directory.
struct There {
    address: PciAddress,
    at: Attributes,
}

impl Bus {
    /// All PCI functions, sorted by address, and what could not be read. VPD is read when it is
    /// given a time limit.
    pub fn read(
        &mut self,
        root: &Root,
        vpd_limit: Option<Duration>,
    ) -> (Vec<PciDevice>, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut there = present(root, &mut problems);
        let now = clock::since_boot();
        let same = there.len() == self.known.len()
            && there.iter_mut().all(|function| self.knows(function))
            && now < self.until;
        let mut devices: Vec<PciDevice> = if same {
            there
                .iter()
                .filter_map(|function| self.again(function))
                .collect()
        } else {
            self.until = now.saturating_add(BELIEVED);
            self.afresh(root, &there)
        };
        problems.extend_from_slice(&self.slot_problems);
        if let Some(limit) = vpd_limit {
            self.add_vpd(root, &there, &mut devices, limit);
        }
        (devices, problems)
    }

    fn knows(&self, function: &mut There) -> bool {
        let known = self.known.get(&function.address);
        known.is_some_and(|known| function.at.is_still(known.identity))
    }

    /// Everything of all functions.
    fn afresh(&mut self, root: &Root, there: &[There]) -> Vec<PciDevice> {
        let (slots, errors) = Slots::read(root);
        self.slot_problems = errors.iter().map(problem).collect();
        self.known.clear();
        let mut devices = Vec::with_capacity(there.len());
        for function in there {
            let identity = function.at.directory().identity();
            let device = one(&function.at, &slots, function.address);
            let counts_errors = !matches!(device.aer, Reading::Absent(_));
            let known = Known {
                identity,
                device: if counts_errors {
                    PciDevice {
                        aer: Reading::default(),
                        ..device.clone()
                    }
                } else {
                    device.clone()
                },
                counts_errors,
            };
            self.known.insert(function.address, known);
            devices.push(device);
        }
        devices
    }

    /// What changes of a function that is known.
    fn again(&self, function: &There) -> Option<PciDevice> {
        let known = self.known.get(&function.address)?;
        let at = &function.at;
        let mut device = known.device.clone();
        (device.current_speed_gts, device.current_width) = link::read(at, "current");
        device.driver = driver(at);
        if known.counts_errors {
            device.aer = aer::read(at);
        }
        Some(device)
    }

    /// Reads VPD of the functions that may be asked and are not known, all at once, each on its own
    /// thread.
    fn add_vpd(
        &mut self,
        root: &Root,
        there: &[There],
        devices: &mut [PciDevice],
        limit: Duration,
    ) {
        let now = clock::since_boot();
        let mut asked = BTreeMap::new();
        for (function, device) in there.iter().zip(&*devices) {
            if vpd::wanted(device) {
                asked
                    .entry(device.address.with_function(0))
                    .or_insert_with(|| (device.address, function.at.directory().identity()));
            }
        }
        self.vpd.retain(|adapter, known| {
            let identity = asked.get(adapter).map(|(_, identity)| *identity);
            identity.is_some_and(|identity| known.is_believed(identity, now))
        });
        let pending: Vec<_> = asked
            .iter()
            .filter(|(adapter, _)| !self.vpd.contains_key(adapter))
            .map(|(adapter, (address, identity))| {
                let directory = format!("{DEVICES}/{address}");
                (*adapter, *identity, vpd::start(root, &directory, limit))
            })
            .collect();
        for (adapter, identity, pending) in pending {
            let read = pending.wait();
            let known = KnownVpd {
                identity,
                read,
                at: now,
            };
            self.vpd.insert(adapter, known);
        }
        for device in devices.iter_mut().filter(|device| vpd::wanted(device)) {
            if let Some(known) = self.vpd.get(&device.address.with_function(0)) {
                tell_vpd(device, &known.read);
            }
        }
    }
}

/// The functions that the kernel lists, by address.
fn present(root: &Root, problems: &mut Vec<Problem>) -> Vec<There> {
    let names = match root.names(DEVICES) {
        Ok(names) => names,
        Err(error) => {
            problems.push(problem(&error));
            Vec::new()
        }
    };
    let mut there = Vec::with_capacity(names.len());
    for name in names {
        let Some(address) = full_pci_address(&name) else {
            let error = ReadError::malformed(DEVICES, 1, &name, "a PCI address dddd:bb:dd.f");
            problems.push(problem(&error));
            continue;
        };
        let at = Attributes::new(root, format!("{DEVICES}/{name}"));
        there.push(There { address, at });
    }
    there.sort_by_key(|function| function.address);
    there
}

fn problem(error: &ReadError) -> Problem {
    Problem {
        source: "pci".to_owned(),
        why: error.to_string(),
    }
}

fn tell_vpd(device: &mut PciDevice, vpd: &Result<Vpd, ReadError>) {
    match vpd {
        Ok(vpd) => {
            device.serial = keyword(vpd.serial.as_ref(), "SN");
            device.part_number = keyword(vpd.part_number.as_ref(), "PN");
            device.manages_switches = Reading::Value(vpd.manages_switches());
        }
        Err(error) => {
            device.serial = error.clone().into_reading();
            device.part_number = error.clone().into_reading();
            device.manages_switches = error.clone().into_reading();
        }
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
    use cupel_model::Reading;

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

    /// What a new reader sees.
    fn fresh(tree: &Tree) -> (Vec<PciDevice>, Vec<Problem>) {
        collected(tree)
    }

    #[test]
    fn again_is_as_new_when_links_errors_and_drivers_change() {
        let tree = Tree::new();
        let path = gpu(&tree);
        let mut bus = Bus::default();
        let limit = Some(Duration::from_secs(5));
        let root = tree.root();
        assert_eq!(bus.read(&root, limit), fresh(&tree));
        let before = bus.until;
        assert_eq!(bus.read(&root, limit), fresh(&tree));
        assert_eq!(
            bus.until, before,
            "nothing is read twice that does not change"
        );
        // In place, as the kernel does it: the directory stays what it is.
        tree.file(&format!("{path}/current_link_speed"), "Unknown\n");
        tree.file(&format!("{path}/current_link_width"), "255\n");
        tree.file(
            &format!("{path}/aer_dev_correctable"),
            "RxErr 3\nBadTLP 1\nTOTAL_ERR_COR 4\n",
        );
        let (devices, _) = bus.read(&root, limit);
        assert_eq!(devices, fresh(&tree).0);
        assert_eq!(bus.until, before);
        assert!(devices[1].current_width.is_failed());
        tree.remove(&format!("{path}/driver"));
        tree.link(
            &format!("{path}/driver"),
            "../../../../bus/pci/drivers/vfio-pci",
        );
        let (devices, _) = bus.read(&root, limit);
        assert_eq!(devices[1].driver, Reading::Value("vfio-pci".to_owned()));
    }

    #[test]
    fn what_comes_goes_and_is_exchanged_is_seen() {
        let tree = Tree::new();
        let root = tree.root();
        let limit = Some(Duration::from_secs(5));
        let directory = "/sys/bus/pci/devices/0000:9a:00.0";
        let adapter = |serial: &[u8; 3]| {
            tree.file(&format!("{directory}/vendor"), "0x15b3\n");
            tree.file(&format!("{directory}/class"), "0x020700\n");
            tree.file(
                &format!("{directory}/vpd"),
                [b"\x90\x06\0SN\x03", &serial[..], b"\x78"].concat(),
            );
        };
        adapter(b"ONE");
        let mut bus = Bus::default();
        let serial = |devices: &[PciDevice]| devices[0].serial.clone();
        let (devices, _) = bus.read(&root, limit);
        assert_eq!(serial(&devices), Reading::Value("ONE".to_owned()));
        gpu(&tree);
        assert_eq!(bus.read(&root, limit), fresh(&tree));
        let (devices, _) = bus.read(&root, limit);
        assert_eq!(devices.len(), 3);
        tree.remove_directory("/sys/bus/pci/devices/0000:9a:00.0");
        assert_eq!(bus.read(&root, limit).0.len(), 2);
        assert!(bus.vpd.is_empty());
        adapter(b"TWO");
        let (devices, _) = bus.read(&root, limit);
        assert_eq!(devices[2].serial, Reading::Value("TWO".to_owned()));
    }

    #[test]
    fn what_was_known_is_read_again_after_an_hour() {
        let tree = Tree::new();
        let path = gpu(&tree);
        let mut bus = Bus::default();
        let root = tree.root();
        bus.read(&root, None);
        tree.file(&format!("{path}/device"), "0x2335\n");
        let device = |devices: Vec<PciDevice>| devices[1].device.clone();
        assert_eq!(
            device(bus.read(&root, None).0),
            Reading::Value("2330".to_owned())
        );
        bus.until = Duration::ZERO;
        assert_eq!(
            device(bus.read(&root, None).0),
            Reading::Value("2335".to_owned())
        );
    }

    #[test]
    fn vpd_that_failed_is_tried_again() {
        let read = Err(ReadError::Empty {
            path: "x".to_owned(),
        });
        let tree = Tree::new();
        tree.directory("/d");
        let identity = crate::root::Directory::new(&tree.root(), "/d").identity();
        let mut known = KnownVpd {
            identity,
            read,
            at: Duration::ZERO,
        };
        assert!(known.is_believed(identity, RETRY / 2));
        assert!(!known.is_believed(identity, RETRY));
        assert!(!known.is_believed(None, RETRY / 2));
        known.read = Ok(Vpd::default());
        assert!(known.is_believed(identity, RETRY) && !known.is_believed(identity, BELIEVED));
    }
}
