//! Reads one NVMe controller.

use cupel_model::snapshot::NvmeController;
use cupel_model::units::Bytes;
use cupel_model::{PciAddress, Reading};

use super::ioctl::{self, AdminError, Page};
use super::pages::{
    FIRMWARE_SLOTS_BYTES, HEALTH_BYTES, IDENTIFY_BYTES, PageError, parse_firmware_slots,
    parse_health, parse_identify,
};
use crate::error::{ReadError, reading};
use crate::root::Root;
use crate::sysfs::{Attributes, full_pci_address};

const CLASS: &str = "/sys/class/nvme";

/// The unit of a block device's `size`, whatever its block size.
const SECTOR_BYTES: u64 = 512;

/// Names of the NVMe controllers, sorted. No class directory is no controller.
///
/// # Errors
/// As the system says.
pub fn names(root: &Root) -> Result<Vec<String>, ReadError> {
    match root.names(CLASS) {
        Err(error) if error.is_missing() => Ok(Vec::new()),
        other => other,
    }
}

/// One controller. Its slot is filled from its PCI function.
pub fn one(root: &Root, name: &str) -> NvmeController {
    let directory = format!("{CLASS}/{name}");
    let at = Attributes::new(root, directory.as_str());
    let identify = page(root, name, Page::Identify, parse_identify);
    let identified = |of: fn(&super::Identify) -> &Option<String>, what: &str| {
        identify.as_ref().and_then(|identify| match of(identify) {
            Some(text) => Reading::Value(text.clone()),
            None => Reading::absent(format!("Identify Controller has no {what}")),
        })
    };
    let pci = pci_address(&at);
    NvmeController {
        name: name.to_owned(),
        slot: pci.as_ref().and_then(|_| Reading::default()),
        pci,
        model: at.value("model").or(identified(|i| &i.model, "model")),
        serial: at.value("serial").or(identified(|i| &i.serial, "serial")),
        // The kernel's copy is from when it found the controller; the controller's own is of now.
        firmware: identified(|i| &i.firmware, "firmware revision").or(at.value("firmware_rev")),
        state: at.value("state"),
        capacity_bytes: reading(capacity(root, &directory)),
        health: page(root, name, Page::Health, parse_health),
        firmware_slots: page(root, name, Page::FirmwareSlots, parse_firmware_slots),
    }
}

/// Where the controller sits: by its device, else by its own address.
fn pci_address(at: &Attributes) -> Reading<PciAddress> {
    let by_device = at.pci_address();
    if by_device.value().is_some() {
        return by_device;
    }
    // Over a fabric it is `traddr=…,trsvcid=…`: such a drive is on no bus of this machine.
    let over_fabric = at.value("address");
    if over_fabric.value().is_some_and(|text| text.contains('=')) {
        return by_device;
    }
    let own = at.parsed("address", "a PCI address", full_pci_address);
    // What went wrong with the device is not made good by an address that is not there.
    if own.value().is_none() && by_device.is_failed() {
        by_device
    } else {
        own
    }
}

/// A controller that did not answer: its name, and why nothing else is known.
pub fn unread(name: &str, why: &str) -> NvmeController {
    let failed = || Reading::failed(why);
    NvmeController {
        name: name.to_owned(),
        pci: Reading::failed(why),
        slot: failed(),
        model: failed(),
        serial: failed(),
        firmware: failed(),
        state: failed(),
        capacity_bytes: Reading::failed(why),
        health: Reading::failed(why),
        firmware_slots: Reading::failed(why),
    }
}

/// Sum of the sizes of the controller's namespaces.
fn capacity(root: &Root, directory: &str) -> Result<Bytes, ReadError> {
    let mut total = None;
    for name in root
        .names(directory)?
        .iter()
        .filter(|name| is_namespace(name))
    {
        let path = format!("{directory}/{name}/size");
        let bytes = root.parsed(&path, "a number of sectors", |text| {
            text.parse::<u64>().ok()?.checked_mul(SECTOR_BYTES)
        })?;
        total = Some(bytes.saturating_add(total.unwrap_or(0)));
    }
    total.map(Bytes).ok_or_else(|| ReadError::Missing {
        path: format!("{directory}/nvme*n*"),
    })
}

