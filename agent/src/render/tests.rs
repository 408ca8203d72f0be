//! What people read, laid out for a terminal of 100 columns and held against what it was.

use cupel_health::testing::{Node, good, gpu_pci, xid};
use cupel_health::{Modes, evaluate};
use cupel_model::units::Seconds;
use cupel_model::{
    CheckReport, Clears, Component, ComponentKind, Confidence, Coverage, Evidence, Finding, Impact,
    Mode, NotRun, Performer, Reading, Remedy, RemedyAction, SCHEMA_VERSION, Scope, Severity,
    Snapshot, Urgency, Verdict,
};

use super::check;
use super::html::bringup_page;
use super::inventory::{self, Detail};
use super::table::Layout;
use crate::bringup::{BringupReport, Phase, StepRecord, StepState};
use crate::cli::COLUMNS;

const PLAIN: Layout = Layout {
    width: COLUMNS,
    colour: false,
};

fn inventory(snapshot: &Snapshot, detail: Detail, layout: Layout) -> String {
    inventory::sections(snapshot, detail)
        .iter()
        .map(|section| inventory::text(section, layout))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A node with a lost GPU, a narrow link, a burst of XIDs and an unreadable BMC.
fn sick() -> Node {
    let mut node = Node::good();
    node.lose(3);
    node.gpu(1).memory.total_bytes = Reading::failed("nvmlDeviceGetMemoryInfo: GPU is lost");
    for device in &mut node.snapshot.pci {
        if device.address == gpu_pci(2) {
            device.current_width = 8.into();
        }
    }
    node.snapshot.bmc = Reading::absent("/dev/ipmi0: no such file");
    let mut event = xid(5, 13, "RESTART_APP", Some(4711));
    event.repeats = 40;
    event.raw = "NVRM: Xid (PCI:0000:bb:00): 13, \x1b[2Jpid=4711, Graphics Exception".to_owned();
    node.log(event);
    node
}

#[test]
fn a_good_node() {
    insta::assert_snapshot!(inventory(&good(), Detail::Brief, PLAIN));
}

#[test]
fn a_sick_node_in_full() {
    insta::assert_snapshot!(inventory(&sick().snapshot, Detail::Full, PLAIN));
}

/// A report that says one of everything, whatever checks there are.
fn report() -> CheckReport {
    let node = sick();
    let remedy = |action, by, text: &str| Remedy {
        action,
        by,
        text: text.to_owned(),
    };
    let lost = Finding {
        code: "gpu.off-bus".to_owned(),
        component: Component {
            kind: ComponentKind::Gpu,
            index: Some(3),
            serial: Some("1650123000003".to_owned()),
            pci: Some(gpu_pci(3)),
            slot: Some("SXM 4".to_owned()),
        },
        severity: Severity::Critical,
        impact: Impact::BlocksAllocation,
        urgency: Urgency::Now,
        scope: Scope::Node,
        confidence: Confidence::Confirmed,
        mode: Mode::Enforce,
        summary: "GPU 3 in SXM 4 has fallen off the PCI bus".to_owned(),
        evidence: vec![Evidence::value("on_bus", false).limit(true, "PCI configuration space")],
        remedy: vec![
            remedy(
                RemedyAction::RebootNode,
                Performer::OptIn,
                "Reboot the node",
            ),
            remedy(
                RemedyAction::Reseat,
                Performer::Human,
                "Take GPU 3 out and put it back",
            ),
        ],
        since: Some(node.snapshot.taken_at),
        clears: Clears::PartReplaced,
    };
    let hot = Finding {
        code: "gpu.thermal-slowdown".to_owned(),
        component: Component::of(ComponentKind::Gpu),
        severity: Severity::Warning,
        impact: Impact::DegradesPerformance,
        urgency: Urgency::NextWindow,
        mode: Mode::Observe,
        summary: "a GPU is slowed down by heat".to_owned(),
        evidence: vec![Evidence::value("temperature", 91).unit("°C")],
        remedy: Vec::new(),
        since: None,
        ..lost.clone()
    };
    let not_run = |check: &str, reason: &str| NotRun {
        check: check.to_owned(),
        reason: reason.to_owned(),
    };
    CheckReport {
        schema_version: SCHEMA_VERSION,
        node: node.snapshot.node.clone(),
        platform: None,
        verdict: Verdict::Unhealthy,
        findings: vec![lost, hot],
        events: node.snapshot.kernel_log,
        coverage: Coverage {
            ran: vec!["gpu.off-bus".to_owned()],
            skipped: vec![not_run("rdma.port-rate", "no platform says how fast")],
            unknown: vec![
                not_run("gpu.power", "SXM 1, SXM 2, SXM 3: no driver to ask"),
                not_run("nvlink.inactive", "SXM 4: off the bus"),
                not_run("nvlink.errors", "SXM 4: off the bus"),
            ],
        },
    }
}

#[test]
fn findings_of_a_sick_node() {
    insta::assert_snapshot!(check::report(&report(), PLAIN));
}

#[test]
fn an_rdma_port_is_called_by_its_device_and_a_part_by_its_whole_name_once() {
    let mut node = sick();
    let device = &mut node.snapshot.rdma[2];
    device.ports[0].state = "DOWN".to_owned().into();
    let head = format!("RDMA device {} port 1", device.name);
    let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
    let text = check::report(&report, PLAIN);
    assert!(text.contains(&head), "{text}");
    let mut named = 0;
    for found in &report.findings {
        let whole = found.component.pci.map(|pci| format!("{pci})"));
        for remedy in &found.remedy {
            let shown = check::remedy_text(remedy, &found.component);
            if let Some(whole) = whole.as_ref().filter(|whole| remedy.text.contains(*whole)) {
                named += 1;
                assert!(!shown.contains(whole), "{shown}");
            }
        }
    }
    assert!(named > 2, "remedies name their part");
}

#[test]
fn nothing_is_wider_than_its_terminal_and_nothing_steers_it() {
    let node = sick();
    let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
    for width in [60, 80, COLUMNS] {
        let layout = Layout {
            width,
            colour: false,
        };
        let text =
            inventory(&node.snapshot, Detail::Full, layout) + &check::report(&report, layout);
        // The lines that name a part are one line each: a part is searched for by its whole name.
        let wide: Vec<_> = text
            .lines()
            .filter(|line| line.chars().count() > width.max(COLUMNS))
            .collect();
        assert_eq!(wide, Vec::<&str>::new());
        assert!(!text.contains('\x1b'));
    }
}

/// A page with everything on it.
fn page_of_a_sick_node() -> String {
    let node = sick();
    let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
    let at = node.snapshot.taken_at;
    let step = |name, detail: &str| StepRecord {
        name,
        state: StepState::Done,
        detail: detail.to_owned(),
        started_at: at,
        elapsed_seconds: Seconds::new(1.25).ok(),
    };
    bringup_page(&BringupReport {
        schema_version: SCHEMA_VERSION,
        cupel_version: "0.0.0".to_owned(),
        node: node.snapshot.node.clone(),
        platform: report.platform.clone(),
        started_at: at,
        finished_at: at,
        verdict: report.verdict,
        reasons: vec![check::verdict_reason(&report)],
        exit_code: report.exit_code(false),
        steps: vec![
            step(Phase::Inspect, "7 GPUs, 4 RDMA ports"),
            step(Phase::CheckBefore, "<script>alert(1)</script>"),
        ],
        snapshot: Box::new(node.snapshot),
        before: report.clone(),
        burn_in: None,
        after: report,
    })
}

#[test]
fn a_page_needs_nothing_from_outside_and_runs_nothing() {
    let page = page_of_a_sick_node();
    for outside in [
        "<script", "http://", "https://", "src=", "@import", "url(", "\x1b",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("&lt;script&gt;"), "text is escaped");
    for word in ["1650123000003", "SXM 4", "Steps", "Findings"] {
        assert!(page.contains(word), "{word}");
    }
}
