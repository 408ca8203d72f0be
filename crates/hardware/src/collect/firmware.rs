//! Every firmware version that is visible in-band.

use cupel_model::Reading;
use cupel_model::snapshot::{FirmwareVersion, Snapshot};

use crate::error::ReadError;
use crate::node;
use crate::root::Root;
use crate::smbios::Smbios;

/// The BIOS, which no other part of the snapshot holds.
pub(super) fn bios(root: &Root, smbios: &Result<Smbios, ReadError>) -> FirmwareVersion {
    let (version, source) = match smbios {
        Ok(smbios) => (smbios.bios_version.clone(), "SMBIOS type 0"),
        Err(_) => (
            node::dmi(root, "bios_version"),
            "/sys/class/dmi/id/bios_version",
        ),
    };
    entry("bios", "system", version, source)
}

/// The BIOS, not known because of `why`.
pub(super) fn no_bios(why: &str) -> FirmwareVersion {
    entry("bios", "system", Reading::failed(why), "SMBIOS type 0")
}

/// Firmware of the parts of a snapshot, with the BIOS, by component and name.
pub(super) fn list(snapshot: &Snapshot, bios: FirmwareVersion) -> Vec<FirmwareVersion> {
    let mut list = vec![bios];
    match &snapshot.bmc {
        Reading::Value(bmc) => {
            list.push(entry(
                "bmc",
                "system",
                bmc.firmware.clone(),
                "IPMI Get Device ID",
            ));
        }
        Reading::Absent(why) => {
            list.push(entry(
                "bmc",
                "system",
                Reading::absent(why),
                "IPMI Get Device ID",
            ));
        }
        Reading::Unsupported(why) | Reading::Failed(why) => {
            list.push(entry(
                "bmc",
                "system",
                Reading::failed(why),
                "IPMI Get Device ID",
            ));
        }
    }
    for socket in &snapshot.cpus.sockets {
        let version = socket.microcode.clone();
        list.push(entry(
            "cpu-microcode",
            &socket.name,
            version,
            "/proc/cpuinfo",
        ));
    }
    for device in &snapshot.rdma {
        let source = format!("/sys/class/infiniband/{}/fw_ver", device.name);
        list.push(entry(
            "rdma",
            &device.name,
            device.firmware.clone(),
            &source,
        ));
    }
    for drive in &snapshot.nvme {
        let source = format!(
            "Identify Controller, else /sys/class/nvme/{}/firmware_rev",
            drive.name
        );
        list.push(entry("nvme", &drive.name, drive.firmware.clone(), &source));
        for slot in drive.firmware_slots.value().into_iter().flatten() {
            let name = format!("{}/slot {}", drive.name, slot.index);
            let source = format!("firmware slot log of /dev/{}", drive.name);
            list.push(entry(
                "nvme-slot",
                &name,
                Reading::Value(slot.revision.clone()),
                &source,
            ));
        }
    }
    for gpu in &snapshot.gpus {
        let name = gpu
            .slot
            .value()
            .cloned()
            .or_else(|| gpu.pci.get().map(|pci| pci.to_string()))
            .unwrap_or_else(|| "unknown place".to_owned());
        let identity = &gpu.identity;
        list.push(entry(
            "vbios",
            &name,
            identity.vbios_version.clone(),
            "NVML",
        ));
        list.push(entry(
            "inforom",
            &name,
            identity.inforom_version.clone(),
            "NVML",
        ));
        list.push(entry("gsp", &name, identity.gsp_version.clone(), "NVML"));
    }
    for switch in &snapshot.nvswitches {
        let name = switch.pci.to_string();
        let source = "/proc/driver/nvidia-nvswitch";
        list.push(entry("nvswitch", &name, switch.firmware.clone(), source));
    }
    list.sort_by(|a, b| (&a.component, &a.name).cmp(&(&b.component, &b.name)));
    list
}

fn entry(component: &str, name: &str, version: Reading<String>, source: &str) -> FirmwareVersion {
    FirmwareVersion {
        component: component.to_owned(),
        name: name.to_owned(),
        version,
        source: source.to_owned(),
    }
}
