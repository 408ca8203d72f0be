//! NVIDIA's own servers: DGX H100, whose PCI topology is that of a public Redfish tree, and DGX
//! B200, for which the same topology is assumed, without NVSwitches on the host's bus.

use cupel_fake_driver::models::Model;

use super::parts::{
    Adapter, M2, U2, boot_log, bridge, connectx7, dimms, driver, emerald_rapids, function, gpu,
    link_to_switches, nvme, pci, sapphire_rapids, units,
};
use super::{Cpu, Machine, Net, NvidiaDriver, PciFunction, System};

const INTEL_ROOT_PORT: (u16, u16) = (0x8086, 0x352a);
const CONNECTX_SWITCH: (u16, u16) = (0x15b3, 0x1979);
const PEX: (u16, u16) = (0x1000, 0xc030);
const SWITCHTEC: (u16, u16) = (0x11f8, 0x4128);

const GEN5: (f64, u32) = (32.0, 16);

/// DGX H100.
pub(super) fn h100(node: u32) -> Machine {
    let mut machine = empty(
        node,
        system("DGXH100", "920-24387-2540-000", "1.1.3", node),
        sapphire_rapids(),
        driver("550.90.07", 12_040, true),
    );
    compute(&mut machine, Model::H100, node);
    storage(&mut machine, node);
    chipset(&mut machine, node);
    let up = pci(0x05, 0, 0);
    let root = pci(0, 0x0d, 0);
    machine
        .pci
        .push(bridge(root, None, (0x8086, 0x1bbd), (8.0, 2)));
    machine
        .pci
        .push(bridge(up, Some(root), SWITCHTEC, (8.0, 2)));
    link_to_switches(&mut machine, &[7, 8, 9, 10].map(|bus| pci(bus, 0, 0)));
    for n in 0..4_u8 {
        let down = pci(0x06, n, 0);
        machine
            .pci
            .push(bridge(down, Some(up), SWITCHTEC, (16.0, 2)));
        machine.pci.push(PciFunction {
            subsystem: (0x10de, 0x1796),
            revision: 0xa1,
            driver: Some("nvidia-nvswitch"),
            ..function(
                pci(0x07 + n, 0, 0),
                Some(down),
                (0x10de, 0x22a3),
                0x06_8000,
                (16.0, 2),
            )
        });
    }
    finish(machine)
}

/// DGX B200: the fabric manager reaches its NVSwitches through four functions of ConnectX-7.
pub(super) fn b200(node: u32) -> Machine {
    let mut machine = empty(
        node,
        system("DGXB200", "920-26687-2543-000", "1.6.7", node),
        emerald_rapids(),
        driver("570.158.01", 12_080, true),
    );
    compute(&mut machine, Model::B200, node);
    storage(&mut machine, node);
    chipset(&mut machine, node);
    let up = pci(0x05, 0, 0);
    let root = pci(0, 0x0d, 0);
    machine
        .pci
        .push(bridge(root, None, (0x8086, 0x1bbd), (8.0, 2)));
    machine
        .pci
        .push(bridge(up, Some(root), SWITCHTEC, (8.0, 2)));
    for n in 0..4_u8 {
        let down = pci(0x06, n, 0);
        machine
            .pci
            .push(bridge(down, Some(up), SWITCHTEC, (8.0, 2)));
        connectx7(
            &mut machine,
            pci(0x07 + n, 0, 0),
            down,
            &Adapter {
                number: node * 100 + 60 + u32::from(n),
                slot: "baseboard",
                ports: 1,
                link_layer: "InfiniBand",
                rate: "400 Gb/sec (4X NDR)",
                mbps: 400_000,
                up: true,
                link: (8.0, 2),
                vpd: vec![(
                    "VA",
                    "MLX:MN=MLNX:CSKU=V2:UUID=V3:PCI=V0:SMDL=SW_MNG".to_owned(),
                )],
            },
        );
    }
    finish(machine)
}

