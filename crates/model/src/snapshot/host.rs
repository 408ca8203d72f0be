//! The machine around the GPUs: identity, processors, memory, kernel, services, management.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reading::{Counter, Reading};
use crate::time::Timestamp;
use crate::units::{Bytes, Celsius, MegatransfersPerSecond, Seconds};

/// Where a node's id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdSource {
    /// SMBIOS system UUID.
    SmbiosUuid,
    /// `/etc/machine-id`: changes with reinstallation.
    MachineId,
}

/// Which machine this is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Stable id: a valid SMBIOS UUID (lower case), else the machine-id.
    pub id: Reading<String>,
    /// Which of the two.
    pub id_source: Reading<IdSource>,
    /// Host name.
    pub hostname: Reading<String>,
    /// SMBIOS system manufacturer.
    pub manufacturer: Reading<String>,
    /// SMBIOS product name.
    pub product: Reading<String>,
    /// SMBIOS system serial (service tag).
    pub serial: Reading<String>,
    /// SMBIOS chassis serial.
    pub chassis_serial: Reading<String>,
    /// SMBIOS baseboard serial.
    pub board_serial: Reading<String>,
    /// Kernel's random boot id.
    pub boot_id: Reading<String>,
    /// Time since boot.
    pub uptime_seconds: Reading<Seconds>,
}

/// One processor socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuSocket {
    /// Socket as SMBIOS or the kernel numbers it.
    pub name: String,
    /// Model name.
    pub model: Reading<String>,
    /// Cores.
    pub cores: Reading<u32>,
    /// Threads.
    pub threads: Reading<u32>,
    /// Microcode revision, as the kernel prints it.
    pub microcode: Reading<String>,
    /// Whether SMBIOS says that the socket is populated.
    pub populated: Reading<bool>,
}

/// Processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cpus {
    /// Sockets, by name.
    pub sockets: Vec<CpuSocket>,
    /// Kernel list of CPUs that are online.
    pub online: Reading<String>,
    /// Kernel list of CPUs that could be.
    pub possible: Reading<String>,
    /// How many are online.
    pub online_count: Reading<u32>,
    /// How many could be.
    pub possible_count: Reading<u32>,
    /// NUMA nodes.
    pub numa_nodes: Reading<u32>,
}

/// One memory socket. Source: SMBIOS type 17.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dimm {
    /// Device locator, e.g. `A1`: the slot's name on the board.
    pub name: String,
    /// Bank locator.
    pub bank: Reading<String>,
    /// Size; absent when the socket is empty.
    pub size_bytes: Reading<Bytes>,
    /// Kind, e.g. `DDR5`.
    pub kind: Reading<String>,
    /// Configured speed.
    pub speed_mts: Reading<MegatransfersPerSecond>,
    /// Manufacturer.
    pub manufacturer: Reading<String>,
    /// Part number.
    pub part_number: Reading<String>,
    /// Serial number.
    pub serial: Reading<String>,
}

/// Error counts of one EDAC DIMM or rank. Source: `/sys/devices/system/edac/mc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdacCounter {
    /// `mc0/dimm3`, or `mc0` for what no DIMM owns, or `mc0/csrow0/ch0`.
    pub name: String,
    /// The DIMM's label, where the driver knows it.
    pub label: Reading<String>,
    /// Corrected errors.
    pub corrected: Reading<Counter>,
    /// Uncorrected errors.
    pub uncorrected: Reading<Counter>,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// `MemTotal`.
    pub total_bytes: Reading<Bytes>,
    /// `MemAvailable`.
    pub available_bytes: Reading<Bytes>,
    /// Memory sockets, by name.
    pub dimms: Vec<Dimm>,
    /// Why `dimms` is empty or short, when reading it failed.
    pub dimms_source: Reading<String>,
    /// EDAC counters, by name; empty where no EDAC driver is loaded (not visible, not zero).
    pub edac: Vec<EdacCounter>,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Filesystem {
    /// Mount point.
    pub name: String,
    /// Device.
    pub device: String,
    /// Type.
    pub kind: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// Size.
    pub total_bytes: Reading<Bytes>,
    /// Free for root.
    pub free_bytes: Reading<Bytes>,
}

/// One sensor of hwmon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sensor {
    /// Device and label, e.g. `coretemp/0 Package id 0`.
    pub name: String,
    /// Temperature.
    pub temperature_celsius: Reading<Celsius>,
    /// Its critical limit.
    pub critical_celsius: Reading<Celsius>,
}

/// One record of the management controller's event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelRecord {
    /// Record id.
    pub id: u16,
    /// When, by the controller's clock; null when it says "pre-init".
    pub time: Option<Timestamp>,
    /// Sensor's name from its SDR, else `type/number`.
    pub sensor: String,
    /// What happened, in the IPMI specification's words.
    pub event: String,
    /// Whether it asserts (true) or clears.
    pub asserted: bool,
    /// The raw record, hexadecimal.
    pub raw: String,
}

/// One sensor of the management controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BmcSensor {
    /// Name, from its SDR.
    pub name: String,
    /// Kind, in the IPMI specification's words, e.g. `fan`, `power-supply`, `temperature`.
    pub kind: String,
    /// Value in `unit`, for analogue sensors.
    pub value: Reading<f64>,
    /// Unit, in the IPMI specification's words.
    pub unit: Option<String>,
    /// Asserted states or crossed thresholds, in the specification's words.
    pub states: Vec<String>,
}

/// The management controller, asked in-band.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bmc {
    /// Firmware revision, `major.minor` and the auxiliary bytes if any.
    pub firmware: Reading<String>,
    /// IPMI version.
    pub ipmi_version: Reading<String>,
    /// IANA manufacturer id.
    pub manufacturer_id: Reading<u32>,
    /// Product id.
    pub product_id: Reading<u32>,
    /// Sensors, by name.
    pub sensors: Reading<Vec<BmcSensor>>,
    /// Event log, newest last.
    pub sel: Reading<Vec<SelRecord>>,
    /// Whether the event log has lost records.
    pub sel_overflow: Reading<bool>,
}

/// A loaded kernel module of interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Module {
    /// Name.
    pub name: String,
    /// Version, where the module has one.
    pub version: Reading<String>,
}

/// The kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kernel {
    /// Release, as `uname -r`.
    pub release: Reading<String>,
    /// Command line.
    pub command_line: Reading<String>,
    /// Taint bits; 0 is untainted.
    pub taint: Reading<u64>,
    /// Loaded modules that matter here (NVIDIA, RDMA, NVMe, EDAC, IPMI), by name.
    pub modules: Reading<Vec<Module>>,
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Unit name.
    pub name: String,
    /// `active`, `inactive`, `failed`, …; absent when there is no such unit.
    pub active_state: Reading<String>,
    /// `running`, `dead`, `exited`, …
    pub sub_state: Reading<String>,
}
