//! Dell's servers: PowerEdge XE9680 with HGX H200 behind PCIe switches, and PowerEdge R760xa with
//! L40S cards in slots. Topologies are synthetic.

use cupel_fake_driver::models::Model;

use super::parts::{
    Adapter, E3S, boot_log, bridge, connectx7, dimms, driver, function, gpu, link_to_switches,
    nvme, pci, sapphire_rapids, units,
};
use super::{Machine, Net, PciFunction, System};

const INTEL_ROOT_PORT: (u16, u16) = (0x8086, 0x352a);
const PEX: (u16, u16) = (0x1000, 0xc030);
const SWITCHTEC: (u16, u16) = (0x11f8, 0x4128);
const GEN5: (f64, u32) = (32.0, 16);

/// PowerEdge XE9680 with eight H200, eight ConnectX-7 and eight drives.
pub(super) fn xe9680(node: u32) -> Machine {
    let mut machine = empty(node, "PowerEdge XE9680", "0XE96M", 16, true);
    let groups: [(u8, &str, u32); 8] = [
        (0x15, "31", 2),
        (0x37, "32", 4),
        (0x48, "33", 1),
        (0x59, "34", 3),
        (0x97, "35", 6),
        (0xb7, "36", 8),
        (0xc7, "37", 5),
        (0xd7, "38", 7),
    ];
    for (number, (bus, slot, module)) in (0_u32..).zip(groups) {
        let (root, up) = (pci(bus, 1, 0), pci(bus + 1, 0, 0));
        let [to_nic, to_gpu, to_drive] = [0, 1, 2].map(|device| pci(bus + 2, device, 0));
        machine.pci.extend([
            bridge(root, None, INTEL_ROOT_PORT, GEN5),
            bridge(up, Some(root), PEX, GEN5),
            bridge(to_nic, Some(up), PEX, GEN5),
            bridge(to_gpu, Some(up), PEX, GEN5),
            bridge(to_drive, Some(up), PEX, (32.0, 4)),
        ]);
        connectx7(
            &mut machine,
            pci(bus + 3, 0, 0),
            to_nic,
            &Adapter {
                number: node * 100 + number,
                slot,
                ports: 1,
                link_layer: "InfiniBand",
                rate: "400 Gb/sec (4X NDR)",
                mbps: 400_000,
                up: true,
                link: GEN5,
                vpd: Vec::new(),
            },
        );
        let address = pci(bus + 4, 0, 0);
        gpu(
            &mut machine,
            Model::H200,
            address,
            to_gpu,
            (node, number),
            Some(module),
        );
        let address = pci(bus + 5, 0, 0);
        let bay = format!("{}", 100 + number);
        nvme(&mut machine, address, to_drive, &E3S, Some(bay));
    }
    let (root, up) = (pci(0x6d, 5, 0), pci(0x6e, 0, 0));
    machine
        .pci
        .push(bridge(root, None, INTEL_ROOT_PORT, (16.0, 8)));
    machine
        .pci
        .push(bridge(up, Some(root), SWITCHTEC, (16.0, 8)));
    link_to_switches(
        &mut machine,
        &[0x70, 0x71, 0x72, 0x73].map(|bus| pci(bus, 0, 0)),
    );
    for n in 0..4_u8 {
        let down = pci(0x6f, n, 0);
        machine
            .pci
            .push(bridge(down, Some(up), SWITCHTEC, (16.0, 2)));
        machine.pci.push(PciFunction {
            subsystem: (0x10de, 0x1796),
            revision: 0xa1,
            driver: Some("nvidia-nvswitch"),
            ..function(
                pci(0x70 + n, 0, 0),
                Some(down),
                (0x10de, 0x22a3),
                0x06_8000,
                (16.0, 2),
            )
        });
    }
    finish(machine, node)
}

