//! Parts that several servers share, and the shorthand that the servers are written in.

use cupel_fake_driver::models::Model;
use cupel_model::PciAddress;

use super::{
    Cpu, Dimm, Machine, Net, NvidiaDriver, Nvme, PciFunction, Rdma, RdmaPort, Record, Unit, Vpd,
};

/// `bus:device.function` in domain 0.
pub(super) fn pci(bus: u8, device: u8, function: u8) -> PciAddress {
    PciAddress {
        domain: 0,
        bus,
        device,
        function,
    }
}

/// A function with a link of `speed` GT/s and `width` lanes, both at their maximum.
pub(super) fn function(
    address: PciAddress,
    parent: Option<PciAddress>,
    id: (u16, u16),
    class: u32,
    link: (f64, u32),
) -> PciFunction {
    PciFunction {
        address,
        parent,
        vendor: id.0,
        device: id.1,
        subsystem: (0, 0),
        class,
        revision: 0,
        speed: link.0,
        width: link.1,
        max_speed: link.0,
        max_width: link.1,
        driver: None,
        numa: u32::from(address.bus >= 0x80),
        slot: None,
        vpd: None,
        gone: false,
        aer: Vec::new(),
    }
}

/// A bridge.
pub(super) fn bridge(
    address: PciAddress,
    parent: Option<PciAddress>,
    id: (u16, u16),
    link: (f64, u32),
) -> PciFunction {
    PciFunction {
        driver: Some("pcieport"),
        ..function(address, parent, id, 0x06_0400, link)
    }
}

/// Adds a GPU and its PCI function. `number` makes its serial its own.
pub(super) fn gpu(
    machine: &mut Machine,
    kind: Model,
    address: PciAddress,
    parent: PciAddress,
    (node, number): (u32, u32),
    module_id: Option<u32>,
) {
    let (batch, speed) = match kind {
        Model::H100 => (1_652_923, 32.0),
        Model::H200 => (1_653_624, 32.0),
        Model::B200 => (1_654_025, 32.0),
        Model::L40s => (1_322_823, 16.0),
    };
    let mut gpu = kind.gpu(number, &address.to_string());
    gpu.serial = Some(format!("{batch}{:06}", node * 1_000 + 61 + number * 37));
    gpu.uuid = Some(format!(
        "GPU-{:08x}-a732-23fe-40ad-{:012x}",
        0x9dad_5b00 + node * 16 + number,
        0x465d_0cbe_5000_u64 + u64::from(number)
    ));
    gpu.module_id = module_id;
    gpu.gsp_version = machine.driver.kernel.clone();
    let high = |id: u32| u16::try_from(id >> 16).unwrap_or(0);
    machine.pci.push(PciFunction {
        subsystem: (0x10de, high(gpu.pci_subsystem_id)),
        revision: 0xa1,
        driver: Some("nvidia"),
        ..function(
            address,
            Some(parent),
            (0x10de, high(gpu.pci_device_id)),
            0x03_0200,
            (speed, 16),
        )
    });
    machine.gpus.push(gpu);
}

/// Points the NVLinks of all GPUs at these NVSwitches.
pub(super) fn link_to_switches(machine: &mut Machine, switches: &[PciAddress]) {
    for gpu in &mut machine.gpus {
        for (link, switch) in gpu.nvlinks.iter_mut().zip(switches.iter().cycle()) {
            link.remote_pci = Some(switch.to_string());
        }
    }
}

