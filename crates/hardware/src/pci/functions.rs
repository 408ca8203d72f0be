//! One function of the PCI bus.

use cupel_model::snapshot::PciDevice;
use cupel_model::{PciAddress, Reading};

use super::slots::Slots;
use super::{aer, link};
use crate::error::ReadError;
use crate::root::Root;
use crate::sysfs::{Attributes, full_pci_address};

/// The bus, as the kernel lists it.
pub(super) const DEVICES: &str = "/sys/bus/pci/devices";

/// Vendor id of NVIDIA.
const NVIDIA: &str = "10de";

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

/// Everything that the kernel says of one function.
pub(super) fn one(at: &Attributes, slots: &Slots, address: PciAddress) -> PciDevice {
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

/// What is bound to it.
pub(super) fn driver(at: &Attributes) -> Reading<String> {
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
