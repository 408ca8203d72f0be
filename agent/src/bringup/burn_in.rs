//! The step `burn-in`: load the machine and verify every result.

use std::sync::atomic::AtomicBool;

use cupel_burnin::{Host, Plan, Progress, Run};
use cupel_hardware::Root;
use cupel_hardware::host_memory::Topology;

use super::state::{BurnIn, Observed};
use super::text;

/// Runs the plan on the machine that this process runs on.
pub fn burn_in(
    root: &Root,
    plan: &Plan,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Observed {
    let topology = match Topology::of(root) {
        Ok(topology) => topology,
        Err(error) => {
            let why = crate::exit::chain(&error.into());
            return Observed::BurnedIn(BurnIn::NotRun {
                why: why.trim().replace('\n', "; "),
            });
        }
    };
    let host = Host::new(root.clone(), topology);
    let run = Run::new(plan.clone(), host.stages(plan));
    let mut result = cupel_burnin::run(run, progress, cancel);
    if result.cancelled {
        return Observed::Cancelled;
    }
    if !root.is_live() {
        result.notes.push(
            "processors and memory are those of the machine that cupel runs on, not of the one \
             under --root"
                .to_owned(),
        );
    }
    Observed::BurnedIn(BurnIn::Ran(Box::new(result)))
}

/// What the plan will do on this machine, for whoever has to agree to it.
pub fn lines(root: &Root, plan: &Plan) -> Vec<String> {
    let Ok(topology) = Topology::of(root) else {
        return Vec::new();
    };
    let run = Run::new(plan.clone(), Host::new(root.clone(), topology).stages(plan));
    run.schedule()
        .slots
        .iter()
        .map(|slot| format!("{}: {}, {}", slot.stage, slot.what, slot.why))
        .collect()
}

/// What came of it, in a line.
pub fn line(burn_in: &BurnIn) -> String {
    match burn_in {
        BurnIn::Ran(result) => text::headline(result),
        BurnIn::NotRun { why } => format!("not run: {why}"),
    }
}