/// Adds a ConnectX-7 function, its RDMA device and its network interface. Ports above 0 of one
/// adapter share its serial and system GUID.
pub(super) fn connectx7(
    machine: &mut Machine,
    address: PciAddress,
    parent: PciAddress,
    adapter: &Adapter<'_>,
) {
    let port = u32::from(address.function);
    let infiniband = adapter.link_layer == "InfiniBand";
    let guid = 0x9c63_c003_0000_0000 + u64::from(adapter.number) * 0x10_0000;
    machine.pci.push(PciFunction {
        subsystem: (0x15b3, if adapter.ports == 1 { 0x0050 } else { 0x0051 }),
        driver: Some("mlx5_core"),
        slot: Some(adapter.slot.to_owned()),
        vpd: Some(Vpd {
            name: "Nvidia ConnectX-7 InfiniBand/Ethernet adapter card, NDR IB (default mode), OSFP, PCIe 5.0 x16",
            part: if adapter.ports == 1 {
                "MCX750500B-0D00_DK"
            } else {
                "MCX755206AS-NEAT_N"
            },
            serial: format!("MT2319X{:05}", adapter.number),
            more: adapter.vpd.clone(),
        }),
        ..function(
            address,
            Some(parent),
            (0x15b3, 0x1021),
            if infiniband { 0x02_0700 } else { 0x02_0000 },
            adapter.link,
        )
    });
    let number = machine.rdma.len();
    let up = adapter.up;
    machine.rdma.push(Rdma {
        name: format!("mlx5_{number}"),
        pci: address,
        hca_type: "MT4129",
        firmware: "28.39.3560",
        board_id: if adapter.ports == 1 {
            "NVD0000000023"
        } else {
            "MT_0000000892"
        },
        node_guid: guid + u64::from(port),
        system_guid: guid,
        ports: vec![RdmaPort {
            link_layer: if infiniband { "InfiniBand" } else { "Ethernet" },
            state: if up { "4: ACTIVE" } else { "1: DOWN" },
            physical_state: if up { "5: LinkUp" } else { "3: Disabled" },
            rate: if up {
                adapter.rate.to_owned()
            } else if infiniband {
                "10 Gb/sec (4X SDR)".to_owned()
            } else {
                "40 Gb/sec (4X QDR)".to_owned()
            },
            lid: if infiniband && up {
                100 + adapter.number % 1000
            } else {
                0
            },
            counters: vec![
                ("port_rcv_data".to_owned(), 91_237_541_200 + guid % 97_000),
                ("port_xmit_data".to_owned(), 90_112_334_412 + guid % 89_000),
                ("port_rcv_packets".to_owned(), 171_223_004),
                ("port_xmit_packets".to_owned(), 170_980_211),
            ],
        }],
    });
    machine.nets.push(Net {
        name: if infiniband {
            format!("ib{number}")
        } else {
            format!("enp{}s0f{port}np{port}", address.bus)
        },
        pci: address,
        mac: if infiniband {
            format!("00:00:10:29:fe:80:00:00:00:00:00:00:{}", colons(guid, 8))
        } else {
            colons(guid + u64::from(port), 6)
        },
        up,
        mbps: adapter.mbps,
        kind: if infiniband { 32 } else { 1 },
        port: 0,
    });
}

/// How a ConnectX-7 is fitted.
pub(super) struct Adapter<'a> {
    pub number: u32,
    pub slot: &'a str,
    pub ports: u32,
    pub link_layer: &'a str,
    pub rate: &'a str,
    pub mbps: u32,
    pub up: bool,
    pub link: (f64, u32),
    pub vpd: Vec<(&'static str, String)>,
}

/// The lowest `bytes` bytes of `value` as `aa:bb:…`.
pub(crate) fn colons(value: u64, bytes: usize) -> String {
    let all = value.to_be_bytes();
    let parts: Vec<String> = all[8 - bytes..]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    parts.join(":")
}

/// Adds an NVMe drive.
pub(super) fn nvme(
    machine: &mut Machine,
    address: PciAddress,
    parent: PciAddress,
    drive: &Drive,
    slot: Option<String>,
) {
    let number = u32::try_from(machine.nvme.len()).unwrap_or(u32::MAX);
    machine.pci.push(PciFunction {
        subsystem: (drive.id.0, 0x0001),
        driver: Some("nvme"),
        slot,
        ..function(address, Some(parent), drive.id, 0x01_0802, drive.link)
    });
    machine.nvme.push(Nvme {
        name: format!("nvme{number}"),
        pci: address,
        model: drive.model,
        serial: format!("{}{:05}", drive.serial, 10_007 + number * 131),
        firmware: drive.firmware,
        bytes: drive.bytes,
        state: "live",
        critical_warning: 0,
        media_errors: 0,
        percentage_used: 2,
        spare: 100,
    });
}

/// A model of drive.
pub(super) struct Drive {
    pub id: (u16, u16),
    pub model: &'static str,
    pub serial: &'static str,
    pub firmware: &'static str,
    pub bytes: u64,
    pub link: (f64, u32),
}

/// The system drive of the DGX servers.
pub(super) const M2: Drive = Drive {
    id: (0x144d, 0xa80a),
    model: "SAMSUNG MZ1L21T9HCLS-00A07",
    serial: "S666NE0T8",
    firmware: "GDC7302Q",
    bytes: 1_920_383_410_176,
    link: (8.0, 4),
};

/// The cache drive of the DGX servers.
pub(super) const U2: Drive = Drive {
    id: (0x1e0f, 0x0007),
    model: "KIOXIA KCM6DRUL3T84",
    serial: "2320A0D",
    firmware: "0107",
    bytes: 3_840_755_982_336,
    link: (16.0, 4),
};

