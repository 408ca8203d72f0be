//! The bandwidth stage on this machine: it measures, verifies what it copied, and says so when its
//! detector is blind.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use cupel_burnin::{
    BurnInResult, Detector, FailureClass, FaultPlan, Host, Outcome, Plan, Run, StageKind, Word, run,
};
use cupel_hardware::Root;
use cupel_hardware::host_memory::{Available, MemoryNode, MemorySource, Topology};
use cupel_hardware::processor::allowed;
use cupel_model::Reading;
use cupel_model::units::Bytes;

/// This machine's processors, shared out over nodes with a little memory each.
fn burn(nodes: u32, blind: bool) -> BurnInResult {
    let cpus = allowed().expect("affinity");
    let free = Bytes(64 << 20);
    let topology = Topology {
        nodes: (0..nodes)
            .map(|number| MemoryNode {
                number,
                cpus: cpus.clone(),
                available: free,
            })
            .collect(),
        cpus,
        cache: Reading::absent("test"),
        available: Available {
            bytes: free,
            total: free,
            limited_by: None,
        },
        source: MemorySource::Fixed(free),
    };
    let plan = Plan::quick(Word(7))
        .only(&[StageKind::MemoryBandwidth])
        .with_budget(StageKind::MemoryBandwidth, Duration::from_millis(1600));
    let host = Host {
        faults: Arc::new(FaultPlan {
            blind,
            ..FaultPlan::default()
        }),
        ..Host::new(Root::live(), topology)
    };
    let stages = host.stages(&plan);
    run(Run::new(plan, stages), &mut |_| {}, &AtomicBool::new(false))
}

#[test]
fn one_node_is_measured_and_what_it_copied_is_verified() {
    let result = burn(1, false);
    let stage = &result.stages[0];
    assert_eq!(result.verdict, Outcome::Pass, "{:?}", stage.reasons);
    assert_eq!(stage.proof.detector, Detector::Proven);
    assert_eq!(stage.coverage.covered, 1);
    let names: Vec<_> = stage.measured.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["copy", "copy through caches", "read", "write"]);
    assert!(
        stage
            .measured
            .iter()
            .all(|m| m.value > 0.0 && m.unit == "GB/s")
    );
    assert!(stage.matrices.is_empty());
    assert_eq!(stage.series[0].name, "bandwidth");
}

#[test]
fn every_pair_of_nodes_is_measured() {
    let result = burn(2, false);
    let stage = &result.stages[0];
    assert_eq!(result.verdict, Outcome::Pass, "{:?}", stage.reasons);
    let matrix = &stage.matrices[0];
    assert_eq!(matrix.rows.len(), 2);
    assert!(
        matrix
            .cells
            .iter()
            .flatten()
            .all(|cell| cell.is_some_and(|rate| rate > 0.0))
    );
    assert!(stage.measured.iter().any(|m| m.name == "copy, all nodes"));
}

#[test]
fn a_blind_detector_is_broken() {
    let result = burn(1, true);
    assert_eq!(result.verdict, Outcome::Fail);
    assert_eq!(result.class, Some(FailureClass::DetectorBroken));
}