/// The baseboard management and the system of either.
fn system(product: &'static str, sku: &'static str, bios: &'static str, node: u32) -> System {
    let mut uuid = [
        0xb1, 0x1d, 0xd4, 0xf2, 0xbf, 0xde, 0x10, 0x00, 0x82, 0xbc, 0x5c, 0xff, 0x35, 0xfb, 0xe6,
        0x00,
    ];
    uuid[15] = u8::try_from(node % 251).unwrap_or(0);
    System {
        manufacturer: "NVIDIA",
        product,
        sku,
        serial: format!("16629236{:05}", node * 10 + 4),
        chassis_serial: format!("16629236{:05}", node * 10 + 5),
        board: if product == "DGXH100" {
            "DGXH100"
        } else {
            "DGXB200"
        },
        board_serial: format!("16629231{:05}", node * 10 + 6),
        uuid,
        bios_vendor: "American Megatrends International, LLC.",
        bios_version: bios,
        bios_date: "04/16/2024",
        hostname: format!("node{node:03}"),
        machine_id: format!(
            "6d1c8b7f3a5e4f0c9b2d{:012x}",
            0x5e_0000_0000_u64 + u64::from(node)
        ),
        boot_id: format!(
            "3f0c2a9e-71d4-4b7e-8a55-{:012x}",
            0x0a1b_2c3d_0000_u64 + u64::from(node)
        ),
        uptime_seconds: 93_784,
        booted_at: super::BOOTED_AT,
        live: false,
        bmc: (5703, 0x2000, 1, 2),
    }
}

fn empty(node: u32, system: System, cpu: Cpu, driver: NvidiaDriver) -> Machine {
    Machine {
        system,
        cpu,
        dimms: dimms(
            16,
            65_536,
            4400,
            ("Micron", "MTC40F2046S1RC48BA1"),
            node,
            |socket, position| {
                let channel = char::from(b'A' + u8::try_from(position / 2).unwrap_or(0));
                (
                    format!("DIMM_P{socket}_{channel}{}", position % 2),
                    format!(
                        "NODE {socket} CHANNEL {} DIMM {}",
                        position / 2,
                        position % 2
                    ),
                )
            },
        ),
        pci: Vec::new(),
        gpus: Vec::new(),
        rdma: Vec::new(),
        nvme: Vec::new(),
        nets: Vec::new(),
        log: boot_log(&driver),
        driver,
        units: units(true),
        files: Vec::new(),
    }
}

