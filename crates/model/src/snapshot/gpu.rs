//! GPUs, NVSwitches and their driver. One struct for each group of driver calls: what a worker
//! answers is what the snapshot holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::pci::PciAddress;
use crate::reading::{Counter, Reading};
use crate::time::Timestamp;
use crate::units::{Bytes, Celsius, GigabitsPerSecond, Joules, Megahertz, Percent, Watts};

/// Who the GPU is. Source: NVML.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuIdentity {
    /// Product name, e.g. `NVIDIA H200`.
    pub name: Reading<String>,
    /// `GPU-…`.
    pub uuid: Reading<String>,
    /// Serial number.
    pub serial: Reading<String>,
    /// Module id on the baseboard (SXM socket), `nvmlDeviceGetModuleId`.
    pub module_id: Reading<u32>,
    /// Board part number.
    pub part_number: Reading<String>,
    /// Board id.
    pub board_id: Reading<u32>,
    /// Architecture, e.g. `hopper`.
    pub architecture: Reading<String>,
    /// VBIOS version.
    pub vbios_version: Reading<String>,
    /// InfoROM image version.
    pub inforom_version: Reading<String>,
    /// GSP firmware version.
    pub gsp_version: Reading<String>,
    /// Whether the persistence mode is on.
    pub persistence_mode: Reading<bool>,
    /// Compute mode, `default` or `exclusive-process` or `prohibited`.
    pub compute_mode: Reading<String>,
    /// Whether MIG is on.
    pub mig_mode: Reading<bool>,
    /// Whether MIG will be on after a reset.
    pub mig_mode_pending: Reading<bool>,
    /// CPUs near it, as a kernel list (`0-31`).
    pub cpu_affinity: Reading<String>,
}

/// Framebuffer. Source: `nvmlDeviceGetMemoryInfo`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuMemory {
    /// All of it.
    pub total_bytes: Reading<Bytes>,
    /// Free.
    pub free_bytes: Reading<Bytes>,
    /// Used.
    pub used_bytes: Reading<Bytes>,
}

/// Error counts of one period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EccCounts {
    /// Corrected errors in SRAM (caches, registers).
    pub sram_corrected: Reading<Counter>,
    /// Uncorrectable errors in SRAM.
    pub sram_uncorrected: Reading<Counter>,
    /// Corrected errors in DRAM.
    pub dram_corrected: Reading<Counter>,
    /// Uncorrectable errors in DRAM.
    pub dram_uncorrected: Reading<Counter>,
    /// All corrected errors, as the driver adds them up.
    pub total_corrected: Reading<Counter>,
    /// All uncorrectable errors, as the driver adds them up.
    pub total_uncorrected: Reading<Counter>,
}

/// ECC. Source: `nvmlDeviceGetEccMode`, `nvmlDeviceGetMemoryErrorCounter`, `…TotalEccErrors`,
/// `…SramEccErrorStatus`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuEcc {
    /// Whether ECC is on.
    pub enabled: Reading<bool>,
    /// Whether it will be on after a reboot.
    pub pending: Reading<bool>,
    /// Since the driver loaded or the GPU was reset.
    pub volatile: EccCounts,
    /// Over the GPU's life.
    pub aggregate: EccCounts,
    /// Whether SRAM's threshold for replacement was passed.
    pub sram_threshold_exceeded: Reading<bool>,
}

/// Row remapping (Ampere and later). Source: `nvmlDeviceGetRemappedRows`, `…RowRemapperHistogram`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuRemappedRows {
    /// Rows remapped after corrected errors.
    pub correctable: Reading<u64>,
    /// Rows remapped after uncorrectable errors.
    pub uncorrectable: Reading<u64>,
    /// Whether a remapping waits for a reset.
    pub pending: Reading<bool>,
    /// Whether a remapping has failed.
    pub failure: Reading<bool>,
    /// Banks with all spare rows left.
    pub banks_max: Reading<u64>,
    /// Banks with many left.
    pub banks_high: Reading<u64>,
    /// Banks with some left.
    pub banks_partial: Reading<u64>,
    /// Banks with few left.
    pub banks_low: Reading<u64>,
    /// Banks with none left.
    pub banks_none: Reading<u64>,
}

/// Page retirement (before Ampere). Source: `nvmlDeviceGetRetiredPages`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuRetiredPages {
    /// After repeated single-bit errors.
    pub single_bit: Reading<u64>,
    /// After a double-bit error.
    pub double_bit: Reading<u64>,
    /// Whether a retirement waits for a reboot.
    pub pending: Reading<bool>,
}

