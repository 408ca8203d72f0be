//! PCI as sysfs shows it: the devices below their root buses, links by address, slots, drivers.

use cupel_model::PciAddress;

use super::Tree;
use crate::machine::{Machine, PciFunction, Vpd};

/// AER counters of the kernel, by file.
const AER: [(&str, &[&str]); 3] = [
    (
        "correctable",
        &[
            "RxErr",
            "BadTLP",
            "BadDLLP",
            "Rollover",
            "Timeout",
            "NonFatalErr",
            "CorrIntErr",
            "HeaderOF",
            "TOTAL_ERR_COR",
        ],
    ),
    (
        "fatal",
        &[
            "Undefined",
            "DLP",
            "SDES",
            "TLP",
            "FCP",
            "CmpltTO",
            "CmpltAbrt",
            "UnxCmplt",
            "RxOF",
            "MalfTLP",
            "ECRC",
            "UnsupReq",
            "ACSViol",
            "UncorrIntErr",
            "BlockedTLP",
            "AtomicOpBlocked",
            "TLPBlockedErr",
            "PoisonTLPBlocked",
            "TOTAL_ERR_FATAL",
        ],
    ),
    (
        "nonfatal",
        &[
            "Undefined",
            "DLP",
            "SDES",
            "TLP",
            "FCP",
            "CmpltTO",
            "CmpltAbrt",
            "UnxCmplt",
            "RxOF",
            "MalfTLP",
            "ECRC",
            "UnsupReq",
            "ACSViol",
            "UncorrIntErr",
            "BlockedTLP",
            "AtomicOpBlocked",
            "TLPBlockedErr",
            "PoisonTLPBlocked",
            "TOTAL_ERR_NONFATAL",
        ],
    ),
];

/// Where a function's directory is, below the root.
pub(super) fn path(machine: &Machine, address: PciAddress) -> String {
    let mut chain = vec![address];
    let parent = |of: PciAddress| {
        machine
            .pci
            .iter()
            .find(|f| f.address == of)
            .and_then(|f| f.parent)
    };
    while let Some(above) = chain.last().and_then(|last| parent(*last)) {
        chain.push(above);
    }
    let top = chain.last().copied().unwrap_or(address);
    let mut path = format!("sys/devices/pci{:04x}:{:02x}", top.domain, top.bus);
    for step in chain.iter().rev() {
        path.push_str(&format!("/{step}"));
    }
    path
}

pub(super) fn render(tree: &mut Tree, machine: &Machine) {
    for function in &machine.pci {
        let directory = path(machine, function.address);
        render_function(tree, machine, function, &directory);
        tree.link(
            format!("sys/bus/pci/devices/{}", function.address),
            &directory,
        );
        if let Some(driver) = function.driver {
            let driver = format!("sys/bus/pci/drivers/{driver}");
            tree.link(format!("{directory}/driver"), &driver);
            tree.link(format!("{driver}/{}", function.address), &directory);
        }
        if let Some(slot) = &function.slot
            && function.address.function == 0
        {
            let PciAddress {
                domain,
                bus,
                device,
                ..
            } = function.address;
            let slot = format!("sys/bus/pci/slots/{slot}");
            tree.text(
                format!("{slot}/address"),
                format_args!("{domain:04x}:{bus:02x}:{device:02x}"),
            );
            tree.text(format!("{slot}/cur_bus_speed"), speed(function.speed));
            tree.text(format!("{slot}/max_bus_speed"), speed(function.max_speed));
        }
    }
}

fn speed(gts: f64) -> String {
    if gts > 0.0 {
        format!("{gts:.1} GT/s PCIe")
    } else {
        "Unknown".to_owned()
    }
}

