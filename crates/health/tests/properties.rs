//! Whatever a snapshot holds, it is judged: no panic, the same answer twice, every check in exactly
//! one list, and nothing healthy that could not be told.

use cupel_health::testing::{Node, unread_bus, xid};
use cupel_health::{CHECKS, Modes, evaluate, platform, remember};
use cupel_model::{CheckReport, Mode, Reading, Severity, Snapshot, Verdict};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize as _;
use serde_json::{Value, json};

/// What stands in for a value: every state of a reading, and values far from any sense.
fn strange() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"state": "absent", "why": "test"})),
        Just(json!({"state": "unsupported", "why": "test"})),
        Just(json!({"state": "failed", "why": "test"})),
        Just(json!([])),
        Just(json!(0)),
        Just(json!(1)),
        Just(json!(u32::MAX)),
        Just(json!(u64::MAX)),
        Just(json!(-1.5)),
        Just(json!("")),
        Just(json!("ÿ\u{0}")),
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({"value": 255, "saturated": true})),
    ]
}

/// Every path to a value or list in `value`.
fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{at}/{key}");
                all.push(path.clone());
                paths(value, &path, all);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                paths(value, &format!("{at}/{index}"), all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A good node with a log, a memory and a sample before, as JSON, and every path in it.
static START: LazyLock<(Value, Vec<String>)> = LazyLock::new(|| {
    let mut node = Node::good();
    node.snapshot.remembered = remember(&node.snapshot);
    node.log(xid(1, 79, "RESTART_BM", None));
    node.log(xid(2, 48, "WORKFLOW_XID_48", Some(7)));
    node.sample();
    let json = serde_json::to_value(&node.snapshot).expect("json");
    let mut all = Vec::new();
    paths(&json, "", &mut all);
    // Most of the sample before is not looked at.
    let (before, now): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|path| path.starts_with("/previous/"));
    let some = before.into_iter().step_by(20);
    (json, now.into_iter().chain(some).collect())
});