/// Heat and power. Source: NVML temperature, power and energy calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuThermal {
    /// GPU die.
    pub temperature_celsius: Reading<Celsius>,
    /// HBM.
    pub memory_temperature_celsius: Reading<Celsius>,
    /// Hardware slowdown starts here.
    pub slowdown_celsius: Reading<Celsius>,
    /// The driver shuts the GPU down here.
    pub shutdown_celsius: Reading<Celsius>,
    /// Distance to the limit, where the GPU gives that instead of limits.
    pub margin_celsius: Reading<Celsius>,
    /// Power draw, as the driver averages it.
    pub power_watts: Reading<Watts>,
    /// Enforced limit.
    pub power_limit_watts: Reading<Watts>,
    /// Factory limit.
    pub power_default_limit_watts: Reading<Watts>,
    /// Energy since the driver loaded.
    pub energy_joules: Reading<Joules>,
    /// Fan duty, per cent of the maximum.
    pub fan_percent: Reading<Percent>,
}

/// Clocks and what holds them down. Source: NVML clock and violation calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuClocks {
    /// Graphics clock.
    pub graphics_mhz: Reading<Megahertz>,
    /// SM clock.
    pub sm_mhz: Reading<Megahertz>,
    /// Memory clock.
    pub memory_mhz: Reading<Megahertz>,
    /// Highest SM clock.
    pub max_sm_mhz: Reading<Megahertz>,
    /// Highest memory clock.
    pub max_memory_mhz: Reading<Megahertz>,
    /// Performance state, 0 is fastest.
    pub performance_state: Reading<u32>,
    /// Active reasons: `gpu-idle`, `applications-clocks`, `sw-power-cap`, `hw-slowdown`,
    /// `sync-boost`, `sw-thermal-slowdown`, `hw-thermal-slowdown`, `hw-power-brake-slowdown`,
    /// `display-clocks`; an unknown bit is `bit-N`.
    pub throttle_reasons: Reading<Vec<String>>,
    /// Nanoseconds held down by the power limit since the driver loaded.
    pub power_violation_ns: Reading<Counter>,
    /// Nanoseconds held down by heat.
    pub thermal_violation_ns: Reading<Counter>,
    /// Nanoseconds held down by reliability limits or a board limit.
    pub reliability_violation_ns: Reading<Counter>,
    /// Nanoseconds held down by the board's power brake or limit.
    pub board_violation_ns: Reading<Counter>,
}

/// The PCIe link as the driver sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuPcie {
    /// Generation now; falls at idle.
    pub current_generation: Reading<u32>,
    /// Highest generation of GPU and slot together.
    pub max_generation: Reading<u32>,
    /// Lanes now.
    pub current_width: Reading<u32>,
    /// Most lanes of GPU and slot together.
    pub max_width: Reading<u32>,
    /// Replays since the driver loaded.
    pub replay_count: Reading<Counter>,
}

/// The far end of an NVLink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NvlinkRemote {
    /// Another GPU.
    Gpu,
    /// An NVSwitch.
    Switch,
    /// A processor.
    Cpu,
    /// The driver does not know.
    Unknown,
}

/// A named counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedCounter {
    // There are thousands in a node: a short one takes no memory of its own, a long one is shared by
    // all copies.
    /// The source's own name.
    pub name: SmolStr,
    /// Its value.
    pub value: Reading<Counter>,
}

/// One NVLink of a GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Nvlink {
    /// Link number.
    pub index: u32,
    /// Whether it is active.
    pub active: Reading<bool>,
    /// NVLink version.
    pub version: Reading<u32>,
    /// Speed, one way.
    pub speed_gbps: Reading<GigabitsPerSecond>,
    /// What is at the far end.
    pub remote: Reading<NvlinkRemote>,
    /// PCI address of the far end.
    pub remote_pci: Reading<PciAddress>,
    /// Error counters (`replay`, `recovery`, `crc_flit`, `crc_data`, `ecc_data`, …).
    pub counters: Vec<NamedCounter>,
}

/// All NVLinks of a GPU, by number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuNvlinks {
    /// One entry a link that the GPU has.
    pub links: Vec<Nvlink>,
}

/// Fabric manager's registration of a GPU. Source: `nvmlDeviceGetGpuFabricInfo(V)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuFabric {
    /// `not-supported`, `not-started`, `in-progress`, `completed`, or `unknown-N`.
    pub state: Reading<String>,
    /// NVML's status of the registration: `success`, or the error's name. Latched.
    pub status: Reading<String>,
    /// Clique within the cluster.
    pub clique_id: Reading<u32>,
    /// NVLink domain.
    pub cluster_uuid: Reading<String>,
    /// The health mask's fields that say trouble, e.g. `degraded-bandwidth`; empty is well.
    pub health_problems: Reading<Vec<String>>,
}

/// A process on a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuProcess {
    /// Process id.
    pub pid: u32,
    /// Framebuffer it holds.
    pub memory_bytes: Reading<Bytes>,
}

