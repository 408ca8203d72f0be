//! The groups of calls, one file each or two small ones together.

mod clocks;
mod ecc;
mod fabric;
mod fields;
mod identity;
mod memory;
mod nvlink;
mod pcie;
mod processes;
mod rows;
mod thermal;

use cupel_model::worker::{Answer, Group};
use cupel_model::{PciAddress, Reading};
use nvml_wrapper_sys::bindings::nvmlPciInfo_t;

use crate::calls::{Gpu, Refusal, Told};
use crate::text;

/// Makes the calls of one group.
pub fn read(gpu: &Gpu<'_>, group: Group) -> Answer {
    match group {
        Group::Identity => Answer::Identity(identity::read(gpu)),
        Group::Memory => Answer::Memory(memory::read(gpu)),
        Group::Ecc => Answer::Ecc(ecc::read(gpu)),
        Group::RemappedRows => Answer::RemappedRows(rows::remapped(gpu)),
        Group::RetiredPages => Answer::RetiredPages(rows::retired(gpu)),
        Group::Thermal => Answer::Thermal(thermal::read(gpu)),
        Group::Clocks => Answer::Clocks(clocks::read(gpu)),
        Group::Pcie => Answer::Pcie(pcie::read(gpu)),
        Group::Nvlink => Answer::Nvlink(nvlink::read(gpu)),
        Group::Fabric => Answer::Fabric(fabric::read(gpu)),
        Group::Processes => Answer::Processes(processes::read(gpu)),
    }
}

/// The address in a PCI description, where its text and its numbers agree; all zeros is absent.
pub fn pci_address(call: &'static str, info: &nvmlPciInfo_t) -> Reading<PciAddress> {
    let bytes: Vec<u8> = info.busId.iter().map(|c| c.to_ne_bytes()[0]).collect();
    text::read(call, &bytes).and_then(|bus_id| {
        let Ok(address) = bus_id.parse::<PciAddress>() else {
            return Reading::failed(format!("{call}: {bus_id:?} is not a PCI address"));
        };
        let numbers = (info.domain, info.bus, info.device);
        if numbers
            != (
                address.domain,
                u32::from(address.bus),
                u32::from(address.device),
            )
        {
            return Reading::failed(format!(
                "{call}: {bus_id} contradicts its numbers {:x}:{:x}:{:x}",
                info.domain, info.bus, info.device
            ));
        }
        if numbers == (0, 0, 0) {
            return Reading::absent(format!("{call}: the driver gives no address"));
        }
        Reading::Value(address)
    })
}

/// An enable state of NVML: 0 or 1, nothing else.
fn on_off(call: &'static str, told: Told<u32>) -> Told<bool> {
    match told? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Refusal::impossible(
            call,
            format!("{other} is neither 0 nor 1"),
        )),
    }
}

/// A value within what is possible.
fn within(call: &'static str, told: Told<u32>, most: u32, unit: &str) -> Told<u32> {
    let value = told?;
    if value <= most {
        Ok(value)
    } else {
        Err(Refusal::impossible(
            call,
            format!("{value} {unit} cannot be"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::EMPTY_PCI_INFO;

    fn info(domain: u32, bus: u32, text: &str) -> nvmlPciInfo_t {
        let mut info = EMPTY_PCI_INFO;
        info.domain = domain;
        info.bus = bus;
        for (to, from) in info.busId.iter_mut().zip(text.bytes()) {
            *to = std::os::raw::c_char::from_ne_bytes([from]);
        }
        info
    }

    #[test]
    fn an_address_needs_text_and_numbers_to_agree() {
        let good = pci_address("f", &info(0, 0x9b, "00000000:9B:00.0"));
        assert_eq!(
            good.value().map(ToString::to_string).as_deref(),
            Some("0000:9b:00.0")
        );
        assert!(pci_address("f", &info(0, 0x9c, "00000000:9B:00.0")).is_failed());
        assert!(pci_address("f", &info(0, 0x9b, "rubbish")).is_failed());
        assert!(matches!(
            pci_address("f", &info(0, 0, "00000000:00:00.0")),
            Reading::Absent(_)
        ));
    }
}
