//! What a machine is at one moment: immutable, serialisable, sorted by stable keys.
//!
//! # Invariants
//! - A snapshot is at once report, bug report and test fixture: evaluation needs nothing else.
//! - Collection never judges. Errors are part of the snapshot, beside the data.

mod gpu;
mod host;
mod io;

pub use gpu::*;
pub use host::*;
pub use io::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::finding::ComponentKind;
use crate::pci::PciAddress;
use crate::reading::Reading;
use crate::shared::Shared;
use crate::time::Timestamp;
use crate::units::Seconds;

/// Who owns the node, by configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tenancy {
    /// Nobody yet: bring-up.
    #[default]
    None,
    /// A scheduler (Slurm, Kubernetes).
    Scheduler,
    /// GPUs are passed through to virtual machines: NVML sees none, and that is right.
    VmPassthrough,
    /// vGPU host.
    Vgpu,
    /// A tenant has root.
    BareMetal,
}

/// Something that could not be read, and belongs to no single value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// File, function or device.
    pub source: String,
    /// Why.
    pub why: String,
}

/// One firmware version and where it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareVersion {
    /// What kind of part: `bios`, `bmc`, `vbios`, `inforom`, `nvswitch`, `rdma`, `nvme`, …
    pub component: String,
    /// Which one: slot, device name or PCI address.
    pub name: String,
    /// The version.
    pub version: Reading<String>,
    /// File or call it came from.
    pub source: String,
}

/// A part as it was last seen in good order, so that a lost one keeps its serial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RememberedPart {
    /// What kind of part.
    pub kind: ComponentKind,
    /// Its index then.
    pub index: Option<u32>,
    /// Physical slot or module.
    pub slot: Option<String>,
    /// PCI address then.
    pub pci: Option<PciAddress>,
    /// Serial number.
    pub serial: Option<String>,
    /// UUID or GUID.
    pub uuid: Option<String>,
    /// Product name.
    pub name: Option<String>,
    /// When it was last seen in good order.
    pub seen_at: Timestamp,
}

/// The sample before this one, for rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Previous {
    /// Time between the two, by a clock that never jumps.
    pub elapsed_seconds: Seconds,
    /// The earlier snapshot, without a kernel log and without a previous of its own.
    pub snapshot: Box<Snapshot>,
}

/// What a machine is at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// Version of this JSON.
    pub schema_version: u32,
    /// Version of the cupel that took it.
    pub cupel_version: String,
    /// When.
    pub taken_at: Timestamp,
    /// Which machine.
    pub node: Node,
    /// Who owns it.
    pub tenancy: Tenancy,
    /// GPUs, by PCI address: those NVML lists and those on the PCI bus, one entry each.
    pub gpus: Shared<Vec<Gpu>>,
    /// NVSwitches on the host's PCI bus, by PCI address.
    pub nvswitches: Vec<Nvswitch>,
    /// RDMA devices, by name.
    pub rdma: Shared<Vec<RdmaDevice>>,
    /// NVMe controllers, by name.
    pub nvme: Vec<NvmeController>,
    /// PCI functions, by address.
    pub pci: Shared<Vec<PciDevice>>,
    /// Memory.
    pub memory: Memory,
    /// Processors.
    pub cpus: Cpus,
    /// Network interfaces backed by a device, by name.
    pub network: Shared<Vec<NetworkInterface>>,
    /// File systems that the node needs, by mount point.
    pub filesystems: Vec<Filesystem>,
    /// Sensors of hwmon, by device and label.
    pub sensors: Vec<Sensor>,
    /// Management controller, in-band.
    pub bmc: Reading<Bmc>,
    /// Kernel.
    pub kernel: Kernel,
    /// NVIDIA driver and how it answers.
    pub driver: Driver,
    /// Units of systemd that matter here, by name.
    pub services: Vec<Service>,
    /// Every firmware version visible in-band, by component and name.
    pub firmware: Vec<FirmwareVersion>,
    /// Kernel log of this boot, decoded and folded, oldest first.
    pub kernel_log: Vec<Event>,
    /// Whether the kernel log could be read, and how many records it had.
    pub kernel_log_records: Reading<u64>,
    /// What GPUs reported to the driver between two samples.
    #[serde(default = "no_interval")]
    pub gpu_events: Reading<Vec<GpuEvent>>,
    /// Parts as last seen in good order, by kind and slot.
    pub remembered: Vec<RememberedPart>,
    /// The sample before, when two were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// What a snapshot of one sample has in the place of events.
pub fn no_interval() -> Reading<Vec<GpuEvent>> {
    Reading::absent("no interval was asked for")
}
