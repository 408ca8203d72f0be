//! What `cupel status` shows, laid out for 80 columns and held against what it was.

use cupel_health::testing::{good, gpu_pci, xid};
use cupel_model::enrolment::KeyProtection;
use cupel_model::snapshot::Tenancy;
use cupel_model::units::{Bytes, Seconds};
use cupel_model::wire::{ChangeKind, Dropped, FindingChange, Lifecycle, Tracked};
use cupel_model::{
    Clears, Component, ComponentKind, Confidence, Coverage, Evidence, Finding, Impact, Mode,
    NotRun, Performer, Remedy, RemedyAction, SCHEMA_VERSION, Scope, Severity, Timestamp, Urgency,
    Verdict,
};

use super::{change, event, line, text};
use crate::render::table::Layout;
use crate::status::{
    Allocation, Configuration, Delivery, Identity, IdentityState, Inventory, Log, Source, Status,
    Storage, WantedOfNode,
};

const PLAIN: Layout = Layout {
    width: 80,
    colour: false,
};

fn time(text: &str) -> Timestamp {
    text.parse().expect("time")
}

fn seconds(value: f64) -> Seconds {
    Seconds::new(value).expect("finite")
}

fn source(name: &str, age: f64) -> Source {
    Source {
        name: name.to_owned(),
        read_at: Some(time("2026-01-02T03:04:00Z")),
        age_seconds: Some(seconds(age)),
        took_seconds: Some(seconds(0.1)),
        why: None,
    }
}

/// A node and a service in good order.
fn well() -> Status {
    Status {
        schema_version: SCHEMA_VERSION,
        cupel_version: "0.1.0".to_owned(),
        said_at: time("2026-01-02T03:04:05Z"),
        started_at: time("2025-12-28T00:00:00Z"),
        uptime_seconds: seconds(442_800.0),
        node: good().node,
        tenancy: Tenancy::Scheduler,
        platform: Some("crucible-8".to_owned()),
        verdict: Verdict::Healthy,
        judged_at: Some(time("2026-01-02T03:04:00Z")),
        allocation: Allocation {
            allowed: true,
            why: None,
        },
        findings: Vec::new(),
        coverage: Coverage {
            ran: vec!["gpu.off-bus".to_owned(), "gpu.missing".to_owned()],
            skipped: vec![NotRun {
                check: "nvswitch.missing".to_owned(),
                reason: "no NVSwitch expected".to_owned(),
            }],
            unknown: Vec::new(),
        },
        sources: vec![source("gpu", 4.5), source("smart", 1800.0)],
        log: Log {
            records: 1200,
            lost: 0,
            last_event_at: None,
            why: None,
        },
        inventory: Inventory {
            state: Delivery::Delivered,
            host: Some("inventory.example".to_owned()),
            last_delivered_at: Some(time("2026-01-02T03:03:33Z")),
            ..Inventory::not_configured()
        },
        identity: None,
        wanted: WantedOfNode {
            lifecycle: Some(Lifecycle::InService),
            baseline: Some("2026-01".to_owned()),
            upgrade: None,
            upgrade_state: None,
            etag: Some("7".to_owned()),
            refused: None,
        },
        storage: Storage {
            saved: true,
            why: None,
        },
        released_until: None,
        configuration: Configuration {
            loaded_at: time("2025-12-28T00:00:00Z"),
            refused: None,
        },
    }
}

