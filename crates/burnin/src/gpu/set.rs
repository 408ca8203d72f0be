//! The GPUs of a machine that are to be tested, and their stages.

use std::sync::Arc;

use cupel_hardware::gpu::BurnOptions;
use cupel_hardware::host_memory::Topology;
use cupel_model::units::Watts;
use cupel_model::{PciAddress, Snapshot};

use super::compute::{ComputeStage, Votes};
use super::links::{HostLinksStage, LinksStage};
use super::memory::MemoryStage;
use super::power::{PowerStage, Slots};
use crate::floors::Floors;
use crate::plan::Plan;
use crate::stage::Stage;
use crate::stage_kind::StageKind;

/// A GPU to be tested.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuUnderTest {
    /// NVML index.
    pub index: u32,
    /// Where.
    pub pci: PciAddress,
    /// Product name: GPUs of one name are compared.
    pub name: String,
    /// What it may draw, where NVML tells.
    pub limit: Option<Watts>,
    /// Why it cannot be tested, where it cannot.
    pub unfit: Option<String>,
}

/// The GPUs, and how workers are started.
#[derive(Clone, Debug)]
pub struct GpuSet {
    /// By NVML index.
    pub gpus: Vec<GpuUnderTest>,
    /// Processors by NUMA node, for pinned memory.
    pub(super) nodes: Vec<(u32, Vec<u32>)>,
    /// How workers are started and watched.
    pub(super) options: Arc<BurnOptions>,
}

impl GpuSet {
    /// The GPUs of a Snapshot that NVML lists.
    pub fn of(snapshot: &Snapshot, topology: &Topology, options: BurnOptions) -> Self {
        let mut gpus: Vec<GpuUnderTest> = snapshot
            .gpus
            .iter()
            .filter_map(|gpu| {
                let processes = gpu.processes.compute.value().map_or(0, Vec::len);
                let unfit = if gpu.identity.mig_mode.value() == Some(&true) {
                    Some("MIG is on; turn it off (nvidia-smi -mig 0) and reset the GPU".to_owned())
                } else if processes > 0 {
                    Some(format!("{processes} processes are on it"))
                } else {
                    None
                };
                Some(GpuUnderTest {
                    index: *gpu.index.value()?,
                    pci: *gpu.pci.value()?,
                    name: gpu
                        .identity
                        .name
                        .value()
                        .cloned()
                        .unwrap_or_else(|| "GPU".to_owned()),
                    limit: gpu.thermal.power_limit_watts.value().copied(),
                    unfit,
                })
            })
            .collect();
        gpus.sort_by_key(|gpu| gpu.index);
        Self::new(gpus, topology, options)
    }

    /// These GPUs.
    pub fn new(gpus: Vec<GpuUnderTest>, topology: &Topology, options: BurnOptions) -> Self {
        let nodes = topology
            .nodes
            .iter()
            .filter(|node| !node.cpus.is_empty())
            .map(|node| (node.number, node.cpus.clone()))
            .collect();
        Self {
            gpus,
            nodes,
            options: Arc::new(options),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.gpus.is_empty()
    }

    /// The stages of a plan that are the GPUs'.
    pub fn stages(&self, plan: &Plan, floors: &Arc<Floors>) -> Vec<Box<dyn Stage>> {
        let wanted: Vec<&GpuUnderTest> = self
            .gpus
            .iter()
            .filter(|gpu| plan.wants_gpu(gpu.index))
            .collect();
        let each = || wanted.iter().map(|gpu| (*gpu).clone());
        let context = |kind| Context {
            plan: plan.clone(),
            kind,
            floors: Arc::clone(floors),
            options: Arc::clone(&self.options),
        };
        let mut stages: Vec<Box<dyn Stage>> = Vec::new();
        for kind in &plan.stages {
            match kind {
                StageKind::GpuMemory => stages.extend(each().map(|gpu| {
                    let context = context(*kind);
                    Box::new(MemoryStage { context, gpu }) as Box<dyn Stage>
                })),
                StageKind::GpuCompute => {
                    let votes = Arc::new(Votes::default());
                    stages.extend(each().map(|gpu| {
                        let (context, votes) = (context(*kind), Arc::clone(&votes));
                        Box::new(ComputeStage {
                            context,
                            gpu,
                            votes,
                        }) as Box<dyn Stage>
                    }));
                }
                StageKind::GpuPower | StageKind::GpuPulse => {
                    let slots = Arc::new(Slots::new(plan, &wanted));
                    stages.extend(each().map(|gpu| {
                        let (context, slots) = (context(*kind), Arc::clone(&slots));
                        Box::new(PowerStage {
                            context,
                            gpu,
                            slots,
                        }) as Box<dyn Stage>
                    }));
                }
                StageKind::GpuHostLinks if !wanted.is_empty() => {
                    stages.push(Box::new(HostLinksStage {
                        context: context(*kind),
                        gpus: each().collect(),
                        nodes: self.nodes.clone(),
                    }));
                }
                StageKind::GpuLinks | StageKind::GpuAllReduce if wanted.len() > 1 => {
                    stages.push(Box::new(LinksStage {
                        context: context(*kind),
                        gpus: each().collect(),
                    }));
                }
                StageKind::GpuHostLinks
                | StageKind::GpuLinks
                | StageKind::GpuAllReduce
                | StageKind::Cpu
                | StageKind::Memory
                | StageKind::MemoryBandwidth
                | StageKind::Nvme
                | StageKind::NvmeWrite
                | StageKind::Rdma => {}
            }
        }
        stages
    }
}

/// What every GPU stage is given.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) plan: Plan,
    pub(super) kind: StageKind,
    pub(super) floors: Arc<Floors>,
    pub(super) options: Arc<BurnOptions>,
}
