//! Nodes in full, from snapshots of the rack in a box and the findings that they come to.

use cupel_health::{Modes, evaluate, platform};
use cupel_inventory::pages::view::*;
use cupel_model::enrolment::KeyProtection;
use cupel_model::snapshot::{RememberedPart, Snapshot};
use cupel_model::units::{Celsius, Seconds, Watts};
use cupel_model::wire::*;
use cupel_model::{CheckReport, ComponentKind, Confidence, Finding, Severity, Timestamp, Verdict};

use super::fleet::{Dice, line, place};
use super::{ago, context, now, some};

/// A snapshot of this folder.
pub fn snapshot(name: &str) -> Snapshot {
    let path = format!(
        "{}/tests/pages_fixture/{name}.json.zst",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(&path).expect(&path);
    let json = zstd::decode_all(bytes.as_slice()).expect("zstd");
    let mut snapshot: Snapshot = serde_json::from_slice(&json).expect(&path);
    snapshot.taken_at = ago(1_940);
    snapshot
}

fn judged(snapshot: &Snapshot) -> CheckReport {
    let platforms = platform::embedded();
    let found = platform::matching(snapshot, platforms).ok();
    evaluate(snapshot, found, &Modes::default())
}

fn tracked(finding: &Finding, since: i64) -> Tracked {
    let component = &finding.component;
    let place = component.slot.clone().unwrap_or_default();
    Tracked {
        id: format!("{}/{:?}/{place}", finding.code, component.kind),
        finding: Finding {
            since: Some(ago(since)),
            ..finding.clone()
        },
        last_seen: ago(20),
        boot: "3f0c2a9e-71d4-4b7e-8a55-0a1b2c3d0011".to_owned(),
        observed: true,
        flaps: 0,
        waits_for: None,
    }
}

fn part_of(part: &RememberedPart, present: bool) -> NodePart {
    NodePart {
        kind: part.kind,
        name: part.name.clone(),
        slot: part.slot.clone(),
        serial: part.serial.clone(),
        part_number: None,
        firmware: (part.kind == ComponentKind::Gpu).then(|| "96.00.74.00.01".to_owned()),
        since: Some(ago(9_000_000)),
        present,
    }
}

fn vitals(gpus: u32, sick: Option<u32>) -> Vec<VitalsAt> {
    let mut dice = Dice::new(5);
    let mut noise =
        |below: u32| f64::from(u32::try_from(dice.roll(u64::from(below))).expect("small"));
    let day = 24 * 60;
    (0..day)
        .map(|minute| {
            let at = ago(i64::from(day - minute) * 60);
            // Two jobs in the day, an idle night, and a time without reports.
            let busy = (200..620).contains(&minute) || (800..1_400).contains(&minute);
            let gpus = (0..gpus).map(|index| {
                let lost = sick == Some(index) && minute > 1_330;
                let hot = if sick == Some(index) && minute > 1_200 {
                    14.0
                } else {
                    0.0
                };
                let heat = if busy {
                    63.0 + f64::from(index % 4) * 2.0 + hot
                } else {
                    31.0 + f64::from(index % 3)
                };
                let power = if busy { 640.0 } else { 72.0 };
                GpuVitals {
                    index,
                    temperature_celsius: (!lost)
                        .then(|| Celsius::new(heat + noise(4)).expect("finite")),
                    power_watts: (!lost).then(|| Watts::new(power + noise(50)).expect("finite")),
                }
            });
            (
                minute,
                VitalsAt {
                    at,
                    gpus: gpus.collect(),
                },
            )
        })
        .filter(|(minute, _)| !(700..760).contains(minute))
        .map(|(_, vitals)| vitals)
        .collect()
}

fn changes(findings: &[Tracked]) -> Vec<FindingChange> {
    let mut changes = Vec::new();
    for tracked in findings {
        let since = tracked.finding.since.unwrap_or(now());
        for (later, change, why) in [
            (
                30_000_000,
                ChangeKind::Confirmed,
                "observed for the whole of its window",
            ),
            (0, ChangeKind::Raised, "the newest judgement shows it"),
        ] {
            changes.push(FindingChange {
                at: Timestamp::from_microseconds(since.microseconds() + later).expect("time"),
                change,
                why: why.to_owned(),
                tracked: tracked.clone(),
            });
        }
    }
    if let Some(first) = findings.first() {
        changes.push(FindingChange {
            at: ago(70_000),
            change: ChangeKind::Cleared,
            why: "the node was rebooted and the targeted test passed".to_owned(),
            tracked: first.clone(),
        });
    }
    changes
}

fn bringup() -> BringupSummary {
    let step = |name: &str, seconds: f64, detail: &str| BringupStep {
        name: name.to_owned(),
        elapsed_seconds: Some(Seconds::new(seconds).expect("finite")),
        detail: detail.to_owned(),
    };
    BringupSummary {
        started_at: ago(900_000),
        finished_at: ago(895_000),
        verdict: Verdict::Healthy,
        reasons: Vec::new(),
        steps: vec![
            step("inspect", 4.2, "8 GPUs, 12 RDMA ports, 10 drives"),
            step("check", 0.2, "28 checks ran, none found anything"),
            step(
                "burn-in",
                4_950.0,
                "memory, processors and drives passed; planted faults were found",
            ),
            step("check again", 0.2, "28 checks ran, none found anything"),
        ],
    }
}

/// A node from one of the snapshots, with whatever findings it comes to.
pub fn node(name: &str) -> Node {
    let snapshot = snapshot(name);
    let report = judged(&snapshot);
    let mut dice = Dice::new(1);
    let standing = Standing::reporting(report.verdict);
    let mut line = line(17, place(0, 3, 6), standing, &mut dice);
    line.id = snapshot.node.id.value().cloned().expect("id");
    line.hostname = snapshot.node.hostname.value().cloned();
    line.serial = snapshot.node.chassis_serial.value().cloned();
    line.expectation = Expectation::AsExpected;
    line.platform = report.platform.clone();
    line.last_report = Some(ago(20));
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| tracked(finding, 5_400))
        .collect();
    let gpu = |tracked: &&Tracked| tracked.finding.component.kind == ComponentKind::Gpu;
    let sick = findings.iter().find(gpu).cloned();
    let sick_gpu = sick
        .as_ref()
        .and_then(|tracked| tracked.finding.component.index);
    let past = match snapshot.remembered.is_empty() {
        true => cupel_health::remember(&snapshot),
        false => snapshot.remembered.clone(),
    };
    let lost = |part: &RememberedPart| {
        sick.as_ref().is_some_and(|tracked| {
            tracked.finding.code == "gpu.off-bus" && tracked.finding.component.serial == part.serial
        })
    };
    let events: Vec<_> = snapshot
        .kernel_log
        .iter()
        .map(|event| NodeEvent {
            boot: "3f0c2a9e".to_owned(),
            event: event.clone(),
        })
        .collect();
    let gpus = u32::try_from(snapshot.gpus.len()).expect("few");
    Node {
        context: context(),
        standing_since: Some(ago(5_370)),
        verdict: Some(report.verdict),
        record: Record {
            account: some("acme-research"),
            project: some("llm-pretrain"),
            instance: None,
            in_use: Some(true),
            handed_over: Some(ago(7_900_000)),
            nvlink_domain: None,
            switch_path: Some(vec![
                "leaf-osl1-12".to_owned(),
                "spine-osl1-03".to_owned(),
                "core-osl1-1".to_owned(),
            ]),
            baseline: some("dgx-h100-2026-01"),
            identity: Some(Identity {
                worth: Worth::Good,
                key: KeyProtection::Tpm,
                until: ago(-1_592_000),
            }),
        },
        first_report: Some(ago(8_100_000)),
        next_report_by: Some(ago(-70)),
        stopped: None,
        cupel_version: some("0.1.0"),
        upgrade: None,
        wishes_refused: None,
        dropped: Dropped::default(),
        changes: changes(&findings),
        changes_kept: 3,
        findings,
        coverage: Some(report.coverage),
        parts: past.iter().map(|part| part_of(part, !lost(part))).collect(),
        history_from: ago(86_400),
        standings: vec![
            StandingChange {
                at: ago(900_000),
                standing: Standing::Healthy,
            },
            StandingChange {
                at: ago(71_000),
                standing: Standing::Unhealthy,
            },
            StandingChange {
                at: ago(66_000),
                standing: Standing::Silent,
            },
            StandingChange {
                at: ago(64_000),
                standing: Standing::Healthy,
            },
            StandingChange {
                at: ago(5_370),
                standing,
            },
        ],
        vitals: vitals(gpus, sick_gpu),
        events_kept: u64::try_from(events.len()).expect("few"),
        events,
        bringup: Some(bringup()),
        snapshot: Some(Box::new(snapshot)),
        line,
    }
}

