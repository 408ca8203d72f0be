//! The stages of the host: processors, memory, drives, adapters.

use std::sync::Arc;

use cupel_hardware::Root;
use cupel_hardware::host_memory::Topology;
use cupel_hardware::rdma::perftest::Perftest;
use cupel_model::Reading;

use crate::bandwidth::BandwidthStage;
use crate::cpu::CpuStage;
use crate::fault::FaultPlan;
use crate::floors::Floors;
use crate::memory::MemoryStage;
use crate::nvme::{DriveUnderTest, ReadStage, Target, WriteStage};
use crate::plan::Plan;
use crate::rdma::{AdapterUnderTest, LoopbackStage, PairsStage};
use crate::stage::Stage;
use crate::stage_kind::StageKind;

/// What there is of the host to be loaded.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where drives and adapters are asked and written.
    pub root: Root,
    /// Processors and memory.
    pub topology: Arc<Topology>,
    /// Drives.
    pub drives: Vec<DriveUnderTest>,
    /// Adapters.
    pub adapters: Vec<AdapterUnderTest>,
    /// Whether the platform says that there are drives, and adapters: then they are required.
    pub expects: Expects,
    /// What measured values are held against.
    pub floors: Arc<Floors>,
    /// Faults that a test hands in.
    pub faults: Arc<FaultPlan>,
}

impl Host {
    /// A host with nothing but processors and memory.
    pub fn new(root: Root, topology: Topology) -> Self {
        Self {
            root,
            drives: Vec::new(),
            adapters: Vec::new(),
            expects: Expects::default(),
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
                StageKind::Nvme => self.reads(plan, &mut stages),
                StageKind::NvmeWrite => self.writes(plan, &mut stages),
                StageKind::Rdma => self.rdma(plan, &mut stages),
                StageKind::GpuHostLinks
                | StageKind::GpuMemory
                | StageKind::GpuCompute
                | StageKind::GpuPower
                | StageKind::GpuPulse
                | StageKind::GpuLinks
                | StageKind::GpuAllReduce => {}
            }
        }
        stages
    }

    fn reads(&self, plan: &Plan, stages: &mut Vec<Box<dyn Stage>>) {
        for drive in &self.drives {
            stages.push(Box::new(ReadStage {
                plan: plan.clone(),
                drive: drive.clone(),
                root: self.root.clone(),
                floors: Arc::clone(&self.floors),
                required: plan.named || self.expects.drives || drive.unsupported.is_none(),
            }));
        }
    }

    fn writes(&self, plan: &Plan, stages: &mut Vec<Box<dyn Stage>>) {
        for serial in &plan.write_serials {
            stages.push(Box::new(WriteStage {
                plan: plan.clone(),
                serial: serial.clone(),
                target: Target::Serial(self.root.clone()),
                floors: Arc::clone(&self.floors),
                faults: Arc::clone(&self.faults),
            }));
        }
    }

    fn rdma(&self, plan: &Plan, stages: &mut Vec<Box<dyn Stage>>) {
        let perftest = Perftest::find(&self.root);
        for (number, adapter) in (0..).zip(&self.adapters) {
            stages.push(Box::new(LoopbackStage {
                plan: plan.clone(),
                adapter: adapter.clone(),
                number,
                perftest: perftest.clone(),
                root: self.root.clone(),
                floors: Arc::clone(&self.floors),
                required: plan.named || self.expects.adapters || perftest.value().is_some(),
            }));
        }
        if let Reading::Value(programs) = perftest
            && self.adapters.len() > 1
        {
            stages.push(Box::new(PairsStage {
                plan: plan.clone(),
                adapters: self.adapters.clone(),
                programs,
                floors: Arc::clone(&self.floors),
            }));
        }
    }
}

/// What the platform says that there is: what is expected and cannot be tested makes a run
/// incomplete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expects {
    /// Drives.
    pub drives: bool,
    /// Adapters.
    pub adapters: bool,
}
