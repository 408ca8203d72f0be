//! The answer book of the fake driver: what the library says, and how it misbehaves.
//!
//! # Invariants
//! - Every number is in NVML's own unit and encoding (milliwatts, bit masks, enum codes): faults
//!   act at the source, and decoding is the reader's business.
//! - `None` is `NVML_ERROR_NOT_SUPPORTED`; other return codes come from [`Fault`]s.
//! - The book is the JSON file [`FILE_NAME`] in the library's own directory, so that no environment
//!   variable is needed; the library reads it again when it changes. [`State::write_beside`]
//!   replaces it in one step.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Name of the answer book, beside the library.
pub const FILE_NAME: &str = "gpu-state.json";

/// Everything that the library knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// `nvmlSystemGetDriverVersion`.
    pub driver_version: String,
    /// `nvmlSystemGetNVMLVersion`.
    pub nvml_version: String,
    /// `nvmlSystemGetCudaDriverVersion_v2`: 1000 × major + 10 × minor.
    pub cuda_version: i32,
    /// What `nvmlInit` returns: 0, or a code such as 18 (library/kernel version mismatch) or 9
    /// (driver not loaded).
    #[serde(default)]
    pub init: u32,
    /// The GPUs, in NVML's order.
    pub gpus: Vec<Gpu>,
    /// What event sets deliver, in this order.
    #[serde(default)]
    pub events: Vec<Event>,
    /// How it misbehaves; the first one that fits a call acts.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// The CUDA side.
    #[serde(default)]
    pub cuda: Cuda,
}

/// What the library knows as a CUDA driver. GPUs are the ones above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cuda {
    /// What `cuInit` returns.
    pub init: i32,
    /// Memory of each GPU, bytes.
    pub memory_bytes: u64,
    /// Multiprocessors of each.
    pub multiprocessors: u32,
    /// L2 cache of each, bytes.
    pub cache_bytes: u32,
    /// Compute capability; by architecture without.
    pub capability: Option<(i32, i32)>,
    /// Whether GPUs reach each other's memory.
    pub peers: bool,
    /// Memory runs out after so many bytes, though more is said to be free.
    pub scarce_after: Option<u64>,
    /// How memory, kernels and copies misbehave.
    pub faults: Vec<CudaFault>,
}

impl Default for Cuda {
    fn default() -> Self {
        Self {
            init: 0,
            memory_bytes: 64 << 20,
            multiprocessors: 8,
            cache_bytes: 1 << 20,
            capability: None,
            peers: true,
            scarce_after: None,
            faults: Vec::new(),
        }
    }
}

/// One way in which a GPU computes or remembers wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudaFault {
    /// NVML index; `None`: each.
    #[serde(default)]
    pub gpu: Option<u32>,
    /// Beginning of the name of the kernel, or of the copying function, around which it acts.
    #[serde(default)]
    pub kernel: String,
    /// At which launch of such, from 0; `None`: at each. Hanging and losing begin there.
    #[serde(default)]
    pub launch: Option<u64>,
    /// What happens.
    pub act: CudaAct,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CudaAct {
    /// A bit is inverted after the launch.
    Flip {
        /// Where.
        place: CudaPlace,
        /// Which.
        bit: u32,
    },
    /// A bit keeps its value whatever is written; without `launch`, always.
    Stuck {
        /// Where.
        place: CudaPlace,
        /// Which.
        bit: u32,
        /// At one?
        high: bool,
    },
    /// A word holds what another one holds.
    Alias {
        /// Where.
        place: CudaPlace,
        /// Whose content.
        of: CudaPlace,
    },
    /// The launch's write does not arrive.
    Dropped {
        /// Where.
        place: CudaPlace,
    },
    /// The word is replaced: by a NaN, an infinity, anything.
    Replace {
        /// Where.
        place: CudaPlace,
        /// By what.
        value: u64,
    },
    /// A row of the output is the next one's.
    Row {
        /// Which.
        row: u64,
        /// Words of 4 bytes of a row.
        columns: u64,
    },
    /// The launch takes longer, by the GPU's own clock, in which every other launch takes a
    /// millisecond.
    Slow {
        /// By how much.
        milliseconds: u64,
    },
    /// Nothing ends from there on.
    Hang,
    /// Every call gives this from there on.
    Lost {
        /// CUDA's result.
        code: i32,
    },
}

