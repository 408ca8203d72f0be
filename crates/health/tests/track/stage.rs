//! A node whose judgements are written by hand, with a clock that the test turns.

use std::time::Duration;

use cupel_health::track::{Moment, Settings, Tracker};
use cupel_health::{CHECKS, Modes, testing};
use cupel_model::wire::{ChangeKind, FindingChange, Tracked};
use cupel_model::{
    CheckReport, Clears, Component, ComponentKind, Confidence, Coverage, Evidence, Finding, Impact,
    Mode, NotRun, SCHEMA_VERSION, Scope, Severity, Snapshot, Timestamp, Urgency, Verdict,
};

/// A finding of `code` on a GPU: a warning that lasts as long as it is observed.
pub fn on_gpu(code: &str, number: usize) -> Finding {
    Finding {
        code: code.to_owned(),
        component: Component {
            kind: ComponentKind::Gpu,
            index: u32::try_from(number).ok(),
            serial: Some(format!("165012300000{number}")),
            pci: Some(testing::gpu_pci(number)),
            slot: Some(format!("SXM {}", number + 1)),
        },
        severity: Severity::Warning,
        impact: Impact::DegradesPerformance,
        urgency: Urgency::AfterJob,
        scope: Scope::Gpu,
        confidence: Confidence::Confirmed,
        mode: Mode::Enforce,
        summary: format!("GPU {number} is not well"),
        evidence: vec![Evidence::value("condition", number)],
        remedy: Vec::new(),
        since: None,
        clears: Clears::WhileObserved,
    }
}

/// The same, worse, and with another rule.
pub fn critical(code: &str, number: usize, clears: Clears) -> Finding {
    Finding {
        severity: Severity::Critical,
        impact: Impact::BlocksAllocation,
        clears,
        ..on_gpu(code, number)
    }
}

/// A report with these findings; every check ran but those named.
pub fn report(findings: &[Finding], unknown: &[&str], skipped: &[&str]) -> CheckReport {
    let not_run = |codes: &[&str]| {
        let why = |code: &&str| NotRun {
            check: (*code).to_owned(),
            reason: "test".to_owned(),
        };
        codes.iter().map(why).collect::<Vec<_>>()
    };
    let ran = CHECKS.iter().map(|check| check.code);
    CheckReport {
        schema_version: SCHEMA_VERSION,
        node: cupel_model::snapshot::Node::default(),
        platform: None,
        verdict: Verdict::of(findings, !unknown.is_empty()),
        findings: findings.to_vec(),
        events: Vec::new(),
        coverage: Coverage {
            ran: ran
                .filter(|code| !unknown.contains(code) && !skipped.contains(code))
                .map(str::to_owned)
                .collect(),
            skipped: not_run(skipped),
            unknown: not_run(unknown),
        },
    }
}

/// A node over time.
pub struct Stage {
    pub tracker: Tracker,
    pub snapshot: Snapshot,
    /// Seconds of the wall clock.
    pub wall: i64,
    pub since_boot: u64,
    pub boot: u32,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            tracker: Tracker::new(Settings::default()),
            snapshot: testing::good(),
            wall: 1_800_000_000,
            since_boot: 1000,
            boot: 1,
        }
    }
}

impl Stage {
    pub fn moment(&self) -> Moment {
        Moment {
            at: self.at(0),
            since_boot: Duration::from_secs(self.since_boot),
            boot: format!("boot-{}", self.boot),
        }
    }

    /// So many seconds from now, by the wall clock.
    pub fn at(&self, seconds: i64) -> Timestamp {
        Timestamp::from_microseconds((self.wall + seconds) * 1_000_000).expect("time")
    }

    pub fn wait(&mut self, seconds: u64) {
        self.since_boot += seconds;
        self.wall += i64::try_from(seconds).expect("small");
    }

    pub fn reboot(&mut self) {
        self.boot += 1;
        self.since_boot = 0;
        self.wait(90);
    }

    /// Ends the service and starts another that goes on from what was stored.
    pub fn restart(&mut self) {
        let stored = serde_json::to_string(&self.tracker.state()).expect("json");
        let state = serde_json::from_str(&stored).expect("state");
        self.tracker = Tracker::restore(Settings::default(), state).expect("restored");
    }

    /// `seconds` pass, then there is this judgement.
    pub fn judge(&mut self, seconds: u64, report: &CheckReport) -> Vec<FindingChange> {
        self.wait(seconds);
        let moment = self.moment();
        self.tracker.update(report, &self.snapshot, &moment)
    }

    /// The same, of a report in which every check ran; only what happened.
    pub fn see(&mut self, seconds: u64, findings: &[Finding]) -> Vec<ChangeKind> {
        let changes = self.judge(seconds, &report(findings, &[], &[]));
        changes.iter().map(|change| change.change).collect()
    }

    /// The same again and again, every 15 s, until something happens; at most for so long.
    pub fn pass(&mut self, seconds: u64, findings: &[Finding]) -> Vec<FindingChange> {
        for _ in 0..seconds / 15 {
            let changes = self.judge(15, &report(findings, &[], &[]));
            if !changes.is_empty() {
                return changes;
            }
        }
        Vec::new()
    }

    pub fn clear(&mut self, id: &str) -> Option<FindingChange> {
        let moment = self.moment();
        self.tracker.clear(id, "repaired", &moment)
    }

    pub fn reported(&self, findings: &[Finding]) -> CheckReport {
        self.tracker
            .report(&report(findings, &[], &[]), &Modes::default())
    }

    /// The only finding.
    pub fn one(&self) -> Tracked {
        let all = self.tracker.findings();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.into_iter().next().expect("one")
    }

    /// What the only finding waits for.
    pub fn waits_for(&self) -> String {
        self.one().waits_for.expect("waits")
    }
}
