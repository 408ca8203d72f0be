//! The kinds of stages, and the name of one stage of a run.
//!
//! # Invariants
//! - The order of [`StageKind::ALL`] is the order in which stages that disturb each other run.
//! - A name is unique in a run: a kind, and what it is laid on where there are several.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::PlanError;

/// A part of the machine that is loaded and verified by itself.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// How fast memory is copied, by NUMA node.
    MemoryBandwidth,
    /// Verified arithmetic on every online processor.
    Cpu,
    /// Verified copies between the host's memory and GPUs. Before patterns load the memory.
    GpuHostLinks,
    /// Verified patterns over a share of free memory.
    Memory,
    /// A drive is read: scan, bandwidth, latency, its own self-test.
    Nvme,
    /// An empty drive, named by its serial, is written and verified.
    NvmeWrite,
    /// Adapters send to themselves and to each other.
    Rdma,
    /// Verified patterns over a GPU's free memory.
    GpuMemory,
    /// Verified arithmetic on every SM of a GPU.
    GpuCompute,
    /// A GPU is driven to its power limit.
    GpuPower,
    /// A square wave of load.
    GpuPulse,
    /// Verified copies between GPUs.
    GpuLinks,
    /// Verified all-reduce over all GPUs.
    GpuAllReduce,
}

impl StageKind {
    /// All, in the order in which those run that disturb each other.
    pub const ALL: [Self; 13] = [
        Self::MemoryBandwidth,
        Self::Cpu,
        Self::GpuHostLinks,
        Self::Memory,
        Self::Nvme,
        Self::NvmeWrite,
        Self::Rdma,
        Self::GpuMemory,
        Self::GpuCompute,
        Self::GpuPower,
        Self::GpuPulse,
        Self::GpuLinks,
        Self::GpuAllReduce,
    ];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::MemoryBandwidth => "memory-bandwidth",
            Self::Memory => "memory",
            Self::Nvme => "nvme",
            Self::NvmeWrite => "nvme-write",
            Self::Rdma => "rdma",
            Self::GpuMemory => "gpu-memory",
            Self::GpuCompute => "gpu-compute",
            Self::GpuPower => "gpu-power",
            Self::GpuPulse => "gpu-pulse",
            Self::GpuHostLinks => "gpu-host-links",
            Self::GpuLinks => "gpu-links",
            Self::GpuAllReduce => "gpu-all-reduce",
        }
    }

    /// Whether it needs a GPU.
    pub fn is_gpu(self) -> bool {
        match self {
            Self::Cpu
            | Self::MemoryBandwidth
            | Self::Memory
            | Self::Nvme
            | Self::NvmeWrite
            | Self::Rdma => false,
            Self::GpuMemory
            | Self::GpuCompute
            | Self::GpuPower
            | Self::GpuPulse
            | Self::GpuHostLinks
            | Self::GpuLinks
            | Self::GpuAllReduce => true,
        }
    }

    /// All names, for messages.
    pub fn list() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StageKind {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.name() == text)
            .ok_or_else(|| PlanError::Stage(text.to_owned()))
    }
}

/// The name of one stage of a run. JSON: `"memory"`, `"gpu-memory/gpu3"`, `"nvme/nvme0"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageName {
    /// What is done.
    pub kind: StageKind,
    /// To what, where a run does it to several: `gpu3`, `nvme0`, `mlx5_0`.
    pub target: Option<String>,
}

impl StageName {
    /// The only stage of its kind in a run.
    pub fn only(kind: StageKind) -> Self {
        Self { kind, target: None }
    }

    /// One of several of its kind.
    pub fn on(kind: StageKind, target: impl Into<String>) -> Self {
        Self {
            kind,
            target: Some(target.into()),
        }
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match &self.target {
            Some(target) => write!(f, "/{target}"),
            None => Ok(()),
        }
    }
}

impl FromStr for StageName {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        match text.split_once('/') {
            Some((kind, target)) if !target.is_empty() => Ok(Self::on(kind.parse()?, target)),
            Some(_) => Err(PlanError::Stage(text.to_owned())),
            None => Ok(Self::only(text.parse()?)),
        }
    }
}

impl Serialize for StageName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StageName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for StageName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StageName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z-]+(/.+)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_through_text() {
        for text in ["memory", "gpu-memory/gpu3", "nvme/nvme0"] {
            let name: StageName = text.parse().expect("a name");
            assert_eq!(name.to_string(), text);
        }
        for text in ["", "gpu", "cpu/", "disk/sda"] {
            assert!(text.parse::<StageName>().is_err(), "{text:?}");
        }
    }
}