/// Where in a GPU's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CudaPlace {
    /// A word of 8 bytes, counted through the allocations of exactly this size.
    Memory {
        /// Size of an allocation.
        bytes: u64,
        /// Which word.
        word: u64,
    },
    /// A word of 4 bytes of what the launch writes.
    Output {
        /// Which word.
        word: u64,
    },
}

/// One GPU as the library gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// PCI address, `dddd:bb:dd.f`.
    pub pci: String,
    /// PCI device and vendor id, device in the upper half (`0x2335_10de`).
    pub pci_device_id: u32,
    /// Subsystem id, likewise.
    pub pci_subsystem_id: u32,
    /// What getting its handle returns: 0, or a code such as 15 (GPU is lost). Above 0 every other
    /// call on it returns the code as well.
    #[serde(default)]
    pub handle: u32,
    /// Product name.
    pub name: Option<String>,
    /// `GPU-…`.
    pub uuid: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// SXM socket.
    pub module_id: Option<u32>,
    /// Board part number.
    pub part_number: Option<String>,
    /// Board id.
    pub board_id: Option<u32>,
    /// `NVML_DEVICE_ARCH_…`: 7 Ampere, 8 Ada, 9 Hopper, 10 Blackwell.
    pub architecture: Option<u32>,
    /// VBIOS version.
    pub vbios_version: Option<String>,
    /// InfoROM image version.
    pub inforom_version: Option<String>,
    /// GSP firmware version.
    pub gsp_version: Option<String>,
    /// 0 off, 1 on.
    pub persistence_mode: Option<u32>,
    /// 0 default, 1 exclusive thread, 2 prohibited, 3 exclusive process.
    pub compute_mode: Option<u32>,
    /// MIG now and after a reset, 0 or 1 each.
    pub mig_mode: Option<Modes>,
    /// CPUs near it, as a mask in 64-bit words, least significant first.
    pub cpu_affinity: Option<Vec<u64>>,
    /// Framebuffer.
    pub memory: Option<Memory>,
    /// ECC mode now and after a reboot, 0 or 1 each.
    pub ecc_mode: Option<Modes>,
    /// Error counts since the driver loaded.
    pub ecc_volatile: Option<EccCounts>,
    /// Error counts over the GPU's life.
    pub ecc_aggregate: Option<EccCounts>,
    /// `nvmlDeviceGetSramEccErrorStatus`: whether the replacement threshold was passed, 0 or 1.
    pub sram_threshold_exceeded: Option<u32>,
    /// Row remapping.
    pub remapped_rows: Option<RemappedRows>,
    /// Bank availability.
    pub row_histogram: Option<RowHistogram>,
    /// Page retirement (before Ampere).
    pub retired_pages: Option<RetiredPages>,
    /// Die, °C.
    pub temperature: Option<u32>,
    /// HBM, °C.
    pub memory_temperature: Option<u32>,
    /// Slowdown threshold, °C.
    pub slowdown_temperature: Option<u32>,
    /// Shutdown threshold, °C.
    pub shutdown_temperature: Option<u32>,
    /// Distance to the limit, °C.
    pub margin_temperature: Option<i32>,
    /// Power draw, mW.
    pub power_mw: Option<u32>,
    /// Enforced limit, mW.
    pub power_limit_mw: Option<u32>,
    /// Factory limit, mW.
    pub power_default_limit_mw: Option<u32>,
    /// Energy since the driver loaded, mJ.
    pub energy_mj: Option<u64>,
    /// Fan duty, per cent.
    pub fan_percent: Option<u32>,
    /// Clocks now, MHz.
    pub clocks: Option<Clocks>,
    /// Highest clocks, MHz.
    pub max_clocks: Option<Clocks>,
    /// Performance state, 0..=15; 32 is unknown.
    pub performance_state: Option<u32>,
    /// `nvmlClocksThrottleReasons` bits.
    pub throttle_reasons: Option<u64>,
    /// Durations of violations.
    pub violations: Option<Violations>,
    /// PCIe link.
    pub pcie: Option<Pcie>,
    /// NVLinks by number; empty where the GPU has none.
    #[serde(default)]
    pub nvlinks: Vec<Nvlink>,
    /// Fabric manager's registration.
    pub fabric: Option<Fabric>,
    /// Compute processes.
    pub processes: Option<Vec<Process>>,
    /// SM and memory controller utilisation, per cent.
    pub utilisation: Option<Utilisation>,
    /// Field 230, `nvmlDeviceGpuRecoveryAction_t`.
    pub recovery_action: Option<u32>,
    /// `nvmlDeviceGetSupportedEventTypes`.
    #[serde(default)]
    pub event_types: Option<u64>,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// NVML index.
    pub gpu: u32,
    /// `nvmlEventType…`: 8 is an XID.
    pub event_type: u64,
    /// The code of an XID.
    #[serde(default)]
    pub data: u64,
    /// From the making of the set.
    #[serde(default)]
    pub delay_ms: u64,
}

