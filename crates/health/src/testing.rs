//! A node in good order to change one thing in: eight H200 of an imaginary server. Synthetic.
//!
//! Only for tests: of this crate, and of others through the feature `testing`.

use cupel_model::event::{CatalogueActions, LogSource};
use cupel_model::finding::{RemedyAction, Severity};
use cupel_model::platform::Platform;
use cupel_model::snapshot::*;
use cupel_model::units::{Bytes, Celsius, GigabitsPerSecond, GigatransfersPerSecond, Percent};
use cupel_model::units::{Seconds, Watts};
use cupel_model::{Counter, Event, EventKind, PciAddress, Reading, SCHEMA_VERSION, Timestamp};

/// What a case of a check must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Judged, and well.
    Pass,
    /// At least one finding.
    Fail,
    /// Applies, and could not be determined.
    Unknown,
    /// Does not apply.
    Skip,
}

/// One thing changed in a good node, and what the check must say.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What was changed.
    pub name: &'static str,
    /// What the check must say.
    pub expect: Expect,
    /// The change.
    pub change: fn(&mut Node),
}

/// A node with its platform.
#[derive(Clone, Debug)]
pub struct Node {
    /// The machine.
    pub snapshot: Snapshot,
    /// What it should be.
    pub platform: Option<Platform>,
}

impl Node {
    /// A node in good order on its platform.
    pub fn good() -> Self {
        Self {
            snapshot: good(),
            platform: Some(platform()),
        }
    }

    /// The GPU with this index.
    pub fn gpu(&mut self, index: usize) -> &mut Gpu {
        self.snapshot
            .gpus
            .get_mut(index)
            .expect("a good node has eight GPUs")
    }

    /// Takes a GPU away, and leaves what is remembered of it.
    pub fn lose(&mut self, index: usize) {
        let before = good();
        self.snapshot.remembered = crate::remember(&before);
        self.snapshot.gpus.remove(index);
    }

    /// The platform file.
    pub fn expected(&mut self) -> &mut Platform {
        self.platform.as_mut().expect("the node has a platform")
    }

    /// Adds a line to the kernel log.
    pub fn log(&mut self, event: Event) {
        self.snapshot.kernel_log.push(event);
    }

