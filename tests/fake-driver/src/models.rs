//! GPUs in good order, to change one thing in.
//!
//! # Invariants
//! - The values are synthetic: plausible for the product, captured from none. Sizes, limits, link
//!   counts and speeds are the ones that `nvidia-smi` prints for such parts; serials, UUIDs and
//!   versions are made up.

use std::collections::BTreeMap;

use crate::state::{
    Clocks, EccCounts, FABRIC_HEALTHY, Fabric, Gpu, Memory, Modes, Nvlink, Pcie, RemappedRows,
    RowHistogram, State, Utilisation, Violations,
};

/// Bytes in a MiB, the unit in which `nvidia-smi` prints framebuffers.
const MIB: u64 = 1 << 20;

/// Products that the fake driver can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// H100 SXM, 80 GB.
    H100,
    /// H200 SXM, 141 GB.
    H200,
    /// B200 SXM.
    B200,
    /// L40S, PCIe.
    L40s,
}

/// What differs from product to product.
struct Sheet {
    name: &'static str,
    pci_device_id: u32,
    pci_subsystem_id: u32,
    part_number: &'static str,
    architecture: u32,
    vbios: &'static str,
    inforom: &'static str,
    memory_mib: u64,
    banks: u32,
    limit_mw: u32,
    idle_mw: u32,
    clocks: Clocks,
    max_clocks: Clocks,
    thresholds: Option<(u32, u32)>,
    margin: Option<i32>,
    fan: Option<u32>,
    generation: u32,
    nvlink_mbps: u32,
    nvlink_version: u32,
    links: usize,
}

impl Model {
    fn sheet(self) -> Sheet {
        let idle = |graphics, memory| Clocks {
            graphics,
            sm: graphics,
            memory,
        };
        let hopper = Sheet {
            name: "NVIDIA H100 80GB HBM3",
            pci_device_id: 0x2330_10de,
            pci_subsystem_id: 0x16c1_10de,
            part_number: "692-2G520-0200-000",
            architecture: 9,
            vbios: "96.00.74.00.1A",
            inforom: "G520.0200.00.05",
            memory_mib: 81_559,
            banks: 2560,
            limit_mw: 700_000,
            idle_mw: 71_250,
            clocks: idle(345, 2619),
            max_clocks: idle(1980, 2619),
            thresholds: Some((87, 92)),
            margin: Some(51),
            fan: None,
            generation: 5,
            nvlink_mbps: 26_562,
            nvlink_version: 4,
            links: 18,
        };
        match self {
            Self::H100 => hopper,
            Self::H200 => Sheet {
                name: "NVIDIA H200",
                pci_device_id: 0x2335_10de,
                pci_subsystem_id: 0x18be_10de,
                part_number: "692-2G520-0280-501",
                vbios: "96.00.D0.00.02",
                inforom: "G520.0280.00.05",
                memory_mib: 143_771,
                banks: 3072,
                idle_mw: 76_400,
                clocks: idle(345, 3201),
                max_clocks: idle(1980, 3201),
                ..hopper
            },
            Self::B200 => Sheet {
                name: "NVIDIA B200",
                pci_device_id: 0x2901_10de,
                pci_subsystem_id: 0x1999_10de,
                part_number: "692-2G525-0200-000",
                architecture: 10,
                vbios: "97.00.B9.00.32",
                inforom: "G525.0200.00.03",
                memory_mib: 183_359,
                banks: 4096,
                limit_mw: 1_000_000,
                idle_mw: 141_300,
                clocks: idle(120, 3996),
                max_clocks: idle(1965, 3996),
                thresholds: None,
                nvlink_mbps: 53_125,
                nvlink_version: 5,
                ..hopper
            },
            Self::L40s => Sheet {
                name: "NVIDIA L40S",
                pci_device_id: 0x26b9_10de,
                pci_subsystem_id: 0x1851_10de,
                part_number: "900-2G133-0080-000",
                architecture: 8,
                vbios: "95.02.66.00.02",
                inforom: "G133.0242.00.03",
                memory_mib: 46_068,
                banks: 192,
                limit_mw: 350_000,
                idle_mw: 34_120,
                clocks: idle(210, 405),
                max_clocks: idle(2520, 9001),
                thresholds: Some((95, 98)),
                margin: None,
                fan: None,
                generation: 4,
                nvlink_mbps: 0,
                nvlink_version: 0,
                links: 0,
            },
        }
    }

