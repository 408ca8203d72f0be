//! Runs a plan's stages one after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cupel_hardware::host_memory::Topology;
use cupel_model::{SCHEMA_VERSION, Timestamp};

use crate::fault::FaultPlan;
use crate::plan::{Plan, StageKind, seconds};
use crate::progress::Progress;
use crate::result::{BurnInResult, Detector, Outcome};
use crate::{cpu, memory};

/// Runs `plan` on this machine until it is done or `cancel` is set.
pub fn run(
    plan: &Plan,
    topology: &Topology,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> BurnInResult {
    run_with_faults(plan, topology, &FaultPlan::default(), progress, cancel)
}

/// The same on a machine with faults, for tests.
pub fn run_with_faults(
    plan: &Plan,
    topology: &Topology,
    faults: &FaultPlan,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> BurnInResult {
    let started_at = Timestamp::from(jiff::Timestamp::now());
    let began = Instant::now();
    progress(Progress::Started { plan: plan.clone() });
    let mut stages = Vec::new();
    for stage in &plan.stages {
        if cancel.load(Ordering::Relaxed) {
            break;
        }
        let result = match stage {
            StageKind::Cpu => cpu::run(plan, topology, faults, progress, cancel),
            StageKind::Memory => memory::run(plan, topology, faults, progress, cancel),
        };
        for mismatch in &result.mismatches {
            progress(Progress::Mismatch(Box::new(mismatch.clone())));
        }
        progress(Progress::StageFinished(Box::new(result.clone())));
        stages.push(result);
    }
    let mut verdict = stages
        .iter()
        .map(|stage| stage.outcome)
        .max()
        .unwrap_or(Outcome::Incomplete);
    let mut notes = Vec::new();
    if stages.len() < plan.stages.len() {
        verdict = verdict.max(Outcome::Incomplete);
        let missing: Vec<_> = plan.stages[stages.len()..]
            .iter()
            .map(|stage| stage.name())
            .collect();
        notes.push(format!("not run: {}", missing.join(", ")));
    }
    let detector = stages
        .iter()
        .map(|stage| stage.proof.detector)
        .max()
        .unwrap_or(Detector::NotProven);
    progress(Progress::Finished { verdict });
    BurnInResult {
        schema_version: SCHEMA_VERSION,
        plan: plan.clone(),
        started_at,
        finished_at: Timestamp::from(jiff::Timestamp::now()),
        elapsed_seconds: seconds(began.elapsed()),
        verdict,
        detector,
        cancelled: cancel.load(Ordering::Relaxed),
        stages,
        notes,
    }
}
