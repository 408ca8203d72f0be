//! What a machine is made of, and how QEMU is told.

use std::path::{Path, PathBuf};

use crate::image::Image;

/// A drive.
#[derive(Clone, Debug)]
pub struct Drive {
    /// Its serial number.
    pub serial: String,
    /// MiB.
    pub size: u32,
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// MiB.
    pub memory: u32,
    /// Processors.
    pub processors: u32,
    /// Who made it, as its firmware says (SMBIOS type 1).
    pub manufacturer: String,
    /// What it is.
    pub product: String,
    /// Its serial number.
    pub serial: String,
    /// Its UUID, by which a node is known; none: the firmware names none.
    pub uuid: Option<String>,
    /// Its TPM: the directory that is its memory.
    pub tpm: Option<PathBuf>,
    /// Its place in a network that machines share: a port of theirs, and its number from 1 on.
    pub rack: Option<(u16, u8)>,
    /// NVMe drives.
    pub drives: Vec<Drive>,
    /// Whether it has a management controller (a simulated one).
    pub controller: bool,
    /// Whether it has a network adapter on a root port that reports errors (AER): `nic1`, in slot
    /// 10. Drives are in slots 11 and on.
    pub adapter: bool,
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            memory: 768,
            processors: 2,
            manufacturer: "Cupel".to_owned(),
            product: "Machine in a box".to_owned(),
            serial: "BOX-0001".to_owned(),
            uuid: None,
            tpm: None,
            rack: None,
            drives: Vec::new(),
            controller: false,
            adapter: false,
        }
    }
}

/// The files of one machine.
pub struct Files<'a> {
    /// Where sockets, disks and logs are.
    pub directory: &'a Path,
    /// What the guest sees as /host.
    pub share: &'a Path,
}

impl Hardware {
    /// QEMU's options.
    pub fn options(&self, image: &Image, files: &Files<'_>, accelerator: &str) -> Vec<String> {
        let at = |name: &str| files.directory.join(name).display().to_string();
        let mut all: Vec<String> = Vec::new();
        let mut add = |name: &str, value: String| {
            all.push(name.to_owned());
            all.push(value);
        };
        add("-machine", "q35".to_owned());
        // Slots by their numbers, as servers have them, and not by what the firmware calls them.
        add(
            "-global",
            "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off".to_owned(),
        );
        add("-accel", accelerator.to_owned());
        add(
            "-cpu",
            if accelerator == "kvm" { "host" } else { "max" }.to_owned(),
        );
        add("-smp", self.processors.to_string());
        add("-m", self.memory.to_string());
        add("-display", "none".to_owned());
        add("-kernel", image.kernel().display().to_string());
        add("-initrd", image.start().display().to_string());
        add(
            "-append",
            "console=ttyS0 quiet loglevel=4 panic=-1 systemd.show_status=0".to_owned(),
        );
        add(
            "-smbios",
            format!(
                "type=1,manufacturer={},product={},serial={}",
                value(&self.manufacturer),
                value(&self.product),
                value(&self.serial)
            ),
        );
        let board = format!("type=2,serial=BOARD-{}", value(&self.serial));
        add("-smbios", board);
        if let Some(uuid) = &self.uuid {
            add("-uuid", uuid.clone());
        }
        if self.tpm.is_some() {
            add("-chardev", format!("socket,id=tpm,path={}", at(TPM_SOCKET)));
            add("-tpmdev", "emulator,id=tpm0,chardev=tpm".to_owned());
            add("-device", "tpm-crb,tpmdev=tpm0".to_owned());
        }
        if let Some((port, number)) = self.rack {
            // Bound to the loopback: what machines say to each other stays on this host.
            add(
                "-netdev",
                format!("socket,id=rack,mcast=230.0.0.1:{port},localaddr=127.0.0.1"),
            );
            add(
                "-device",
                format!("virtio-net-pci,netdev=rack,id=nic2,mac=52:54:00:00:07:{number:02x}"),
            );
        }
        add(
            "-drive",
            format!("if=none,id=disk,file={},format=qcow2", at("disk.qcow2")),
        );
        add("-device", "virtio-blk-pci,drive=disk".to_owned());
        add("-device", "virtio-rng-pci".to_owned());
        add(
            "-chardev",
            format!("file,id=console,path={},append=on", at("console.log")),
        );
        add("-serial", "chardev:console".to_owned());
        add("-qmp", format!("unix:{},server=on,wait=off", at("qmp")));
        add(
            "-chardev",
            format!("socket,id=agent,path={},server=on,wait=off", at("agent")),
        );
        add("-device", "virtio-serial-pci".to_owned());
        add(
            "-device",
            "virtserialport,chardev=agent,name=org.qemu.guest_agent.0".to_owned(),
        );
        add(
            "-virtfs",
            format!(
                "local,path={},mount_tag=host,security_model=none,readonly=on",
                files.share.display()
            ),
        );
        // No option of the user network listens on the host.
        add("-netdev", "user,id=net0".to_owned());
        add(
            "-device",
            "virtio-net-pci,netdev=net0,id=nic0,mac=52:54:00:00:00:0f".to_owned(),
        );
        for (index, drive) in self.drives.iter().enumerate() {
            let file = at(&drive_file(index));
            add(
                "-drive",
                format!("if=none,id=drive{index},file={file},format=raw"),
            );
            let slot = FIRST_DRIVE + index;
            add("-device", port(&format!("port{slot}"), slot));
            add(
                "-device",
                format!(
                    "nvme,id=nvme{index},bus=port{slot},drive=drive{index},serial={}",
                    value(&drive.serial)
                ),
            );
        }
        if self.controller {
            add("-device", "ipmi-bmc-sim,id=bmc0".to_owned());
            add("-device", "isa-ipmi-kcs,bmc=bmc0".to_owned());
        }
        if self.adapter {
            add("-device", port("port10", ADAPTER));
            add("-netdev", "user,id=net1".to_owned());
            add(
                "-device",
                "virtio-net-pci,netdev=net1,bus=port10,id=nic1,aer=on".to_owned(),
            );
        }
        all
    }
}

/// Where the emulated TPM is spoken to.
pub const TPM_SOCKET: &str = "tpm";

/// The slot of the adapter.
const ADAPTER: usize = 10;

/// The slot of the first drive.
const FIRST_DRIVE: usize = 11;

/// A PCI Express port with a slot.
fn port(id: &str, slot: usize) -> String {
    format!("pcie-root-port,id={id},chassis={slot},slot={slot}")
}

/// The file of a drive.
pub fn drive_file(index: usize) -> String {
    format!("nvme{index}.img")
}

/// A value in a list of QEMU's: a comma is doubled.
fn value(text: &str) -> String {
    text.replace(',', ",,")
}
