//! The stages of the host: processors, memory, drives, adapters.

use std::sync::Arc;

use cupel_hardware::host_memory::Topology;

use crate::bandwidth::BandwidthStage;
use crate::cpu::CpuStage;
use crate::fault::FaultPlan;
use crate::floors::Floors;
use crate::memory::MemoryStage;
use crate::plan::Plan;
use crate::stage::Stage;
use crate::stage_kind::StageKind;

/// What there is of the host to be loaded.
#[derive(Clone, Debug)]
pub struct Host {
    /// Processors and memory.
    pub topology: Arc<Topology>,
    /// What measured values are held against.
    pub floors: Arc<Floors>,
    /// Faults that a test hands in.
    pub faults: Arc<FaultPlan>,
}

impl Host {
    /// A host without anything planted by a test.
    pub fn new(topology: Topology) -> Self {
        Self {
            topology: Arc::new(topology),
            floors: Arc::default(),
            faults: Arc::default(),
        }
    }

    /// The stages of a plan that are the host's.
    pub fn stages(&self, plan: &Plan) -> Vec<Box<dyn Stage>> {
        let mut stages: Vec<Box<dyn Stage>> = Vec::new();
        for kind in &plan.stages {
            match kind {
                StageKind::Cpu => stages.push(Box::new(CpuStage {
                    plan: plan.clone(),
                    topology: Arc::clone(&self.topology),
                    faults: Arc::clone(&self.faults),
                })),
                StageKind::Memory => stages.push(Box::new(MemoryStage {
                    plan: plan.clone(),
                    topology: Arc::clone(&self.topology),
                    faults: Arc::clone(&self.faults),
                })),
                StageKind::MemoryBandwidth => stages.push(Box::new(BandwidthStage {
                    plan: plan.clone(),
                    topology: Arc::clone(&self.topology),
                    faults: Arc::clone(&self.faults),
                    floors: Arc::clone(&self.floors),
                })),
                StageKind::Nvme
                | StageKind::NvmeWrite
                | StageKind::Rdma
                | StageKind::GpuMemory
                | StageKind::GpuCompute
                | StageKind::GpuPower
                | StageKind::GpuPulse
                | StageKind::GpuHostLinks
                | StageKind::GpuLinks
                | StageKind::GpuAllReduce => {}
            }
        }
        stages
    }
}
