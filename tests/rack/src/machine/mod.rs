//! What the simulated server is made of: the one description from which every file is rendered.
//!
//! # Invariants
//! - Values are those of registers, counters and firmware tables, never Cupel's own terms.

mod dgx;
mod parts;
mod poweredge;

use anyhow::{Result, bail};
use cupel_fake_driver::state;
use cupel_model::PciAddress;

#[cfg(test)]
pub(crate) use parts::colons;

/// A whole server.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub system: System,
    pub cpu: Cpu,
    pub dimms: Vec<Dimm>,
    pub pci: Vec<PciFunction>,
    /// GPUs as the driver tells them, in its order.
    pub gpus: Vec<state::Gpu>,
    pub rdma: Vec<Rdma>,
    pub nvme: Vec<Nvme>,
    pub nets: Vec<Net>,
    pub driver: NvidiaDriver,
    pub log: Vec<Record>,
    pub units: Vec<Unit>,
    /// Files that a fault wrote (`Some`) or took away (`None`), by path below the root.
    pub files: Vec<(String, Option<Vec<u8>>)>,
}

/// What SMBIOS and `/etc` say of the server as a whole.
#[derive(Clone, Debug)]
pub(crate) struct System {
    pub manufacturer: &'static str,
    pub product: &'static str,
    pub sku: &'static str,
    pub serial: String,
    pub chassis_serial: String,
    pub board: &'static str,
    pub board_serial: String,
    pub uuid: [u8; 16],
    pub bios_vendor: &'static str,
    pub bios_version: &'static str,
    pub bios_date: &'static str,
    pub hostname: String,
    pub machine_id: String,
    pub boot_id: String,
    pub uptime_seconds: u64,
    /// Seconds since 1970.
    pub booted_at: i64,
    /// What is logged happens now.
    pub live: bool,
    /// IANA enterprise number of the BMC's maker, its product id and firmware `major.minor`.
    pub bmc: (u32, u16, u8, u8),
}

/// Processors; every socket alike.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    pub sockets: u32,
    pub cores: u32,
    pub model_name: &'static str,
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    pub microcode: &'static str,
}

/// A memory socket; `mib` 0 is empty.
#[derive(Clone, Debug)]
pub(crate) struct Dimm {
    pub locator: String,
    pub bank: String,
    pub mib: u32,
    pub speed: u16,
    pub manufacturer: &'static str,
    pub part: &'static str,
    pub serial: String,
}

/// Vital product data of an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Vpd {
    pub name: &'static str,
    pub part: &'static str,
    pub serial: String,
    /// Further keywords, such as `V3` or `VA`.
    pub more: Vec<(&'static str, String)>,
}

/// One PCI function.
#[derive(Clone, Debug)]
pub(crate) struct PciFunction {
    pub address: PciAddress,
    pub parent: Option<PciAddress>,
    pub vendor: u16,
    pub device: u16,
    pub subsystem: (u16, u16),
    pub class: u32,
    pub revision: u8,
    pub speed: f64,
    pub width: u32,
    pub max_speed: f64,
    pub max_width: u32,
    pub driver: Option<&'static str>,
    pub numa: u32,
    pub slot: Option<String>,
    pub vpd: Option<Vpd>,
    /// The function no longer answers: all ones.
    pub gone: bool,
    /// AER counters that are not zero: `(file, name, count)`.
    pub aer: Vec<(&'static str, String, u64)>,
}

/// One RDMA device.
#[derive(Clone, Debug)]
pub(crate) struct Rdma {
    pub name: String,
    pub pci: PciAddress,
    pub hca_type: &'static str,
    pub firmware: &'static str,
    pub board_id: &'static str,
    pub node_guid: u64,
    pub system_guid: u64,
    pub ports: Vec<RdmaPort>,
}

/// One port of it.
#[derive(Clone, Debug)]
pub(crate) struct RdmaPort {
    pub link_layer: &'static str,
    /// The kernel's words with their numbers: `4: ACTIVE`.
    pub state: &'static str,
    pub physical_state: &'static str,
    pub rate: String,
    pub lid: u32,
    /// Counters that are not zero, by name.
    pub counters: Vec<(String, u64)>,
}

/// One NVMe controller.
#[derive(Clone, Debug)]
pub(crate) struct Nvme {
    pub name: String,
    pub pci: PciAddress,
    pub model: &'static str,
    pub serial: String,
    pub firmware: &'static str,
    pub bytes: u64,
    pub state: &'static str,
    /// Byte 0 of the SMART / health log.
    pub critical_warning: u8,
    pub media_errors: u64,
    pub percentage_used: u8,
    pub spare: u8,
}

/// One network interface.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub name: String,
    pub pci: PciAddress,
    pub mac: String,
    pub up: bool,
    pub mbps: u32,
    /// `ARPHRD_*`: 1 is Ethernet, 32 InfiniBand.
    pub kind: u32,
    /// Port of the device, 0-based.
    pub port: u32,
}