/// Who is on the GPU, and what the driver asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuProcesses {
    /// Compute processes, by pid.
    pub compute: Reading<Vec<GpuProcess>>,
    /// SM utilisation over the driver's last sample.
    pub utilisation_percent: Reading<Percent>,
    /// Memory controller utilisation, likewise.
    pub memory_utilisation_percent: Reading<Percent>,
    /// Recovery action (field 230): `none`, `gpu-reset`, `node-reboot`, `drain-p2p`,
    /// `drain-and-reset`, `recover-imex`, `bus-reset`, `system-reboot`, or `unknown-N`.
    pub recovery_action: Reading<String>,
}

/// What the driver reported while it was watched. Source: `nvmlEventSetWait_v2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuEvent {
    /// NVML index.
    pub index: u32,
    /// Where that GPU is.
    pub pci: Reading<PciAddress>,
    /// `xid`, `single-bit-ecc`, `double-bit-ecc`, `pstate`, `clock`, `power-source`, `mig-config`,
    /// `single-bit-ecc-storm`, `dram-retirement`, `dram-retirement-failure`, `non-fatal-poison`,
    /// `fatal-poison`, `gpu-unavailable`, `gpu-recovery-action`; an unknown one is `bit-N`.
    pub kind: String,
    /// The code of an XID.
    pub xid: Option<u32>,
    /// When the first of them arrived; the driver gives no time of its own.
    pub time: Timestamp,
    /// How many arrived.
    pub repeats: u64,
}

/// A driver call that did not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HungCall {
    /// Name of the C function.
    pub call: String,
    /// When it was entered.
    pub since: Timestamp,
    /// Whether the worker could not even be killed (uninterruptible sleep).
    pub wedged: bool,
}

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gpu {
    /// NVML index; absent when NVML does not list it.
    pub index: Reading<u32>,
    /// PCI address; failed when NVML lists a GPU it cannot locate.
    pub pci: Reading<PciAddress>,
    /// Where a technician finds it: `SXM 3` by module id, else the physical slot, else the
    /// upstream port.
    pub slot: Reading<String>,
    /// Identity: name, UUID, serial and more.
    #[serde(flatten)]
    pub identity: GpuIdentity,
    /// Whether the PCI function is on the bus and answers (its configuration is not all ones).
    pub on_bus: Reading<bool>,
    /// Whether NVML gives a handle.
    pub in_driver: Reading<bool>,
    /// Framebuffer.
    pub memory: GpuMemory,
    /// ECC.
    pub ecc: GpuEcc,
    /// Row remapping.
    pub remapped_rows: Reading<GpuRemappedRows>,
    /// Page retirement.
    pub retired_pages: Reading<GpuRetiredPages>,
    /// Heat and power.
    pub thermal: GpuThermal,
    /// Clocks.
    pub clocks: GpuClocks,
    /// PCIe link as the driver sees it.
    pub pcie: GpuPcie,
    /// NVLinks.
    pub nvlink: Reading<GpuNvlinks>,
    /// Fabric registration.
    pub fabric: Reading<GpuFabric>,
    /// Processes and the driver's wish.
    pub processes: GpuProcesses,
    /// The driver call that hung on this GPU, if one did.
    pub hung: Option<HungCall>,
}

/// An NVSwitch on the host's PCI bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Nvswitch {
    /// PCI address.
    pub pci: PciAddress,
    /// Physical slot or upstream port.
    pub slot: Reading<String>,
    /// Kernel driver bound.
    pub driver: Reading<String>,
    /// Firmware (BIOS) version, where visible.
    pub firmware: Reading<String>,
}

/// How the GPU worker fared: `outcome`, so that it is not taken for a reading's `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum WorkerState {
    /// Answered to the end, perhaps after replacements.
    Answered {
        /// Workers that had to be replaced.
        replaced: u32,
    },
    /// Nothing to ask: no driver library, or no NVIDIA device.
    NotStarted {
        /// Why.
        why: String,
    },
    /// Initialisation hung or failed: all GPU health is unknown.
    Failed {
        /// Which call, and why.
        why: String,
        /// The call that hung, when it was a hang.
        hung: Option<HungCall>,
    },
}

/// The NVIDIA driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Driver {
    /// Version of the loaded kernel module, `/proc/driver/nvidia/version`.
    pub kernel_version: Reading<String>,
    /// `open` or `proprietary`.
    pub flavour: Reading<String>,
    /// Driver version as the library gives it.
    pub library_version: Reading<String>,
    /// NVML version.
    pub nvml_version: Reading<String>,
    /// CUDA driver API version.
    pub cuda_version: Reading<String>,
    /// Path of the library that was loaded.
    pub library_path: Reading<String>,
    /// How the worker fared.
    pub worker: WorkerState,
}