/// Block devices of the controller's namespaces, sorted: `nvme0n1`. A path of the kernel's own
/// multipathing (`nvme0c1n1`) stands for the device above it (`nvme0n1`).
///
/// # Errors
/// As the system says.
pub fn namespaces(root: &Root, controller: &str) -> Result<Vec<String>, ReadError> {
    let mut names: Vec<String> = root
        .names(&format!("{CLASS}/{controller}"))?
        .into_iter()
        .filter(|name| is_namespace(name))
        .map(|name| {
            let path = name.split_once('c').zip(name.rsplit_once('n'));
            path.map_or_else(
                || name.clone(),
                |((subsystem, _), (_, number))| format!("{subsystem}n{number}"),
            )
        })
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// `nvme0n1`, or `nvme0c1n1` where paths are shared.
fn is_namespace(name: &str) -> bool {
    let Some((before, number)) = name
        .strip_prefix("nvme")
        .and_then(|rest| rest.rsplit_once('n'))
    else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let controller = match before.split_once('c') {
        Some((subsystem, controller)) => digits(subsystem) && digits(controller),
        None => digits(before),
    };
    controller && digits(number)
}

/// A page of the controller, asked by ioctl; under a root other than `/`, a file of its bytes.
fn page<T>(
    root: &Root,
    name: &str,
    page: Page,
    parse: fn(&[u8]) -> Result<T, PageError>,
) -> Reading<T> {
    let (suffix, size) = match page {
        Page::Identify => ("identify", IDENTIFY_BYTES),
        Page::Health => ("smart", HEALTH_BYTES),
        Page::FirmwareSlots => ("firmware-slots", FIRMWARE_SLOTS_BYTES),
        Page::SelfTest => ("self-test", super::SELF_TEST_BYTES),
    };
    let (path, bytes) = if root.is_live() {
        let path = format!("/dev/{name}");
        let bytes = root.open(&path).and_then(|device| {
            ioctl::page(&device, page, u32::try_from(size).unwrap_or(u32::MAX))
                .map_err(|error| admin_error(&path, &error))
        });
        (path, bytes)
    } else {
        let path = format!("/dev/{name}.{suffix}");
        // One byte more than fits, so that a file that is too long is told as such.
        let bytes = root.read(&path, size + 1);
        (path, bytes)
    };
    reading(bytes.and_then(|bytes| {
        parse(&bytes).map_err(|error| ReadError::Binary {
            path,
            detail: error.to_string(),
        })
    }))
}

fn admin_error(path: &str, error: &AdminError) -> ReadError {
    match error {
        AdminError::System(errno) => ReadError::from_errno(path, *errno),
        AdminError::Status(_) => ReadError::Binary {
            path: path.to_owned(),
            detail: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn drive(tree: &Tree) {
        let device = "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0";
        tree.file(&format!("{device}/vendor"), "0x144d");
        tree.link(
            "/sys/class/nvme/nvme3/device",
            "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
        );
        for (file, value) in [
            ("model", "MZQL2  "),
            ("serial", "S6CK"),
            ("firmware_rev", "OLD"),
            ("state", "live"),
            ("nvme3n1/size", "1000"),
            ("nvme3n2/size", "24"),
            ("nvme3n1p1/size", "5"),
        ] {
            tree.file(&format!("/sys/class/nvme/nvme3/{file}"), value);
        }
    }

    #[test]
    fn no_class_is_no_drive_and_a_class_that_cannot_be_listed_is_an_error() {
        let tree = Tree::new();
        assert_eq!(names(&tree.root()), Ok(Vec::new()));
        tree.file(CLASS, "");
        let error = names(&tree.root()).expect_err("a file");
        assert_eq!(error.to_string(), "/sys/class/nvme: Not a directory");
    }

    #[test]
    fn a_drive_over_a_fabric_is_on_no_bus_and_one_that_cannot_be_placed_is_failed() {
        let tree = Tree::new();
        let remote = "/sys/devices/virtual/nvme-fabrics/ctl/nvme0";
        tree.file(
            &format!("{remote}/address"),
            "traddr=192.0.2.1,trsvcid=4420\n",
        );
        tree.link(&format!("{remote}/device"), "../../ctl");
        tree.link(
            "/sys/class/nvme/nvme0",
            "../../devices/virtual/nvme-fabrics/ctl/nvme0",
        );
        let pci = one(&tree.root(), "nvme0").pci;
        assert!(matches!(pci, Reading::Absent(_)), "{pci:?}");
        tree.file("/sys/class/nvme/nvme1", "");
        let pci = one(&tree.root(), "nvme1").pci;
        assert!(pci.is_failed(), "{pci:?}");
        tree.file("/sys/class/nvme/nvme2/address", "somewhere\n");
        let pci = one(&tree.root(), "nvme2").pci;
        assert!(pci.is_failed(), "{pci:?}");
    }

    #[test]
    fn a_drive_and_its_pages() {
        let tree = Tree::new();
        drive(&tree);
        let mut identify = vec![0_u8; IDENTIFY_BYTES];
        identify[64..72].copy_from_slice(b"GDC5602Q");
        tree.file("/dev/nvme3.identify", identify);
        tree.file("/dev/nvme3.smart", [1_u8; 100]);
        let root = tree.root();
        assert_eq!(names(&root), Ok(vec!["nvme3".to_owned()]));
        let drive = one(&root, "nvme3");
        assert_eq!(
            drive.pci.get().map(|a| a.to_string()).as_deref(),
            Some("0000:01:00.0")
        );
        assert_eq!(drive.firmware, Reading::Value("GDC5602Q".to_owned()));
        assert_eq!(drive.capacity_bytes, Reading::Value(Bytes(1024 * 512)));
        assert_eq!(
            drive.health.why(),
            Some("/dev/nvme3.smart: SMART / health log has 100 bytes, not 512")
        );
        assert!(matches!(drive.firmware_slots, Reading::Absent(_)));
    }

    #[test]
    fn a_path_stands_for_its_namespace() {
        let tree = Tree::new();
        for name in ["nvme0c1n1", "nvme0c1n2", "nvme1n1", "hwmon3"] {
            tree.file(&format!("/sys/class/nvme/nvme1/{name}/size"), "8");
        }
        assert_eq!(
            namespaces(&tree.root(), "nvme1").expect("names"),
            ["nvme0n1", "nvme0n2", "nvme1n1"]
        );
    }

    #[test]
    fn names_of_namespaces() {
        for name in ["nvme0n1", "nvme10n2", "nvme0c1n1"] {
            assert!(is_namespace(name), "{name}");
        }
        for name in [
            "nvme0",
            "nvme0n1p1",
            "nvme0c0",
            "hwmon3",
            "nvmen1",
            "nvme0n",
        ] {
            assert!(!is_namespace(name), "{name}");
        }
    }
}
