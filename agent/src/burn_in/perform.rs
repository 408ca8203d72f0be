//! Runs a prepared burn-in: with a place of its own, with the counters before and after.

use std::sync::atomic::AtomicBool;

use cupel_burnin::{BurnInResult, Machine, Progress, changes};
use cupel_hardware::systemd_hold::Hold;

use super::keep::Keeper;
use super::prepare::Prepared;
use crate::config::Settings;
use crate::context::Context;
use crate::gather::{self, Depth, SourceArgs};

/// What a person reads who wants to shut the machine down.
const WHAT: &str = "a burn-in loads this machine and verifies what it computes";

/// Runs it to its end, or until `cancel` is set.
pub fn perform(
    context: &Context,
    settings: &Settings,
    prepared: Prepared,
    keeper: Option<&mut Keeper>,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> BurnInResult {
    let hold = Hold::take(&context.root, "burn-in", WHAT);
    for lack in hold.lacks() {
        tracing::info!("{lack}");
    }
    let Prepared {
        run,
        before,
        platform,
    } = prepared;
    let machine = Machine::of(&before, platform.as_ref().map(|p| p.name.as_str()));
    let mut keeper = keeper;
    if let Some(keeper) = &mut keeper {
        let mut begun = BurnInResult::begun(&run);
        begun.machine = Some(machine.clone());
        keeper.begin(begun, &before);
    }
    let mut result = cupel_burnin::run(
        run,
        &mut |event| {
            if let (Some(keeper), Progress::StageFinished(stage)) = (&mut keeper, &event) {
                keeper.add(stage);
            }
            progress(event);
        },
        cancel,
    );
    result.machine = Some(machine);
    if hold.unit().is_some() || !hold.is_locked() {
        let lock = if hold.is_locked() {
            "shutting down was held up"
        } else {
            "shutting down was not held up"
        };
        result.notes.push(match hold.unit() {
            Some(unit) => format!("it ran in the unit {unit}; {lock}"),
            None => lock.to_owned(),
        });
    }
    if !context.root.is_live() {
        result.notes.push(
            "processors and memory are those of the machine that cupel runs on, not of the one \
             under --root"
                .to_owned(),
        );
    }
    with_counters(context, settings, result, &before)
}

/// Reads the machine once more and holds its counters against those before.
pub fn with_counters(
    context: &Context,
    settings: &Settings,
    mut result: BurnInResult,
    before: &cupel_model::Snapshot,
) -> BurnInResult {
    let source = SourceArgs::default();
    match gather::snapshot_of_depth(context, settings, &source, Depth::WithoutBmcDetails) {
        Ok(after) => {
            let left = left_running(&after, before);
            result.notes.extend(left);
            result.with_counters(changes(before, &after))
        }
        Err(error) => {
            result.notes.push(format!(
                "the counters after it could not be read: {error:#}"
            ));
            result
        }
    }
}

/// Processes on GPUs that were not there before.
fn left_running(after: &cupel_model::Snapshot, before: &cupel_model::Snapshot) -> Vec<String> {
    let pids = |snapshot: &cupel_model::Snapshot| -> Vec<(Option<u32>, u32)> {
        snapshot
            .gpus
            .iter()
            .flat_map(|gpu| {
                let index = gpu.index.get();
                let list = gpu.processes.compute.value();
                list.into_iter().flatten().map(move |p| (index, p.pid))
            })
            .collect()
    };
    let old = pids(before);
    pids(after)
        .into_iter()
        .filter(|one| !old.contains(one))
        .map(|(index, pid)| match index {
            Some(index) => format!("process {pid} is on GPU {index} that was not there before"),
            None => format!("process {pid} is on a GPU and was not there before"),
        })
        .collect()
}