/// A node with a GPU off the bus, a second finding that is provisional, and one that waits.
pub fn sick() -> Node {
    let mut sick = node("gpu-off-bus");
    let other = judged(&snapshot("rdma-port-down"));
    let mut port = tracked(&other.findings[0], 400);
    port.finding.confidence = Confidence::Provisional;
    port.finding.severity = Severity::Warning;
    port.flaps = 3;
    sick.findings.push(port);
    let other = judged(&snapshot("nvlink-inactive"));
    let mut link = tracked(&other.findings[0], 80_000);
    link.observed = false;
    link.waits_for = some("a GPU reset, and a passing test after it");
    link.finding.component.slot = some("SXM 2");
    sick.findings.push(link);
    sick
}

/// A node in good order.
pub fn well() -> Node {
    node("healthy-hgx-b200")
}

/// A node that was expected and never came.
pub fn missing() -> Node {
    let mut node = node("healthy-pcie-l40s");
    node.line.standing = Standing::Missing;
    node.line.hostname = None;
    node.line.last_report = None;
    Node {
        standing_since: Some(ago(400_000)),
        verdict: None,
        record: Record::default(),
        first_report: None,
        next_report_by: None,
        cupel_version: None,
        findings: Vec::new(),
        coverage: None,
        snapshot: None,
        parts: Vec::new(),
        standings: vec![StandingChange {
            at: ago(400_000),
            standing: Standing::Missing,
        }],
        vitals: Vec::new(),
        changes: Vec::new(),
        changes_kept: 0,
        events: Vec::new(),
        events_kept: 0,
        bringup: None,
        ..node
    }
}