    /// Whether the part sits in an SXM socket and has a fabric.
    pub fn is_sxm(self) -> bool {
        self != Self::L40s
    }

    /// One such GPU, in good order and idle; `index` makes its serial, UUID and socket.
    pub fn gpu(self, index: u32, pci: &str) -> Gpu {
        let sheet = self.sheet();
        let ada = sheet.architecture == 8;
        Gpu {
            pci: pci.to_owned(),
            pci_device_id: sheet.pci_device_id,
            pci_subsystem_id: sheet.pci_subsystem_id,
            handle: 0,
            name: Some(sheet.name.to_owned()),
            uuid: Some(format!("GPU-c0bb1e00-0000-4000-8000-{index:012x}")),
            serial: Some(format!("16512230{:05}", 10_001 + index)),
            module_id: self.is_sxm().then_some(index + 1),
            part_number: Some(sheet.part_number.to_owned()),
            board_id: Some(0x100 * (index + 1)),
            architecture: Some(sheet.architecture),
            vbios_version: Some(sheet.vbios.to_owned()),
            inforom_version: Some(sheet.inforom.to_owned()),
            gsp_version: Some(DRIVER.to_owned()),
            persistence_mode: Some(1),
            compute_mode: Some(0),
            mig_mode: (!ada).then_some(Modes {
                current: 0,
                pending: 0,
            }),
            cpu_affinity: Some(vec![if index < 4 {
                0x0000_0000_ffff_ffff
            } else {
                0xffff_ffff_0000_0000
            }]),
            memory: Some(Memory {
                total: sheet.memory_mib * MIB,
                reserved: 512 * MIB,
                used: 0,
            }),
            ecc_mode: Some(Modes {
                current: 1,
                pending: 1,
            }),
            ecc_volatile: Some(EccCounts::default()),
            ecc_aggregate: Some(EccCounts::default()),
            sram_threshold_exceeded: Some(0),
            remapped_rows: Some(RemappedRows::default()),
            row_histogram: Some(RowHistogram {
                max: sheet.banks,
                ..RowHistogram::default()
            }),
            retired_pages: None,
            temperature: Some(31 + index % 4),
            memory_temperature: (!ada).then_some(38 + index % 4),
            slowdown_temperature: sheet.thresholds.map(|(slowdown, _)| slowdown),
            shutdown_temperature: sheet.thresholds.map(|(_, shutdown)| shutdown),
            margin_temperature: sheet.margin,
            power_mw: Some(sheet.idle_mw + 137 * index),
            power_limit_mw: Some(sheet.limit_mw),
            power_default_limit_mw: Some(sheet.limit_mw),
            energy_mj: Some(7_776_000_000 + 1_000_003 * u64::from(index)),
            fan_percent: sheet.fan,
            clocks: Some(sheet.clocks),
            max_clocks: Some(sheet.max_clocks),
            performance_state: Some(if ada { 8 } else { 0 }),
            throttle_reasons: Some(1),
            violations: Some(Violations::default()),
            pcie: Some(Pcie {
                current_generation: sheet.generation,
                max_generation: sheet.generation,
                current_width: 16,
                max_width: 16,
                replay_count: 0,
            }),
            nvlinks: (0..sheet.links).map(|link| nvlink(&sheet, link)).collect(),
            fabric: self.is_sxm().then(|| Fabric {
                state: 3,
                status: 0,
                clique_id: 0,
                cluster_uuid: "00000000-0000-0000-0000-000000000000".to_owned(),
                health_mask: FABRIC_HEALTHY,
                health_summary: 1,
            }),
            processes: Some(Vec::new()),
            utilisation: Some(Utilisation { gpu: 0, memory: 0 }),
            recovery_action: Some(0),
            event_types: Some(0x11f),
        }
    }
}