fn lost() -> Tracked {
    let remedy = |action, by, text: &str| Remedy {
        action,
        by,
        text: text.to_owned(),
    };
    let finding = Finding {
        code: "gpu.off-bus".to_owned(),
        component: Component {
            kind: ComponentKind::Gpu,
            index: Some(4),
            serial: Some("1652923017246".to_owned()),
            pci: Some(gpu_pci(4)),
            slot: Some("SXM 5".to_owned()),
        },
        severity: Severity::Critical,
        impact: Impact::BlocksAllocation,
        urgency: Urgency::Now,
        scope: Scope::Node,
        confidence: Confidence::Confirmed,
        mode: Mode::Enforce,
        summary: "GPU 4 in SXM 5 has fallen off the PCI bus".to_owned(),
        evidence: vec![Evidence::value("on_bus", false)],
        remedy: vec![
            remedy(RemedyAction::Drain, Performer::OptIn, "Drain the node"),
            remedy(
                RemedyAction::PowerCycleNode,
                Performer::OptIn,
                "Power-cycle the node; a warm reboot often does not bring the GPU back",
            ),
            remedy(
                RemedyAction::Reseat,
                Performer::Human,
                "Take GPU 4 in SXM 5 out and put it back",
            ),
        ],
        since: Some(time("2026-01-02T01:01:00.5Z")),
        clears: Clears::PartReplaced,
    };
    Tracked {
        id: "gpu.off-bus/gpu/SXM 5".to_owned(),
        finding,
        last_seen: time("2026-01-02T03:04:00Z"),
        boot: "boot".to_owned(),
        observed: true,
        flaps: 3,
        waits_for: None,
    }
}

fn hot() -> Tracked {
    let lost = lost();
    Tracked {
        id: "gpu.thermal-slowdown/gpu/SXM 2".to_owned(),
        finding: Finding {
            code: "gpu.thermal-slowdown".to_owned(),
            component: Component {
                slot: Some("SXM 2".to_owned()),
                ..Component::of(ComponentKind::Gpu)
            },
            severity: Severity::Warning,
            impact: Impact::DegradesPerformance,
            confidence: Confidence::Provisional,
            mode: Mode::Observe,
            summary: "GPU 1 in SXM 2 is slowed down by heat".to_owned(),
            remedy: Vec::new(),
            ..lost.finding.clone()
        },
        flaps: 0,
        ..lost
    }
}

fn cleared_by_reset() -> Tracked {
    let lost = lost();
    Tracked {
        id: "gpu.row-remap-pending/gpu/SXM 1".to_owned(),
        finding: Finding {
            code: "gpu.row-remap-pending".to_owned(),
            severity: Severity::Warning,
            impact: Impact::None,
            summary: "GPU 0 in SXM 1 waits for a reset to remap a row".to_owned(),
            component: Component {
                slot: Some("SXM 1".to_owned()),
                ..Component::of(ComponentKind::Gpu)
            },
            remedy: lost.finding.remedy[..1].to_vec(),
            ..lost.finding.clone()
        },
        observed: false,
        flaps: 1,
        waits_for: Some("a reset of the GPU".to_owned()),
        ..lost
    }
}

/// Everything that can be wrong with node and service.
fn ill() -> Status {
    let mut ill = well();
    ill.verdict = Verdict::Unhealthy;
    ill.allocation = Allocation {
        allowed: false,
        why: Some("gpu.off-bus (SXM 5): GPU 4 in SXM 5 has fallen off the PCI bus".to_owned()),
    };
    ill.findings = vec![hot(), cleared_by_reset(), lost()];
    ill.coverage.unknown = vec![NotRun {
        check: "gpu.ecc-uncorrectable".to_owned(),
        reason: "SXM 5: off the bus".to_owned(),
    }];
    ill.sources.push(Source {
        why: Some("no answer within 5 s".to_owned()),
        ..source("bmc", 900.0)
    });
    ill.sources.push(Source {
        read_at: None,
        age_seconds: None,
        took_seconds: None,
        why: Some("/sys/class/nvme: permission denied".to_owned()),
        ..source("nvme", 0.0)
    });
    ill.log = Log {
        records: 800_000,
        lost: 1234,
        last_event_at: Some(time("2026-01-02T03:04:01Z")),
        why: None,
    };
    ill.inventory = Inventory {
        state: Delivery::Waiting,
        waiting: 12,
        waiting_bytes: Bytes(3_250_586),
        oldest_waiting_since: Some(time("2026-01-02T01:01:00Z")),
        last_error: Some("connection refused".to_owned()),
        dropped: Dropped {
            heartbeats: 40,
            fulls: 1,
            changes: 0,
        },
        ..ill.inventory
    };
    ill.wanted.refused = Some("unknown lifecycle \"levitating\"".to_owned());
    ill.storage = Storage {
        saved: false,
        why: Some("/var/lib/cupel/state.db: no space left on device".to_owned()),
    };
    ill.released_until = Some(time("2026-01-02T03:09:05Z"));
    ill.configuration.refused = Some("/etc/cupel/node.toml:3:1: unknown key `tenacity`".to_owned());
    ill
}