/// A node that stopped telling.
pub fn silent() -> Node {
    let mut node = node("healthy-pcie-l40s");
    node.line.standing = Standing::Silent;
    node.line.last_report = Some(ago(1_000));
    node.next_report_by = Some(ago(880));
    node.standing_since = Some(ago(880));
    node
}

pub fn part() -> Part {
    let stay = |node: &str, slot: &str, from, until: Option<i64>| PartStay {
        node: node.to_owned(),
        hostname: some(node),
        place: Place {
            rack: place(0, 3, 6),
            unit: Some(12),
            height_units: Some(8),
        },
        slot: some(slot),
        from: ago(from),
        until: until.map(ago),
    };
    let found = |number, since, cleared: Option<i64>| PartFinding {
        node: "gpu00017".to_owned(),
        hostname: some("gpu00017"),
        finding: super::fleet::fault(number, since),
        cleared: cleared.map(ago),
    };
    Part {
        context: context(),
        serial: "1652923017172".to_owned(),
        kind: ComponentKind::Gpu,
        name: some("NVIDIA H100 80GB HBM3"),
        part_number: some("900-21010-0000-000"),
        uuid: some("GPU-9dad5c15-a732-23fe-40ad-465d0cbe5005"),
        firmware: some("96.00.74.00.01"),
        stays: vec![
            stay("gpu00017", "SXM 6", 700_000, None),
            stay("gpu00003", "SXM 2", 8_000_000, Some(710_000)),
        ],
        findings: vec![found(0, 5_400, None), found(3, 750_000, Some(715_000))],
    }
}