/// A mode and what it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modes {
    /// Now.
    pub current: u32,
    /// After the next reset or reboot.
    pub pending: u32,
}

/// Framebuffer, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// The driver's own share.
    pub reserved: u64,
    /// Used by others.
    pub used: u64,
}

/// Error counts of one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EccCounts {
    /// Corrected, SRAM.
    pub sram_corrected: u64,
    /// Uncorrectable, SRAM.
    pub sram_uncorrected: u64,
    /// Corrected, DRAM.
    pub dram_corrected: u64,
    /// Uncorrectable, DRAM.
    pub dram_uncorrected: u64,
}

/// `nvmlDeviceGetRemappedRows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemappedRows {
    /// After corrected errors.
    pub correctable: u32,
    /// After uncorrectable errors.
    pub uncorrectable: u32,
    /// 1 when one waits for a reset.
    pub pending: u32,
    /// 1 when one has failed.
    pub failure: u32,
}

/// `nvmlDeviceGetRowRemapperHistogram`: banks by spare rows left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RowHistogram {
    /// All.
    pub max: u32,
    /// Many.
    pub high: u32,
    /// Some.
    pub partial: u32,
    /// Few.
    pub low: u32,
    /// None.
    pub none: u32,
}

/// Page retirement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetiredPages {
    /// Addresses retired after repeated single-bit errors.
    pub single_bit: Vec<u64>,
    /// Addresses retired after a double-bit error.
    pub double_bit: Vec<u64>,
    /// 1 when a retirement waits for a reboot.
    pub pending: u32,
}

/// Clocks, MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// Graphics.
    pub graphics: u32,
    /// SM.
    pub sm: u32,
    /// Memory.
    pub memory: u32,
}

/// `nvmlDeviceGetViolationStatus`, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Violations {
    /// Policy 0.
    pub power: u64,
    /// Policy 1.
    pub thermal: u64,
    /// Policy 5.
    pub reliability: u64,
    /// Policy 3.
    pub board: u64,
}

/// PCIe link as the driver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pcie {
    /// Generation now.
    pub current_generation: u32,
    /// Highest generation.
    pub max_generation: u32,
    /// Lanes now.
    pub current_width: u32,
    /// Most lanes.
    pub max_width: u32,
    /// Replays.
    pub replay_count: u32,
}