/// Before the first judgement, on a node that reports to nobody.
fn begun() -> Status {
    let mut begun = well();
    begun.verdict = Verdict::Unknown;
    begun.judged_at = None;
    begun.platform = None;
    begun.node = cupel_model::snapshot::Node::default();
    begun.coverage = Coverage::default();
    begun.sources.clear();
    begun.inventory = Inventory::not_configured();
    begun.wanted = WantedOfNode::default();
    begun.uptime_seconds = seconds(0.4);
    begun.started_at = begun.said_at;
    begun
}

fn identity() -> Identity {
    Identity {
        state: IdentityState::Good,
        why: None,
        node: Some("4c4c4544".to_owned()),
        inventory: Some("inventory.example".to_owned()),
        key_protection: Some(KeyProtection::Tpm),
        issued_at: Some(time("2026-01-01T00:00:00Z")),
        not_after: Some(time("2026-01-31T00:00:00Z")),
        renew_after: Some(time("2026-01-21T00:00:00Z")),
        renewal_error: None,
    }
}

#[test]
fn an_identity_is_told_and_what_is_wrong_with_it_too() {
    let mut status = well();
    status.identity = Some(identity());
    let told = text(&status, PLAIN);
    assert!(told.contains("identity"), "{told}");
    assert!(told.contains("key sealed to the TPM"), "{told}");
    status.identity = Some(Identity {
        state: IdentityState::OtherNode,
        why: Some("it is of node b".to_owned()),
        renewal_error: Some("403: the identity is revoked".to_owned()),
        ..identity()
    });
    let told = text(&status, PLAIN);
    assert!(told.contains("it is of node b"), "{told}");
    assert!(
        told.contains("not renewed: 403: the identity is revoked"),
        "{told}"
    );
    assert!(!told.contains("sealed"), "{told}");
}

#[test]
fn a_node_in_good_order() {
    insta::assert_snapshot!(text(&well(), PLAIN));
}

#[test]
fn everything_that_can_be_wrong() {
    insta::assert_snapshot!(text(&ill(), PLAIN));
}

#[test]
fn before_the_first_judgement() {
    insta::assert_snapshot!(text(&begun(), PLAIN));
}

#[test]
fn one_line_for_scripts() {
    assert_eq!(line(&well()), "healthy");
    assert_eq!(
        line(&begun()),
        "unknown: not judged yet: the machine is being read"
    );
    let mut ill = ill();
    assert_eq!(
        line(&ill),
        "unhealthy gpu.off-bus SXM 5 (1652923017246): GPU 4 in SXM 5 has fallen off the PCI bus \
         (+1 more)"
    );
    ill.verdict = Verdict::Unknown;
    assert_eq!(
        line(&ill),
        "unknown gpu.ecc-uncorrectable: SXM 5: off the bus"
    );
    let mut observed = well();
    observed.findings = vec![hot()];
    assert_eq!(
        line(&observed),
        "healthy",
        "what is observed only counts for nothing"
    );
}

#[test]
fn exit_codes() {
    assert_eq!(well().exit_code(), 0);
    assert_eq!(ill().exit_code(), 1);
    assert_eq!(begun().exit_code(), 3);
}

