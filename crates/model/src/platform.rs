//! What a known server should be: data, with the provenance of every number.
//!
//! # Invariants
//! - Each expectation is a [`Sourced`] value. Source `unverified` means that nobody published or
//!   measured it: a check held against it is at most a warning.
//! - Matching is exact: "GH200" is not "H200".
//! - Unknown keys are refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Severity;
use crate::units::{Bytes, GigabitsPerSecond, GigatransfersPerSecond, Watts};

/// The word that says a number has no source.
pub const UNVERIFIED: &str = "unverified";

/// An expected value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// A document, a measurement, `derived from <node>`, or `unverified`.
    pub source: String,
}

impl<T> Sourced<T> {
    /// Whether anybody published or measured it.
    pub fn is_verified(&self) -> bool {
        self.source != UNVERIFIED
    }

    /// `wanted`, but at most a warning when the number is unverified.
    pub fn cap(&self, wanted: Severity) -> Severity {
        if self.is_verified() {
            wanted
        } else {
            wanted.min(Severity::Warning)
        }
    }
}

/// How a server is recognised. Every list that is given must have an exact member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// SMBIOS system manufacturer, any of these.
    pub manufacturer: Vec<String>,
    /// SMBIOS product name, any of these.
    pub product: Vec<String>,
    /// PCI ids (`10de:2335`) of its GPUs. Any NVIDIA GPU on the bus must be one of these; a node
    /// with none on the bus still matches.
    #[serde(default)]
    pub gpu_pci_ids: Vec<String>,
}

/// Expected GPUs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuExpectation {
    /// Exact NVML product name.
    pub name: Sourced<String>,
    /// How many.
    pub count: Sourced<u32>,
    /// Least framebuffer, as NVML's total.
    pub memory_bytes: Option<Sourced<Bytes>>,
    /// PCIe speed under load.
    pub pcie_speed_gts: Option<Sourced<GigatransfersPerSecond>>,
    /// PCIe lanes.
    pub pcie_width: Option<Sourced<u32>>,
    /// Active NVLinks a GPU; 0 where there are none.
    pub nvlinks: Option<Sourced<u32>>,
    /// Whether GPUs register with a fabric manager.
    pub fabric: Option<Sourced<bool>>,
    /// Factory power limit.
    pub power_limit_watts: Option<Sourced<Watts>>,
}

/// Expected NVSwitches on the host's PCI bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NvswitchExpectation {
    /// How many are PCI devices of the host; 0 on HGX B200.
    pub count: Sourced<u32>,
}

/// A group of RDMA ports that should be alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RdmaExpectation {
    /// What they are for, e.g. `compute`, `storage`.
    pub name: String,
    /// Hardware types (`hca_type`), any of these.
    pub hca_types: Vec<String>,
    /// How many ports.
    pub ports: Sourced<u32>,
    /// Rate of each.
    pub rate_gbps: Sourced<GigabitsPerSecond>,
    /// `InfiniBand` or `Ethernet`; either when it is not given.
    pub link_layer: Option<Sourced<String>>,
}

/// Expected NVMe drives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NvmeExpectation {
    /// How many controllers.
    pub count: Sourced<u32>,
}

/// Expected memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryExpectation {
    /// Populated DIMMs.
    pub dimms: Sourced<u32>,
    /// Size by SMBIOS: sum of the DIMMs.
    pub total_bytes: Sourced<Bytes>,
}

/// Expected processors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuExpectation {
    /// Populated sockets.
    pub sockets: Sourced<u32>,
}

/// A slot's name, by something that does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlotName {
    /// What a technician calls it, e.g. `SXM 3 (front, left)`.
    pub name: String,
    /// GPU module id.
    pub module_id: Option<u32>,
    /// Physical slot number of PCI.
    pub pci_slot: Option<String>,
}

/// What a value that the burn-in measures must reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorExpectation {
    /// Stage of the burn-in that measures it, e.g. `gpu-links`.
    pub stage: String,
    /// Name of the measured value, e.g. `copy, one way`.
    pub name: String,
    /// Its unit, e.g. `GB/s`.
    pub unit: String,
    /// It must be at least this.
    pub at_least: Option<Sourced<f64>>,
    /// It must be at most this.
    pub at_most: Option<Sourced<f64>>,
}

/// What a known server should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Version of this format: 1.
    pub schema: u32,
    /// Short name, as the file's: `dell-xe9680-h200`.
    pub name: String,
    /// For people.
    pub title: String,
    /// How it is recognised.
    pub matches: Match,
    /// GPUs.
    pub gpu: GpuExpectation,
    /// NVSwitches.
    pub nvswitch: Option<NvswitchExpectation>,
    /// RDMA ports, by group.
    #[serde(default)]
    pub rdma: Vec<RdmaExpectation>,
    /// NVMe drives.
    pub nvme: Option<NvmeExpectation>,
    /// Memory.
    pub memory: Option<MemoryExpectation>,
    /// Processors.
    pub cpu: Option<CpuExpectation>,
    /// Names of slots.
    #[serde(default)]
    pub slots: Vec<SlotName>,
    /// What the burn-in must measure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<FloorExpectation>,
}