/// Eight groups of a root port, a ConnectX-7 with its own switch, and a GPU behind it.
fn compute(machine: &mut Machine, kind: Model, node: u32) {
    // Root bus, physical slot of the adapter, module id of the GPU behind it.
    let groups: [(u8, &str, u32); 8] = [
        (0x15, "1", 7),
        (0x3d, "3", 5),
        (0x4c, "4", 8),
        (0x5b, "5", 6),
        (0x97, "7", 3),
        (0xbd, "9", 1),
        (0xcb, "10", 4),
        (0xd9, "11", 2),
    ];
    for (number, (bus, slot, module)) in (0_u32..).zip(groups) {
        let root = pci(bus, 1, 0);
        let up = pci(bus + 1, 0, 0);
        let to_nic = pci(bus + 2, 0, 0);
        let to_gpu = pci(bus + 2, 2, 0);
        let (inner_up, inner_down) = (pci(bus + 4, 0, 0), pci(bus + 5, 0, 0));
        machine.pci.extend([
            bridge(root, None, INTEL_ROOT_PORT, GEN5),
            bridge(up, Some(root), CONNECTX_SWITCH, GEN5),
            bridge(to_nic, Some(up), CONNECTX_SWITCH, GEN5),
            bridge(to_gpu, Some(up), CONNECTX_SWITCH, GEN5),
            bridge(inner_up, Some(to_gpu), CONNECTX_SWITCH, GEN5),
            bridge(inner_down, Some(inner_up), CONNECTX_SWITCH, GEN5),
        ]);
        connectx7(
            machine,
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
        let address = pci(bus + 6, 0, 0);
        gpu(
            machine,
            kind,
            address,
            inner_down,
            (node, number),
            Some(module),
        );
    }
}

/// Two switches, each with a dual-port adapter for storage and four U.2 drives. One port of each
/// adapter is not cabled.
fn storage(machine: &mut Machine, node: u32) {
    for (side, bus, slot) in [(0_u32, 0x24_u8, "2"), (1, 0xa5, "8")] {
        let chain = [
            pci(bus, 1, 0),
            pci(bus + 1, 0, 0),
            pci(bus + 2, 0, 0),
            pci(bus + 3, 0, 0),
        ];
        machine
            .pci
            .push(bridge(chain[0], None, INTEL_ROOT_PORT, GEN5));
        for pair in chain.windows(2) {
            machine.pci.push(bridge(pair[1], Some(pair[0]), PEX, GEN5));
        }
        let to_nic = pci(bus + 4, 0, 0);
        machine.pci.push(bridge(to_nic, Some(chain[3]), PEX, GEN5));
        for port in 0..2_u8 {
            connectx7(
                machine,
                pci(bus + 5, 0, port),
                to_nic,
                &Adapter {
                    number: node * 100 + 40 + side,
                    slot,
                    ports: 2,
                    link_layer: "Ethernet",
                    rate: "200 Gb/sec (4X HDR)",
                    mbps: 200_000,
                    up: port == 0,
                    link: GEN5,
                    vpd: Vec::new(),
                },
            );
        }
        for drive in 0..4_u8 {
            let down = pci(bus + 4, 0x10 + drive * 4, 0);
            machine
                .pci
                .push(bridge(down, Some(chain[3]), PEX, (16.0, 4)));
            let bay = side * 4 + u32::from(drive);
            let address = pci(bus + 6 + drive, 0, 0);
            nvme(machine, address, down, &U2, Some(format!("{}", 100 + bay)));
        }
        // An empty slot: its port trains to nothing, which is no fault.
        machine.pci.push(PciFunction {
            speed: 2.5,
            width: 0,
            ..bridge(pci(bus + 2, 0x10, 0), Some(chain[1]), PEX, GEN5)
        });
    }
}

/// The chipset's own: two M.2 drives, the BMC's display and the management network.
fn chipset(machine: &mut Machine, node: u32) {
    for (n, device) in [(1_u8, 0x08_u8), (2, 0x0a)] {
        let root = pci(0, device, 0);
        machine
            .pci
            .push(bridge(root, None, (0x8086, 0x1bb8), (8.0, 4)));
        nvme(machine, pci(n, 0, 0), root, &M2, None);
    }
    let (root, up) = (pci(0, 0x0c, 0), pci(0x03, 0, 0));
    machine
        .pci
        .push(bridge(root, None, (0x8086, 0x1bbc), (5.0, 1)));
    machine
        .pci
        .push(bridge(up, Some(root), (0x1a03, 0x1150), (5.0, 1)));
    machine.pci.push(PciFunction {
        driver: Some("ast"),
        ..function(
            pci(0x04, 0, 0),
            Some(up),
            (0x1a03, 0x2000),
            0x03_0000,
            (0.0, 0),
        )
    });
    let root = pci(0, 0x10, 0);
    machine
        .pci
        .push(bridge(root, None, (0x8086, 0x1bb0), (8.0, 4)));
    for port in 0..2_u8 {
        let address = pci(0x0b, 0, port);
        machine.pci.push(PciFunction {
            driver: Some("ixgbe"),
            ..function(address, Some(root), (0x8086, 0x1563), 0x02_0000, (8.0, 4))
        });
        machine.nets.push(Net {
            name: format!("eno{}", port + 1),
            pci: address,
            mac: format!("5c:ff:35:fb:{:02x}:0{port}", node % 256),
            up: port == 0,
            mbps: 10_000,
            kind: 1,
            port: 0,
        });
    }
}

/// Everything in the order in which the kernel lists it.
fn finish(mut machine: Machine) -> Machine {
    machine.pci.sort_by_key(|function| function.address);
    machine
}