/// The data drive of the Dell servers.
pub(super) const E3S: Drive = Drive {
    id: (0x144d, 0xa826),
    model: "Dell DC NVMe PM1743 RI E3.S 3.84TB",
    serial: "S73LNG0W2",
    firmware: "OPPA4B5Q",
    bytes: 3_840_755_982_336,
    link: (32.0, 4),
};

/// DIMMs named by `name(socket, position)`, all alike.
pub(super) fn dimms(
    per_socket: u32,
    mib: u32,
    speed: u16,
    (manufacturer, part): (&'static str, &'static str),
    node: u32,
    name: impl Fn(u32, u32) -> (String, String),
) -> Vec<Dimm> {
    (0..2)
        .flat_map(|socket| (0..per_socket).map(move |position| (socket, position)))
        .map(|(socket, position)| {
            let (locator, bank) = name(socket, position);
            Dimm {
                locator,
                bank,
                mib,
                speed,
                manufacturer,
                part,
                serial: format!(
                    "{:08X}",
                    0x4015_0000 + node * 0x100 + (socket * per_socket + position) * 7 + 3
                ),
            }
        })
        .collect()
}

/// The processor of the Hopper and Ada servers here.
pub(super) fn sapphire_rapids() -> Cpu {
    Cpu {
        sockets: 2,
        cores: 56,
        model_name: "Intel(R) Xeon(R) Platinum 8480C",
        family: 6,
        model: 143,
        stepping: 8,
        microcode: "0x2b000590",
    }
}

/// The processor of the DGX B200.
pub(super) fn emerald_rapids() -> Cpu {
    Cpu {
        sockets: 2,
        cores: 56,
        model_name: "INTEL(R) XEON(R) PLATINUM 8570",
        family: 6,
        model: 207,
        stepping: 2,
        microcode: "0x21000283",
    }
}

/// A driver in good order.
pub(super) fn driver(version: &str, cuda: i32, open: bool) -> NvidiaDriver {
    NvidiaDriver {
        kernel: Some(version.to_owned()),
        library: Some(version.to_owned()),
        cuda,
        open,
        init: 0,
        missing: Vec::new(),
        calls: Vec::new(),
        cuda_side: cupel_fake_driver::state::Cuda::default(),
    }
}

/// Units that run on such a server.
pub(super) fn units(fabric: bool) -> Vec<Unit> {
    let running = |name| Unit {
        name,
        active: "active".to_owned(),
        sub: "running".to_owned(),
    };
    let mut units = vec![
        running("chrony.service"),
        running("nvidia-persistenced.service"),
        running("ssh.service"),
    ];
    if fabric {
        units.push(running("nvidia-fabricmanager.service"));
    }
    units
}

/// What the kernel wrote while it booted.
pub(super) fn boot_log(driver: &NvidiaDriver) -> Vec<Record> {
    let version = driver.kernel.clone().unwrap_or_default();
    [
        (5, 0, "Linux version 5.15.0-1063-nvidia (buildd@lcy02-amd64-107) (gcc (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0, GNU ld (GNU Binutils for Ubuntu) 2.38) #64-Ubuntu SMP Fri Aug 9 17:13:45 UTC 2024".to_owned()),
        (6, 0, "Command line: BOOT_IMAGE=/boot/vmlinuz-5.15.0-1063-nvidia root=UUID=8f4c1a52-52e3-4f52-9f57-6a8fd2f0a7a1 ro pci=realloc=off iommu=pt console=tty0 console=ttyS1,115200n8".to_owned()),
        (6, 812_004, "ACPI: PCI Root Bridge [PC00] (domain 0000 [bus 00-14])".to_owned()),
        (6, 3_420_118, "EDAC i10nm: No hbm memory".to_owned()),
        (6, 4_011_872, "nvme nvme0: 128/0/0 default/read/poll queues".to_owned()),
        (5, 6_200_440, "nvidia: loading out-of-tree module taints kernel.".to_owned()),
        (6, 6_933_021, format!("NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder@U16-J11-09-4)  Mon Aug  5 22:41:18 UTC 2024")),
        (6, 9_214_455, "mlx5_core 0000:18:00.0: firmware version: 28.39.3560".to_owned()),
        (6, 21_778_903, "systemd[1]: Reached target Multi-User System.".to_owned()),
    ]
    .into_iter()
    .map(|(priority, microseconds, text)| Record {
        priority,
        microseconds,
        text,
    })
    .collect()
}
