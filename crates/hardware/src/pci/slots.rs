//! Physical slots, from `/sys/bus/pci/slots/NAME/address`.
//!
//! # Invariants
//! - A slot belongs to the device that sits in it and to everything below that device.

use std::collections::BTreeMap;

use cupel_model::PciAddress;

use crate::error::ReadError;
use crate::root::Root;

const SLOTS: &str = "/sys/bus/pci/slots";

/// Which slot a device sits in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots(BTreeMap<PciAddress, String>);

impl Slots {
    /// All slots that the kernel knows, and what could not be read.
    pub fn read(root: &Root) -> (Self, Vec<ReadError>) {
        let mut slots = BTreeMap::new();
        let mut errors = Vec::new();
        let names = match root.names(SLOTS) {
            Ok(names) => names,
            Err(error) => {
                errors.extend((!error.is_missing()).then_some(error));
                Vec::new()
            }
        };
        for name in names {
            let path = format!("{SLOTS}/{name}/address");
            match root.parsed(&path, "an address dddd:bb:dd", device_address) {
                // An empty slot of a hot-plug driver has an address too; it names no function.
                Ok(address) => {
                    slots.entry(address).or_insert(name);
                }
                Err(error) => errors.push(error),
            }
        }
        (Self(slots), errors)
    }

    /// The slot of `address` itself, whichever function it is.
    pub fn of(&self, address: PciAddress) -> Option<&str> {
        self.0.get(&address.with_function(0)).map(String::as_str)
    }
}

/// `dddd:bb:dd`, without a function.
fn device_address(text: &str) -> Option<PciAddress> {
    let whole = text.matches(':').count() == 2 && !text.contains('.');
    whole.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_domain_bus_and_device() {
        assert_eq!(
            device_address("0000:17:00")
                .map(|a| a.to_string())
                .as_deref(),
            Some("0000:17:00.0")
        );
        assert_eq!(device_address("0000:17:00.1"), None);
        assert_eq!(device_address("17:00"), None);
    }
}