/// The NVIDIA driver.
#[derive(Clone, Debug)]
pub(crate) struct NvidiaDriver {
    /// Version of the kernel module; `None` when it is not loaded.
    pub kernel: Option<String>,
    /// Version the library tells; `None` when there is no library.
    pub library: Option<String>,
    pub cuda: i32,
    pub open: bool,
    /// What initialising the library returns.
    pub init: u32,
    /// Functions that the library does not have.
    pub missing: Vec<String>,
    /// Functions that misbehave.
    pub calls: Vec<state::Fault>,
    /// The CUDA side of the library.
    pub cuda_side: state::Cuda,
}

/// One record of the kernel log.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Syslog facility times 8 plus level.
    pub priority: u32,
    /// Microseconds since boot.
    pub microseconds: u64,
    pub text: String,
}

/// A unit of systemd.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub name: &'static str,
    pub active: String,
    pub sub: String,
}

/// When a server whose clock stands still was booted: 2024-11-21T14:40:00Z.
const BOOTED_AT: i64 = 1_732_200_000;

impl Machine {
    /// The server of a platform in good order. `node` makes its serials its own.
    pub fn healthy(platform: &str, node: u32) -> Result<Self> {
        match platform {
            "dgx-h100" => Ok(dgx::h100(node)),
            "hgx-b200" => Ok(dgx::b200(node)),
            "dell-xe9680-h200" => Ok(poweredge::xe9680(node)),
            "pcie-l40s" => Ok(poweredge::r760xa(node)),
            other => bail!(
                "unknown platform {other:?}: want dgx-h100, hgx-b200, dell-xe9680-h200 or pcie-l40s"
            ),
        }
    }

    /// The GPU with this index.
    pub fn gpu(&mut self, index: u32) -> Result<&mut state::Gpu> {
        let count = self.gpus.len();
        match self.gpus.get_mut(index as usize) {
            Some(gpu) => Ok(gpu),
            None => bail!("no gpu {index}: the server has {count}"),
        }
    }

    /// The PCI function at this address.
    pub fn function(&mut self, address: PciAddress) -> Result<&mut PciFunction> {
        match self.pci.iter_mut().find(|f| f.address == address) {
            Some(function) => Ok(function),
            None => bail!("no PCI function {address}"),
        }
    }

    /// The address of `gpu3`, `mlx5_0`, `nvme1`, `eth0`, or of an address itself.
    pub fn address(&self, device: &str) -> Result<PciAddress> {
        if let Ok(address) = device.parse() {
            return Ok(address);
        }
        if let Some(index) = device.strip_prefix("gpu").and_then(|n| n.parse().ok())
            && let Some(gpu) = self.gpus.get::<usize>(index)
        {
            return Ok(gpu.pci.parse()?);
        }
        let rdma = self.rdma.iter().find(|d| d.name == device).map(|d| d.pci);
        let nvme = self.nvme.iter().find(|d| d.name == device).map(|d| d.pci);
        let net = self.nets.iter().find(|d| d.name == device).map(|d| d.pci);
        match rdma.or(nvme).or(net) {
            Some(address) => Ok(address),
            None => bail!("no device {device:?}: want gpu3, mlx5_0, nvme1, eth0 or 0000:1b:00.0"),
        }
    }

    /// Takes a PCI function and all that lives on it out of the machine.
    pub fn remove(&mut self, address: PciAddress) {
        self.pci.retain(|f| f.address != address);
        self.rdma.retain(|d| d.pci != address);
        self.nvme.retain(|d| d.pci != address);
        self.nets.retain(|d| d.pci != address);
        let spelt = address.to_string();
        self.gpus.retain(|d| d.pci != spelt);
    }

    /// Starts another boot.
    pub fn reboot(&mut self) {
        self.system.boot_id = self.system.boot_id.replacen('-', "-b", 1);
        self.system.boot_id.remove(13);
        self.system.uptime_seconds = 301;
        self.log = parts::boot_log(&self.driver);
    }

    /// Appends a record to the kernel log, a little later than the one before.
    pub fn log(&mut self, priority: u32, text: impl Into<String>) {
        let mut microseconds = self.log.last().map_or(0, |r| r.microseconds) + 1_250;
        if self.system.live {
            let booted_at = self.system.booted_at.saturating_mul(1_000_000);
            let since = jiff::Timestamp::now()
                .as_microsecond()
                .saturating_sub(booted_at);
            microseconds = microseconds.max(u64::try_from(since).unwrap_or(0));
        }
        self.log.push(Record {
            priority,
            microseconds,
            text: text.into(),
        });
    }
}