/// One NVLink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nvlink {
    /// 0 inactive, 1 active.
    pub active: u32,
    /// NVLink version.
    pub version: u32,
    /// Speed one way, MB/s, as field 164 gives it.
    pub speed_mbps: u32,
    /// 0 GPU, 1 IBM NPU, 2 switch, 255 unknown.
    pub remote_type: Option<u32>,
    /// PCI address of the far end.
    pub remote_pci: Option<String>,
    /// Error counters: `replay`, `recovery`, `crc_flit`, `crc_data`, `ecc_data` (NVLink 2 to 4),
    /// `malformed_packet_errors`, `buffer_overrun_errors`, `rcv_errors`, `rcv_remote_errors`,
    /// `rcv_general_errors`, `local_link_integrity_errors`, `xmit_discards`,
    /// `link_recovery_successful_events`, `link_recovery_failed_events`, `link_recovery_events`,
    /// `effective_errors`, `symbol_errors` (NVLink 5). One that is missing is not supported.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// `nvmlDeviceGetGpuFabricInfoV`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fabric {
    /// 0 not supported, 1 not started, 2 in progress, 3 completed.
    pub state: u8,
    /// An NVML return code: 0 success, 23 insufficient resources, …
    pub status: u32,
    /// Clique.
    pub clique_id: u32,
    /// NVLink domain, a UUID with dashes.
    pub cluster_uuid: String,
    /// Health mask; [`FABRIC_HEALTHY`] says that all is well.
    pub health_mask: u32,
    /// 0 not supported, 1 healthy, 2 unhealthy, 3 limited capacity.
    pub health_summary: u8,
}

/// Health mask in which each field says "no": degraded bandwidth, route recovery, route unhealthy,
/// access timeout recovery false (2 in bits 0-1, 2-3, 4-5, 6-7), no wrong configuration (1 in 8-11).
pub const FABRIC_HEALTHY: u32 = 0x1aa;

/// A compute process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Framebuffer, bytes; `None` is NVML's "not available".
    pub memory: Option<u64>,
}

/// Utilisation, per cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Utilisation {
    /// SM.
    pub gpu: u32,
    /// Memory controller.
    pub memory: u32,
}

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Name of the C function as exported (`nvmlDeviceGetMemoryInfo`), or `*` for all but
    /// `nvmlErrorString`.
    pub call: String,
    /// NVML index; `None` is any GPU, and calls that concern no GPU.
    #[serde(default)]
    pub gpu: Option<u32>,
    /// What happens.
    pub act: Act,
}

/// What a faulty call does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// Returns the code, outputs untouched.
    Return(u32),
    /// Never returns.
    Hang,
    /// Raises `SIGSEGV`.
    Crash,
    /// Calls `abort`.
    Abort,
    /// Ends the process as if it were done, with the code.
    Exit(u8),
    /// Returns success with every output byte random (from the seed): strings unterminated and not
    /// UTF-8, counts beyond their arrays, unknown enum values.
    Garbage(u64),
    /// Returns `NVML_ERROR_INSUFFICIENT_SIZE`, with an absurd size where the call has one.
    ShortBuffer,
    /// Sleeps that many milliseconds, then answers.
    Slow(u64),
    /// Writes to the file and waits for the disk: on a frozen file system, uninterruptible sleep.
    Write(PathBuf),
}

impl State {
    /// Reads an answer book.
    ///
    /// # Errors
    /// The file's, or JSON that does not fit.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Puts the answer book into `directory` in one step: a reader sees the old or the new one.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_beside(&self, directory: &Path) -> io::Result<()> {
        let new = directory.join(format!(".{FILE_NAME}.new"));
        std::fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&new, directory.join(FILE_NAME))
    }

    /// The same book with one fault of the CUDA side more.
    #[must_use]
    pub fn with_cuda_fault(mut self, kernel: &str, launch: Option<u64>, act: CudaAct) -> Self {
        self.cuda.faults.push(CudaFault {
            gpu: None,
            kernel: kernel.to_owned(),
            launch,
            act,
        });
        self
    }

    /// The same book with one fault more, which acts before the others.
    #[must_use]
    pub fn with_fault(mut self, call: &str, gpu: Option<u32>, act: Act) -> Self {
        let call = call.to_owned();
        self.faults.insert(0, Fault { call, gpu, act });
        self
    }

    /// The first fault that fits the call.
    pub fn fault(&self, call: &str, gpu: Option<u32>) -> Option<&Act> {
        self.faults
            .iter()
            .find(|fault| {
                let named = fault.call == call || (fault.call == "*" && call != "nvmlErrorString");
                named && (fault.gpu.is_none() || fault.gpu == gpu)
            })
            .map(|fault| &fault.act)
    }
}