fn holds(snapshot: &Snapshot, report: &CheckReport) {
    let mut listed: Vec<&str> = report.coverage.ran.iter().map(String::as_str).collect();
    let not_run = report
        .coverage
        .skipped
        .iter()
        .chain(&report.coverage.unknown);
    listed.extend(not_run.map(|not_run| not_run.check.as_str()));
    listed.sort_unstable();
    let codes: Vec<&str> = CHECKS.iter().map(|check| check.code).collect();
    assert_eq!(listed, codes, "every check in exactly one list");
    if report.verdict == Verdict::Healthy {
        let mode = |code: &str| CHECKS.iter().find(|c| c.code == code).map(|c| c.mode);
        let mut unknown = report.coverage.unknown.iter();
        assert!(unknown.all(|not_run| mode(&not_run.check) == Some(Mode::Observe)));
    }
    if report.verdict == Verdict::Unhealthy {
        assert_eq!(report.exit_code(false), 1, "{:#?}", report.findings);
    }
    for finding in &report.findings {
        assert!(!finding.summary.is_empty());
        assert!(finding.severity == Severity::Info || !finding.remedy.is_empty());
    }
    assert!(report.events.len() <= snapshot.kernel_log.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_change_of_a_good_node_is_judged(
        changes in prop::collection::vec((any::<prop::sample::Index>(), strange()), 1..5),
        matched in any::<bool>(),
    ) {
        let (start, all) = &*START;
        let mut json = start.clone();
        for (place, value) in changes {
            let path: &String = place.get(all);
            let Some(slot) = json.pointer_mut(path) else { continue };
            let before = std::mem::replace(slot, value);
            // A change that makes no snapshot is taken back, so that the others still count.
            if Snapshot::deserialize(&json).is_err()
                && let Some(slot) = json.pointer_mut(path)
            {
                *slot = before;
            }
        }
        let snapshot = Snapshot::deserialize(&json).expect("a snapshot");
        let expected = cupel_health::testing::platform();
        let expected = matched.then_some(&expected);
        let report = evaluate(&snapshot, expected, &Modes::default());
        holds(&snapshot, &report);
        prop_assert_eq!(evaluate(&snapshot, expected, &Modes::default()), report);
        let parts = remember(&snapshot);
        let again = Snapshot { remembered: parts.clone(), ..snapshot.clone() };
        prop_assert_eq!(remember(&again), parts);
        if let Ok(own) = platform::derive(&snapshot, "own")
            && let Ok(text) = platform::to_toml(&own)
            && let Ok(back) = platform::parse(&text, "own.toml")
        {
            prop_assert_eq!(back, own);
        }
    }

    #[test]
    fn any_text_is_a_platform_or_an_error_that_names_the_file(text in ".{0,400}") {
        if let Err(error) = platform::parse(&text, "any.toml") {
            prop_assert!(error.to_string().starts_with("any.toml"));
        }
    }
}

#[test]
fn a_good_node_is_healthy_with_nothing_found_and_nothing_unknown() {
    let node = Node::good();
    let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
    assert_eq!(report.verdict, Verdict::Healthy, "{report:#?}");
    assert!(report.findings.is_empty());
    assert_eq!(report.coverage.unknown, []);
    let skipped: Vec<(&str, &str)> = report
        .coverage
        .skipped
        .iter()
        .map(|not_run| (not_run.check.as_str(), not_run.reason.as_str()))
        .collect();
    assert_eq!(
        skipped,
        [
            ("bmc.event-critical", "in-band interface: no /dev/ipmi0"),
            ("bmc.sensor-critical", "in-band interface: no /dev/ipmi0"),
            (
                "filesystem.full",
                "no local file system whose size is known"
            ),
            (
                "memory.ecc-corrected",
                "no EDAC driver: corrected errors are not visible"
            ),
            (
                "nvswitch.missing",
                "no platform says how many NVSwitches this node has"
            ),
            ("nvswitch.sxid", "no NVSwitch on the PCI bus of this node"),
            ("pcie.link-errors", "one-sample"),
            ("rdma.errors", "one-sample"),
            ("sensor.critical", "no sensor"),
        ]
    );
    assert_eq!(report.exit_code(true), 0);
}

#[test]
fn a_machine_without_gpus_and_platform_is_healthy_and_says_what_was_skipped() {
    let mut node = Node::good();
    node.snapshot.gpus.clear();
    node.snapshot.pci.clear();
    node.snapshot.rdma.clear();
    node.snapshot.nvme.clear();
    node.snapshot.services.clear();
    let report = evaluate(&node.snapshot, None, &Modes::default());
    assert_eq!(report.verdict, Verdict::Healthy, "{report:#?}");
    assert_eq!(report.platform, None);
    let codes: Vec<&str> = report.findings.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(codes, ["platform.unmatched"]);
    let skipped: Vec<&str> = report
        .coverage
        .skipped
        .iter()
        .map(|s| s.check.as_str())
        .collect();
    assert!(
        skipped.contains(&"gpu.xid") && skipped.contains(&"rdma.port-missing"),
        "{skipped:?}"
    );
}

#[test]
fn a_machine_whose_bus_could_not_be_read_is_not_healthy() {
    let mut node = Node::good();
    node.snapshot.rdma.clear();
    node.snapshot.nvme.clear();
    unread_bus(&mut node);
    for kernel_driver in ["575.57.08".to_owned().into(), Reading::absent("none")] {
        node.snapshot.driver.kernel_version = kernel_driver;
        let report = evaluate(&node.snapshot, None, &Modes::default());
        assert_eq!(report.verdict, Verdict::Unknown, "{report:#?}");
        assert_eq!(report.exit_code(false), 3);
        let expected = cupel_health::testing::platform();
        let report = evaluate(&node.snapshot, Some(&expected), &Modes::default());
        let gpus = report.findings.iter();
        let gpus: Vec<_> = gpus
            .filter(|f| f.code.starts_with("gpu") || f.code.starts_with("driver"))
            .collect();
        assert!(gpus.is_empty(), "{gpus:#?}");
    }
}

#[test]
fn an_observed_check_changes_no_verdict() {
    let mut node = Node::good();
    node.gpu(3).on_bus = false.into();
    let mut modes = Modes::default();
    for check in CHECKS {
        modes.set(check.code, Mode::Observe).expect("known");
    }
    let report = evaluate(&node.snapshot, node.platform.as_ref(), &modes);
    assert_eq!(report.verdict, Verdict::Healthy);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].mode, Mode::Observe);
    assert_eq!(report.exit_code(true), 0);
}

#[test]
fn without_a_driver_everything_else_is_still_checked() {
    let mut node = Node::good();
    for gpu in &mut node.snapshot.gpus {
        let (pci, slot) = (gpu.pci.clone(), gpu.slot.clone());
        *gpu = cupel_model::snapshot::Gpu {
            pci,
            slot,
            on_bus: true.into(),
            in_driver: cupel_model::Reading::absent("no driver"),
            ..Default::default()
        };
    }
    node.snapshot.driver.kernel_version = cupel_model::Reading::absent("no such file");
    node.snapshot.driver.library_version = cupel_model::Reading::absent("no library");
    node.snapshot.driver.worker = cupel_model::snapshot::WorkerState::NotStarted {
        why: "no driver".to_owned(),
    };
    let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
    let codes: Vec<&str> = report.findings.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(codes, ["driver.absent"]);
    assert_eq!(report.verdict, Verdict::Unhealthy);
    for code in [
        "pcie.width",
        "memory.size",
        "rdma.port-down",
        "gpu.missing",
        "gpu.off-bus",
    ] {
        assert!(
            report.coverage.ran.iter().any(|ran| ran == code),
            "{code}: {:?}",
            report.coverage
        );
    }
}