/// Driver version of the books made here.
const DRIVER: &str = "570.133.20";

/// NVSwitches of an HGX H100 or H200 baseboard as its host sees them.
pub const NVSWITCHES: [&str; 4] = [
    "0000:05:00.0",
    "0000:06:00.0",
    "0000:07:00.0",
    "0000:08:00.0",
];

/// Error counters that NVML has for the links of a generation.
fn counters(version: u32) -> BTreeMap<String, u64> {
    let names: &[&str] = if version >= 5 {
        &[
            "malformed_packet_errors",
            "buffer_overrun_errors",
            "rcv_errors",
            "rcv_remote_errors",
            "rcv_general_errors",
            "local_link_integrity_errors",
            "xmit_discards",
            "link_recovery_successful_events",
            "link_recovery_failed_events",
            "link_recovery_events",
            "effective_errors",
            "symbol_errors",
        ]
    } else {
        &["replay", "recovery", "crc_flit"]
    };
    names.iter().map(|name| ((*name).to_owned(), 0)).collect()
}

fn nvlink(sheet: &Sheet, link: usize) -> Nvlink {
    // An NVSwitch of NVLink 5 is no PCI function of the host.
    let far = NVSWITCHES[link % NVSWITCHES.len()];
    Nvlink {
        active: 1,
        version: sheet.nvlink_version,
        speed_mbps: sheet.nvlink_mbps,
        remote_type: Some(2),
        remote_pci: (sheet.nvlink_version < 5).then(|| far.to_owned()),
        counters: counters(sheet.nvlink_version),
    }
}

/// PCI addresses of the GPUs of a common eight-way server.
pub const EIGHT: [&str; 8] = [
    "0000:1b:00.0",
    "0000:43:00.0",
    "0000:52:00.0",
    "0000:61:00.0",
    "0000:9d:00.0",
    "0000:c3:00.0",
    "0000:d1:00.0",
    "0000:df:00.0",
];

impl State {
    /// A healthy, idle machine with one GPU at each address.
    pub fn healthy(model: Model, addresses: &[&str]) -> Self {
        Self {
            driver_version: DRIVER.to_owned(),
            nvml_version: format!("12.{DRIVER}"),
            cuda_version: 12_080,
            init: 0,
            gpus: (0_u32..)
                .zip(addresses)
                .map(|(index, pci)| model.gpu(index, pci))
                .collect(),
            events: Vec::new(),
            faults: Vec::new(),
            cuda: crate::state::Cuda::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Act;

    #[test]
    fn a_book_survives_its_file() {
        let directory = tempfile::tempdir().expect("directory");
        for model in [Model::H100, Model::H200, Model::B200, Model::L40s] {
            let book = State::healthy(model, &EIGHT)
                .with_fault("nvmlDeviceGetMemoryInfo", Some(3), Act::Hang)
                .with_fault("*", None, Act::Return(15));
            book.write_beside(directory.path()).expect("write");
            let back = State::read(&directory.path().join(crate::state::FILE_NAME)).expect("read");
            assert_eq!(back, book);
        }
    }

    #[test]
    fn the_newest_fault_that_fits_acts() {
        let book = State::healthy(Model::L40s, &EIGHT)
            .with_fault("*", Some(1), Act::Return(15))
            .with_fault("nvmlDeviceGetName", None, Act::Hang);
        assert_eq!(book.fault("nvmlDeviceGetName", Some(1)), Some(&Act::Hang));
        assert_eq!(
            book.fault("nvmlDeviceGetUUID", Some(1)),
            Some(&Act::Return(15))
        );
        assert_eq!(book.fault("nvmlDeviceGetUUID", Some(0)), None);
        assert_eq!(book.fault("nvmlErrorString", Some(1)), None);
    }
}