    /// Sets the sample before, ten seconds earlier, to the node as it is now.
    pub fn sample(&mut self) {
        self.snapshot.previous = Some(Previous {
            elapsed_seconds: Seconds::new(10.0).expect("finite"),
            snapshot: Box::new(Snapshot {
                previous: None,
                kernel_log: Vec::new(),
                ..self.snapshot.clone()
            }),
        });
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("time")
}

/// PCI address of the GPU with this index.
pub fn gpu_pci(index: usize) -> PciAddress {
    const BUSES: [u8; 8] = [0x19, 0x3b, 0x4c, 0x5d, 0x9b, 0xbb, 0xcb, 0xdb];
    address(BUSES[index])
}

fn address(bus: u8) -> PciAddress {
    PciAddress {
        domain: 0,
        bus,
        device: 0,
        function: 0,
    }
}

/// An XID of the GPU with this index, as the kernel log gives it.
pub fn xid(index: usize, code: u32, immediate: &str, pid: Option<u32>) -> Event {
    let at = time("2026-01-02T03:00:00Z");
    Event {
        time: Some(at),
        source: LogSource::Kernel,
        kind: EventKind::Xid,
        pci: Some(gpu_pci(index)),
        mig: None,
        xid: Some(code),
        sxid: None,
        mnemonic: None,
        nvidia: (!immediate.is_empty()).then(|| CatalogueActions {
            immediate: Some(immediate.to_owned()),
            investigatory: None,
        }),
        nvlink5: None,
        code: format!("xid.{code}"),
        action: RemedyAction::None,
        severity: Severity::Info,
        pid,
        process: None,
        repeats: 1,
        first: Some(at),
        last: Some(at),
        raw: format!("NVRM: Xid (PCI:{}): {code}, …", gpu_pci(index)),
    }
}

/// Makes NVML report an XID of each of these GPUs between two samples.
pub fn reported(node: &mut Node, xids: &[(u32, u32)]) {
    let event = |(index, code): &(u32, u32)| GpuEvent {
        index: *index,
        pci: gpu_pci(*index as usize).into(),
        kind: "xid".to_owned(),
        xid: Some(*code),
        time: time("2026-01-02T03:04:00Z"),
        repeats: 1,
    };
    node.snapshot.gpu_events = Reading::Value(xids.iter().map(event).collect());
}

/// Takes away the platform and all GPUs, because the PCI bus could not be read.
pub fn unread_bus(node: &mut Node) {
    node.platform = None;
    node.snapshot.gpus.clear();
    node.snapshot.pci.clear();
    trouble(node, "pci", "/sys/bus/pci/devices: no such file");
}

/// A machine without a platform on whose bus nothing is that Cupel looks at.
pub fn empty_bus(node: &mut Node) {
    node.platform = None;
    let snapshot = &mut node.snapshot;
    snapshot.gpus.clear();
    snapshot.rdma.clear();
    snapshot.nvme.clear();
    snapshot.pci.clear();
}

/// Adds a problem with a source.
pub fn trouble(node: &mut Node, source: &str, why: &str) {
    node.snapshot.problems.push(Problem {
        source: source.to_owned(),
        why: why.to_owned(),
    });
}

fn gts(value: f64) -> Reading<GigatransfersPerSecond> {
    GigatransfersPerSecond::new(value).expect("finite").into()
}

fn zero() -> Reading<Counter> {
    Counter::exact(0).into()
}

fn ecc() -> EccCounts {
    EccCounts {
        sram_corrected: zero(),
        sram_uncorrected: zero(),
        dram_corrected: zero(),
        dram_uncorrected: zero(),
        total_corrected: zero(),
        total_uncorrected: zero(),
    }
}

fn gpu(index: usize) -> Gpu {
    let number = u32::try_from(index).expect("small");
    let links = (0..18)
        .map(|link| Nvlink {
            index: link,
            active: true.into(),
            version: 4.into(),
            speed_gbps: GigabitsPerSecond::new(212.5).expect("finite").into(),
            remote: NvlinkRemote::Switch.into(),
            remote_pci: Reading::absent("a switch"),
            counters: Vec::new(),
        })
        .collect();
    Gpu {
        index: number.into(),
        pci: gpu_pci(index).into(),
        slot: format!("SXM {}", number + 1).into(),
        identity: GpuIdentity {
            name: "NVIDIA H200".to_owned().into(),
            uuid: format!("GPU-00000000-0000-0000-0000-00000000000{index}").into(),
            serial: format!("165012300000{index}").into(),
            module_id: (number + 1).into(),
            architecture: "hopper".to_owned().into(),
            persistence_mode: true.into(),
            mig_mode: false.into(),
            ..GpuIdentity::default()
        },
        on_bus: true.into(),
        in_driver: true.into(),
        memory: GpuMemory {
            total_bytes: Bytes(150_754_820_096).into(),
            free_bytes: Bytes(150_000_000_000).into(),
            used_bytes: Bytes(754_820_096).into(),
        },
        ecc: GpuEcc {
            enabled: true.into(),
            pending: true.into(),
            volatile: ecc(),
            aggregate: ecc(),
            sram_threshold_exceeded: false.into(),
        },
        remapped_rows: GpuRemappedRows {
            correctable: 0.into(),
            uncorrectable: 0.into(),
            pending: false.into(),
            failure: false.into(),
            banks_max: 2560.into(),
            banks_high: 0.into(),
            banks_partial: 0.into(),
            banks_low: 0.into(),
            banks_none: 0.into(),
        }
        .into(),
        retired_pages: Reading::unsupported("rows are remapped instead"),
        thermal: GpuThermal {
            temperature_celsius: Celsius::new(31.0).expect("finite").into(),
            power_watts: Watts::new(76.0).expect("finite").into(),
            power_limit_watts: Watts::new(700.0).expect("finite").into(),
            power_default_limit_watts: Watts::new(700.0).expect("finite").into(),
            ..GpuThermal::default()
        },
        clocks: GpuClocks {
            performance_state: 0.into(),
            throttle_reasons: vec!["gpu-idle".to_owned()].into(),
            power_violation_ns: zero(),
            thermal_violation_ns: zero(),
            reliability_violation_ns: zero(),
            board_violation_ns: zero(),
            ..GpuClocks::default()
        },
        pcie: GpuPcie {
            current_generation: 5.into(),
            max_generation: 5.into(),
            current_width: 16.into(),
            max_width: 16.into(),
            replay_count: zero(),
        },
        nvlink: GpuNvlinks { links }.into(),
        fabric: GpuFabric {
            state: "completed".to_owned().into(),
            status: "success".to_owned().into(),
            clique_id: 0.into(),
            cluster_uuid: "00000000-0000-0000-0000-000000000000".to_owned().into(),
            health_problems: Vec::new().into(),
        }
        .into(),
        processes: GpuProcesses {
            compute: Vec::new().into(),
            utilisation_percent: Percent::new(0.0).expect("finite").into(),
            memory_utilisation_percent: Percent::new(0.0).expect("finite").into(),
            recovery_action: "none".to_owned().into(),
        },
        hung: None,
    }
}

fn pci(address: PciAddress, vendor: &str, device: &str, class: &str, width: u32) -> PciDevice {
    PciDevice {
        address,
        vendor: vendor.to_owned().into(),
        device: device.to_owned().into(),
        subsystem: Reading::absent("none"),
        class: class.to_owned().into(),
        revision: "a1".to_owned().into(),
        current_speed_gts: gts(32.0),
        current_width: width.into(),
        max_speed_gts: gts(32.0),
        max_width: width.into(),
        aer: Vec::new().into(),
        driver: Reading::absent("none"),
        numa_node: 0.into(),
        slot: Reading::absent("none"),
        upstream: Reading::absent("root bus"),
        serial: Reading::absent("no VPD"),
        part_number: Reading::absent("no VPD"),
        manages_switches: Reading::absent("no VPD"),
    }
}

fn adapter(index: u8) -> RdmaDevice {
    RdmaDevice {
        name: format!("mlx5_{index}"),
        pci: address(0x1a + 0x10 * index).into(),
        slot: format!("{}", 31 + index).into(),
        serial: format!("MT23000000{index}").into(),
        firmware: "28.39.1002".to_owned().into(),
        board_id: "MT_0000000838".to_owned().into(),
        hca_type: "MT4129".to_owned().into(),
        node_guid: format!("a088:c203:0000:000{index}").into(),
        system_guid: format!("a088:c203:0000:000{index}").into(),
        ports: vec![RdmaPort {
            number: 1,
            state: "ACTIVE".to_owned().into(),
            physical_state: "LinkUp".to_owned().into(),
            rate_gbps: GigabitsPerSecond::new(400.0).expect("finite").into(),
            link_layer: "InfiniBand".to_owned().into(),
            lid: 7.into(),
            sm_lid: 1.into(),
            interfaces: vec![format!("ib{index}")],
            counters: Vec::new(),
        }],
        counters: Vec::new(),
    }
}

fn drive(index: u8) -> NvmeController {
    NvmeController {
        name: format!("nvme{index}"),
        pci: address(0xe0 + index).into(),
        slot: format!("{}", 10 + index).into(),
        model: "Imaginary 3.84 TB".to_owned().into(),
        serial: format!("S6000000{index}").into(),
        firmware: "1.0.0".to_owned().into(),
        state: "live".to_owned().into(),
        capacity_bytes: Bytes(3_840_755_982_336).into(),
        health: NvmeHealth {
            critical_warnings: Vec::new(),
            temperature_celsius: Celsius::new(35.0).expect("finite").into(),
            available_spare_percent: Percent::new(100.0).expect("finite").into(),
            available_spare_threshold_percent: Percent::new(10.0).expect("finite").into(),
            percentage_used: Percent::new(1.0).expect("finite").into(),
            media_errors: 0.into(),
            ..NvmeHealth::default()
        }
        .into(),
        firmware_slots: Vec::new().into(),
    }
}

fn dimm(index: usize) -> Dimm {
    Dimm {
        name: format!("A{:02}", index + 1),
        bank: Reading::absent("none"),
        size_bytes: Bytes(64 << 30).into(),
        kind: "DDR5".to_owned().into(),
        speed_mts: cupel_model::units::MegatransfersPerSecond(4800).into(),
        manufacturer: "Imaginary".to_owned().into(),
        part_number: "M321".to_owned().into(),
        serial: format!("D000{index:02}").into(),
    }
}

/// A snapshot of the node in good order.
pub fn good() -> Snapshot {
    let mut functions: Vec<PciDevice> = (0..8)
        .map(|index| pci(gpu_pci(index), "10de", "2335", "030200", 16))
        .chain((0..4).map(|index| pci(address(0x1a + 0x10 * index), "15b3", "1021", "020700", 16)))
        .chain((0..2).map(|index| pci(address(0xe0 + index), "144d", "a80a", "010802", 4)))
        .collect();
    functions.sort_by_key(|device| device.address);
    Snapshot {
        schema_version: SCHEMA_VERSION,
        cupel_version: "0.0.0".to_owned(),
        taken_at: time("2026-01-02T03:04:05Z"),
        node: cupel_model::snapshot::Node {
            id: "4c4c4544-0000-0000-0000-000000000001".to_owned().into(),
            id_source: IdSource::SmbiosUuid.into(),
            hostname: "gpu001".to_owned().into(),
            manufacturer: "Imaginary Inc.".to_owned().into(),
            product: "Crucible 8".to_owned().into(),
            serial: "CRU0001".to_owned().into(),
            uptime_seconds: Seconds::new(86_400.0).expect("finite").into(),
            ..Default::default()
        },
        tenancy: Tenancy::None,
        gpus: (0..8).map(gpu).collect(),
        nvswitches: Vec::new(),
        rdma: (0..4).map(adapter).collect(),
        nvme: (0..2).map(drive).collect(),
        pci: functions.into(),
        memory: Memory {
            total_bytes: Bytes(2_160_000_000_000).into(),
            available_bytes: Bytes(2_100_000_000_000).into(),
            dimms: (0..32).map(dimm).collect(),
            dimms_source: "SMBIOS type 17".to_owned().into(),
            edac: Vec::new(),
        },
        cpus: Cpus {
            sockets: (0..2)
                .map(|socket| CpuSocket {
                    name: format!("CPU{socket}"),
                    model: "Imaginary 9000".to_owned().into(),
                    cores: 56.into(),
                    threads: 112.into(),
                    microcode: "0x1".to_owned().into(),
                    populated: true.into(),
                })
                .collect(),
            online: "0-223".to_owned().into(),
            possible: "0-223".to_owned().into(),
            online_count: 224.into(),
            possible_count: 224.into(),
            numa_nodes: 2.into(),
        },
        network: Vec::new().into(),
        filesystems: Vec::new(),
        sensors: Vec::new(),
        bmc: Reading::absent("no /dev/ipmi0"),
        kernel: Kernel {
            release: "6.1.0".to_owned().into(),
            command_line: "root=/dev/nvme0n1p2 ro".to_owned().into(),
            taint: 4097.into(),
            modules: Vec::new().into(),
        },
        driver: Driver {
            kernel_version: "575.57.08".to_owned().into(),
            flavour: "open".to_owned().into(),
            library_version: "575.57.08".to_owned().into(),
            nvml_version: "12.575.57.08".to_owned().into(),
            cuda_version: "12.9".to_owned().into(),
            library_path: "/usr/lib/libnvidia-ml.so.1".to_owned().into(),
            worker: WorkerState::Answered { replaced: 0 },
        },
        services: vec![Service {
            name: "nvidia-fabricmanager.service".to_owned(),
            active_state: "active".to_owned().into(),
            sub_state: "running".to_owned().into(),
        }],
        firmware: Vec::new(),
        kernel_log: Vec::new(),
        kernel_log_records: 1200.into(),
        gpu_events: cupel_model::snapshot::no_interval(),
        remembered: Vec::new(),
        previous: None,
        problems: Vec::new(),
    }
}

/// The platform of the node in good order.
pub fn platform() -> Platform {
    crate::platform::parse(PLATFORM, "crucible-8.toml").expect("a good platform file")
}

const PLATFORM: &str = r#"
schema = 1
name = "crucible-8"
title = "Crucible 8"

[matches]
manufacturer = ["Imaginary Inc."]
product = ["Crucible 8"]
gpu_pci_ids = ["10de:2335"]

[gpu]
name = { value = "NVIDIA H200", source = "its maker" }
count = { value = 8, source = "its maker" }
memory_bytes = { value = 141_000_000_000, source = "its maker" }
pcie_speed_gts = { value = 32.0, source = "its maker" }
pcie_width = { value = 16, source = "its maker" }
nvlinks = { value = 18, source = "its maker" }
fabric = { value = true, source = "its maker" }

[[rdma]]
name = "compute"
hca_types = ["MT4129"]
ports = { value = 4, source = "its maker" }
rate_gbps = { value = 400, source = "its maker" }
link_layer = { value = "InfiniBand", source = "its maker" }

[nvme]
count = { value = 2, source = "its maker" }

[memory]
dimms = { value = 32, source = "its maker" }
total_bytes = { value = 2199023255552, source = "its maker" }

[cpu]
sockets = { value = 2, source = "its maker" }
"#;