fn render_function(tree: &mut Tree, machine: &Machine, function: &PciFunction, directory: &str) {
    let PciFunction {
        address,
        vendor,
        device,
        subsystem,
        class,
        revision,
        ..
    } = *function;
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        tree.text(format!("{directory}/{name}"), value);
    };
    put("vendor", &format_args!("0x{vendor:04x}"));
    put("device", &format_args!("0x{device:04x}"));
    put("subsystem_vendor", &format_args!("0x{:04x}", subsystem.0));
    put("subsystem_device", &format_args!("0x{:04x}", subsystem.1));
    put("class", &format_args!("0x{class:06x}"));
    put("revision", &format_args!("0x{revision:02x}"));
    put("numa_node", &function.numa);
    put("enable", &1);
    put("irq", &(16 + u32::from(address.bus)));
    put("local_cpulist", &machine.cpu.list(function.numa));
    put("power_state", &"D0");
    if function.max_width > 0 {
        let gone = function.gone;
        let now = if gone {
            "Unknown".to_owned()
        } else {
            speed(function.speed)
        };
        put("current_link_speed", &now);
        put(
            "current_link_width",
            &if gone { 255 } else { function.width },
        );
        let most = if gone {
            "Unknown".to_owned()
        } else {
            speed(function.max_speed)
        };
        put("max_link_speed", &most);
        put(
            "max_link_width",
            &if gone { 255 } else { function.max_width },
        );
        for (file, names) in AER {
            let counts = names.iter().map(|name| {
                let total = name.starts_with("TOTAL");
                let count: u64 = function
                    .aer
                    .iter()
                    .filter(|(in_file, counter, _)| *in_file == file && (total || counter == name))
                    .map(|(_, _, count)| count)
                    .sum();
                format!("{name} {count}")
            });
            let lines: Vec<String> = counts.collect();
            put(&format!("aer_dev_{file}"), &lines.join("\n"));
        }
    }
    let driver = function
        .driver
        .map(|driver| format!("DRIVER={driver}\n"))
        .unwrap_or_default();
    put(
        "uevent",
        &format_args!(
            "{driver}PCI_CLASS={class:X}\nPCI_ID={vendor:04X}:{device:04X}\nPCI_SUBSYS_ID={:04X}:{:04X}\nPCI_SLOT_NAME={address}",
            subsystem.0, subsystem.1
        ),
    );
    tree.link(format!("{directory}/subsystem"), "sys/bus/pci");
    tree.bytes(format!("{directory}/config"), config(function));
    if let Some(vpd) = &function.vpd
        && !function.gone
    {
        tree.bytes(format!("{directory}/vpd"), vpd_bytes(vpd));
    }
}

/// The configuration space's header; all ones when the function is gone.
fn config(function: &PciFunction) -> Vec<u8> {
    if function.gone {
        return vec![0xff; 256];
    }
    let mut bytes = vec![0; 256];
    bytes[0..2].copy_from_slice(&function.vendor.to_le_bytes());
    bytes[2..4].copy_from_slice(&function.device.to_le_bytes());
    bytes[4..8].copy_from_slice(&[0x06, 0x04, 0x10, 0x00]);
    bytes[8] = function.revision;
    bytes[9..12].copy_from_slice(&function.class.to_le_bytes()[..3]);
    if function.class >> 8 == 0x0604 {
        bytes[14] = 1;
    } else {
        bytes[0x2c..0x2e].copy_from_slice(&function.subsystem.0.to_le_bytes());
        bytes[0x2e..0x30].copy_from_slice(&function.subsystem.1.to_le_bytes());
    }
    bytes
}

/// Vital product data: identifier string, read-only part with its checksum, end.
fn vpd_bytes(vpd: &Vpd) -> Vec<u8> {
    let mut fields: Vec<(&str, &str)> = vec![
        ("PN", vpd.part),
        ("EC", "A5"),
        ("SN", &vpd.serial),
        ("V0", "PCIeGen5 x16"),
    ];
    fields.extend(vpd.more.iter().map(|(name, value)| (*name, value.as_str())));
    let mut read_only = Vec::new();
    for (name, value) in fields {
        read_only.extend(name.as_bytes());
        read_only.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        read_only.extend(value.as_bytes());
    }
    let mut bytes = vec![0x82];
    bytes.extend(length(vpd.name.len()));
    bytes.extend(vpd.name.as_bytes());
    bytes.push(0x90);
    bytes.extend(length(read_only.len() + 4));
    bytes.extend(read_only);
    bytes.extend(b"RV\x01");
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes.push(sum.wrapping_neg());
    bytes.push(0x78);
    bytes
}

fn length(of: usize) -> [u8; 2] {
    u16::try_from(of).unwrap_or(u16::MAX).to_le_bytes()
}
