//! NVSwitches on the host's PCI bus.
//!
//! # What is absent
//! NVSwitches that only the fabric manager reaches (HGX B200 and later): they are no PCI devices of
//! the host.

use cupel_model::snapshot::{Nvswitch, PciDevice};
use cupel_model::{PciAddress, Reading};

use crate::error::ReadError;
use crate::root::Root;

const DEVICES: &str = "/proc/driver/nvidia-nvswitch/devices";

/// Whether a PCI function is an NVSwitch: vendor 10de, class 0680.
pub fn is_switch(device: &PciDevice) -> bool {
    device.vendor.value().is_some_and(|vendor| vendor == "10de")
        && device
            .class
            .value()
            .is_some_and(|class| class.starts_with("0680"))
}

/// The NVSwitches among `functions`, in their order.
pub fn collect(root: &Root, functions: &[PciDevice]) -> Vec<Nvswitch> {
    list(functions, |address| firmware_of(root, address))
}

/// The NVSwitches among `functions`, in their order, with their firmware as `firmware` knows it.
pub fn list(
    functions: &[PciDevice],
    firmware: impl Fn(PciAddress) -> Reading<String>,
) -> Vec<Nvswitch> {
    functions
        .iter()
        .filter(|function| is_switch(function))
        .map(|function| Nvswitch {
            pci: function.address,
            slot: match (&function.slot, &function.upstream) {
                (Reading::Value(slot), _) => Reading::Value(slot.clone()),
                (_, Reading::Value(upstream)) => Reading::Value(format!("below {upstream}")),
                (slot, _) => slot.clone(),
            },
            driver: function.driver.clone(),
            firmware: firmware(function.address),
        })
        .collect()
}

/// Firmware of an NVSwitch: the line `BIOS Version` of the driver's table.
pub fn firmware_of(root: &Root, address: PciAddress) -> Reading<String> {
    let path = &format!("{DEVICES}/{address}/information");
    let text = match root.text(path) {
        Ok(text) => text,
        Err(error) => return error.into_reading(),
    };
    let version = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim()
            .eq_ignore_ascii_case("BIOS version")
            .then(|| value.trim())
    });
    match version {
        Some(version) if !version.is_empty() => Reading::Value(version.to_owned()),
        Some(_) | None => {
            ReadError::malformed(path, 1, &text, "a table with a BIOS version").into_reading()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn a_switch_and_its_firmware() {
        let tree = Tree::new();
        for (name, class) in [("0000:05:00.0", "0x068000"), ("0000:06:00.0", "0x030200")] {
            tree.file(&format!("/sys/bus/pci/devices/{name}/vendor"), "0x10de");
            tree.file(&format!("/sys/bus/pci/devices/{name}/class"), class);
        }
        let path = format!("{DEVICES}/0000:05:00.0/information");
        tree.file(
            &path,
            "PCI Address: 0000:05:00.0\nBIOS Version: 96.10.6D.00.01\n",
        );
        let root = tree.root();
        let (functions, _) = crate::pci::collect(&root, None);
        let switches = collect(&root, &functions);
        assert_eq!(switches.len(), 1);
        assert_eq!(
            switches[0].firmware,
            Reading::Value("96.10.6D.00.01".to_owned())
        );
        assert!(matches!(switches[0].driver, Reading::Absent(_)));
    }
}