/// PowerEdge R760xa with four L40S, a ConnectX-7 for the network, and four drives.
pub(super) fn r760xa(node: u32) -> Machine {
    let mut machine = empty(node, "PowerEdge R760xa", "0R76XA", 8, false);
    let slots: [(u8, &str); 4] = [(0x2a, "31"), (0x3d, "33"), (0xbd, "36"), (0xab, "38")];
    let mut cards = slots;
    cards.sort_unstable();
    for (number, (bus, slot)) in (0_u32..).zip(cards) {
        let root = pci(bus, 1, 0);
        machine.pci.push(bridge(root, None, INTEL_ROOT_PORT, GEN5));
        // A Gen4 card in a Gen5 port: the port's own maximum is no measure for it.
        if let Some(port) = machine.pci.last_mut() {
            port.speed = 16.0;
        }
        let address = pci(bus + 1, 0, 0);
        gpu(
            &mut machine,
            Model::L40s,
            address,
            root,
            (node, number),
            None,
        );
        if let Some(card) = machine.pci.last_mut() {
            card.slot = Some(slot.to_owned());
        }
    }
    let root = pci(0x4f, 1, 0);
    machine.pci.push(bridge(root, None, INTEL_ROOT_PORT, GEN5));
    for port in 0..2_u8 {
        connectx7(
            &mut machine,
            pci(0x50, 0, port),
            root,
            &Adapter {
                number: node * 100 + 40,
                slot: "3",
                ports: 2,
                link_layer: "Ethernet",
                rate: "100 Gb/sec (4X EDR)",
                mbps: 100_000,
                up: port == 0,
                link: GEN5,
                vpd: Vec::new(),
            },
        );
    }
    for drive in 0..4_u8 {
        let root = pci(0x62, 1 + drive * 2, 0);
        machine
            .pci
            .push(bridge(root, None, INTEL_ROOT_PORT, (32.0, 4)));
        let bay = format!("{}", 100 + u32::from(drive));
        nvme(&mut machine, pci(0x63 + drive, 0, 0), root, &E3S, Some(bay));
    }
    finish(machine, node)
}

fn empty(
    node: u32,
    product: &'static str,
    board: &'static str,
    per_socket: u32,
    fabric: bool,
) -> Machine {
    let driver = driver("550.90.07", 12_040, true);
    let tag = format!("{:07}", 3_518_204 + node);
    // A Dell UUID spells the service tag.
    let mut uuid = *b"\x4c\x4c\x45\x44\x00\x33\x35\x10\x80\x38\xb4\xc0\x4f\x00\x00\x34";
    uuid[13..15].copy_from_slice(&u16::try_from(node % 60_000).unwrap_or(0).to_be_bytes());
    Machine {
        system: System {
            manufacturer: "Dell Inc.",
            product,
            sku: "SKU=0BF3;ModelName=PowerEdge",
            serial: tag.clone(),
            chassis_serial: tag.clone(),
            board,
            board_serial: format!(".{tag}.CNFCP0034I00{:02}.", node % 100),
            uuid,
            bios_vendor: "Dell Inc.",
            bios_version: "2.3.5",
            bios_date: "09/10/2024",
            hostname: format!("node{node:03}"),
            machine_id: format!(
                "0f3b6c1d8e9a4b27a5c4{:012x}",
                0x77_0000_0000_u64 + u64::from(node)
            ),
            boot_id: format!(
                "a7c5e1f0-2b3d-4c19-9e8f-{:012x}",
                0x1122_3344_0000_u64 + u64::from(node)
            ),
            uptime_seconds: 1_204_331,
            booted_at: super::BOOTED_AT,
            live: false,
            bmc: (674, 0x0100, 7, 10),
        },
        cpu: sapphire_rapids(),
        dimms: dimms(
            per_socket,
            65_536,
            4800,
            ("00CE063200CE", "M321R8GA0BB0-CQKZJ"),
            node,
            |socket, position| {
                let side = if socket == 0 { 'A' } else { 'B' };
                (format!("{side}{}", position + 1), String::new())
            },
        ),
        pci: Vec::new(),
        gpus: Vec::new(),
        rdma: Vec::new(),
        nvme: Vec::new(),
        nets: Vec::new(),
        log: boot_log(&driver),
        driver,
        units: units(fabric),
        files: Vec::new(),
    }
}

/// The network of the management plane, and the order in which the kernel lists devices.
fn finish(mut machine: Machine, node: u32) -> Machine {
    let root = pci(0, 0x1c, 0);
    machine
        .pci
        .push(bridge(root, None, (0x8086, 0x1bbc), (5.0, 2)));
    for port in 0..2_u8 {
        let address = pci(0x02, 0, port);
        machine.pci.push(PciFunction {
            subsystem: (0x1028, 0x0a6b),
            driver: Some("tg3"),
            ..function(address, Some(root), (0x14e4, 0x165f), 0x02_0000, (5.0, 1))
        });
        machine.nets.push(Net {
            name: format!("eno8{}03", if port == 0 { 3 } else { 4 }),
            pci: address,
            mac: format!("c8:4b:d6:a1:{:02x}:0{port}", node % 256),
            up: port == 0,
            mbps: 1_000,
            kind: 1,
            port: 0,
        });
    }
    machine.pci.sort_by_key(|function| function.address);
    machine
}