#[test]
fn a_refused_report_says_what_to_look_at() {
    let mut refused = well();
    refused.inventory.state = Delivery::Refused;
    refused.inventory.waiting = 1;
    refused.inventory.last_error = Some("401: this token is not known".to_owned());
    let text = text(&refused, PLAIN).replace("\n             ", " ");
    for said in [
        "inventory.example refused the last report: 401: this token is not known",
        "Check the token",
        "1 report (0 B) waits",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let mut waiting = well();
    waiting.inventory.state = Delivery::Waiting;
    waiting.inventory.waiting = 1;
    waiting.inventory.oldest_waiting_since = Some(waiting.said_at);
    let told = super::text(&waiting, PLAIN);
    assert!(
        !told.contains("Needs attention"),
        "a report on its way is no trouble: {told}"
    );
}

#[test]
fn nothing_is_wider_than_its_terminal_and_nothing_steers_it() {
    let mut hostile = ill();
    let steer = "\x1b[2J\u{202e}\nnext ".repeat(30);
    hostile.findings[0].finding.summary.clone_from(&steer);
    hostile.findings[1].waits_for = Some(steer.clone());
    hostile.findings[2].id.clone_from(&steer);
    hostile.node.hostname = steer.clone().into();
    hostile.allocation.why = Some(steer.clone());
    hostile.inventory.last_error = Some(steer.clone());
    hostile.inventory.host = Some(steer.clone());
    hostile.storage.why = Some(steer.clone());
    hostile.sources[2].why = Some(steer.clone());
    hostile.sources[1].name.clone_from(&steer);
    hostile.wanted.baseline = Some(steer);
    for status in [well(), ill(), begun(), hostile.clone()] {
        for width in [72, 80, 100] {
            let layout = Layout {
                width,
                colour: false,
            };
            let text = text(&status, layout);
            let wide = text.lines().find(|line| line.chars().count() > width);
            assert_eq!(wide, None);
            assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
        }
    }
    assert!(!line(&hostile).contains(['\x1b', '\n', '\u{202e}']));
}

#[test]
fn an_event_is_one_line() {
    let mut told = xid(3, 79, "RESTART_BM", Some(4711));
    told.severity = Severity::Critical;
    told.action = RemedyAction::RebootNode;
    told.repeats = 40;
    told.raw = "NVRM: Xid (PCI:0000:5d:00): 79,\n\x1b[2Jpid=4711,\tGPU has fallen off".to_owned();
    assert_eq!(
        event(&told),
        "2026-01-02T03:00:00  CRITICAL  xid.79  0000:5d:00.0  NVRM: Xid (PCI:0000:5d:00): 79, / \
         \u{fffd}[2Jpid=4711, GPU has fallen off  -> reboot-node  (40 times)"
    );
    told.pci = None;
    told.time = None;
    assert!(event(&told).starts_with("-                    CRITICAL  xid.79  -  NVRM"));
}

#[test]
fn a_change_is_one_line() {
    let step = |kind, tracked| {
        change(&FindingChange {
            at: time("2026-01-02T03:04:05.9Z"),
            change: kind,
            why: "the GPU answers again".to_owned(),
            tracked,
        })
    };
    assert_eq!(
        step(ChangeKind::Raised, lost()),
        "2026-01-02T03:04:05  CRITICAL  gpu.off-bus  GPU 4, slot SXM 5, serial 1652923017246, PCI \
         0000:9b:00.0  raised: GPU 4 in SXM 5 has fallen off the PCI bus"
    );
    assert_eq!(
        step(ChangeKind::Cleared, hot()),
        "2026-01-02T03:04:05  CLEARED   gpu.thermal-slowdown  GPU, slot SXM 2  cleared: the GPU \
         answers again"
    );
}

#[test]
fn json_comes_back_as_it_was() {
    for status in [well(), ill(), begun()] {
        let json = serde_json::to_string(&status).expect("json");
        assert_eq!(
            serde_json::from_str::<Status>(&json).expect("status"),
            status
        );
    }
}
