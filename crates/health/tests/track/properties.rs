//! For any sequence of judgements, restarts, reboots, clock jumps and an operator's clears.

use std::collections::{BTreeMap, BTreeSet};

use cupel_model::wire::{ChangeKind, FindingChange, Tracked};
use cupel_model::{CheckReport, Clears, Confidence, Evidence, Finding, Timestamp};
use proptest::prelude::*;

use crate::stage::{Stage, critical, on_gpu, report};

/// Conditions that may be there: each code on two parts, each rule.
const CONDITIONS: [(&str, usize, Option<Clears>); 10] = [
    ("pcie.width", 1, None),
    ("pcie.width", 2, None),
    ("gpu.off-bus", 1, Some(Clears::Reboot)),
    ("gpu.off-bus", 3, Some(Clears::Reboot)),
    ("gpu.ecc-uncorrectable", 1, Some(Clears::GpuReset)),
    ("gpu.ecc-uncorrectable", 4, Some(Clears::GpuReset)),
    ("gpu.row-remap-failed", 2, Some(Clears::PartReplaced)),
    ("gpu.missing", 5, Some(Clears::Operator)),
    ("gpu.xid", 1, Some(Clears::GpuReset)),
    ("gpu.xid", 6, Some(Clears::GpuReset)),
];

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// A judgement after so many seconds: which conditions it shows, of which the serial could not
    /// be read, and which checks (by their first condition) were unknown or skipped.
    Judge {
        after: u64,
        shown: u16,
        nameless: u16,
        unknown: u16,
        skipped: u16,
    },
    Restart,
    Reboot,
    ClockJump(i64),
    /// An operator clears one of those that are open.
    Clear(usize),
    /// The GPUs count their energy from nothing.
    ResetGpus,
}

fn step() -> impl Strategy<Value = Step> {
    // Mostly few conditions, and mostly every check ran.
    let few = || any::<(u16, u16)>().prop_map(|(a, b)| a & b);
    let rare = || any::<(u16, u16, u16)>().prop_map(|(a, b, c)| a & b & c);
    prop_oneof![
        12 => (prop_oneof![Just(15_u64), Just(45), Just(3600)], few(), few(), rare(), rare())
            .prop_map(|(after, shown, nameless, unknown, skipped)| Step::Judge {
                after, shown, nameless, unknown, skipped,
            }),
        // Nothing to be seen for a while.
        3 => Just(Step::Judge { after: 60, shown: 0, nameless: 0, unknown: 0, skipped: 0 }),
        1 => Just(Step::Restart),
        1 => Just(Step::Reboot),
        1 => (-1_000_000_i64..1_000_000).prop_map(Step::ClockJump),
        1 => any::<usize>().prop_map(Step::Clear),
        1 => Just(Step::ResetGpus),
    ]
}

fn condition(at: usize, nameless: bool) -> Finding {
    let (code, gpu, clears) = CONDITIONS[at];
    let mut finding = match clears {
        None => on_gpu(code, gpu),
        Some(clears) => critical(code, gpu, clears),
    };
    finding.evidence = vec![Evidence::value("xid_condition", at)];
    if nameless {
        finding.component.serial = None;
    }
    finding
}

/// Which condition a tracked finding is.
fn which(tracked: &Tracked) -> usize {
    let value = tracked.finding.evidence[0].value.as_u64().expect("number");
    usize::try_from(value).expect("small")
}

fn bits(mask: u16) -> impl Iterator<Item = usize> {
    (0..CONDITIONS.len()).filter(move |at| mask & (1 << at) != 0)
}

fn judgement(shown: u16, nameless: u16, unknown: u16, skipped: u16) -> CheckReport {
    let findings: Vec<Finding> = bits(shown)
        .map(|at| condition(at, nameless & (1 << at) != 0))
        .collect();
    let codes = |mask: u16| -> BTreeSet<&str> { bits(mask).map(|at| CONDITIONS[at].0).collect() };
    // A check that finds something ran for that part at least: unknown, never skipped.
    let found: BTreeSet<&str> = bits(shown).map(|at| CONDITIONS[at].0).collect();
    let unknown: Vec<&str> = codes(unknown).into_iter().collect();
    let skipped: Vec<&str> = codes(skipped)
        .into_iter()
        .filter(|code| !unknown.contains(code) && !found.contains(code))
        .collect();
    report(&findings, &unknown, &skipped)
}

/// What was told of one id.
#[derive(Default)]
struct Told {
    open: bool,
    confirmed: bool,
    occurrences: BTreeSet<Option<Timestamp>>,
}

/// The life of every id, as its changes tell it.
#[derive(Default)]
struct Story(BTreeMap<String, Told>);

impl Story {
    fn hear(&mut self, changes: &[FindingChange]) {
        for FindingChange {
            change,
            tracked,
            why,
            ..
        } in changes
        {
            assert!(!why.is_empty());
            let told = self.0.entry(tracked.id.clone()).or_default();
            let confirmed = tracked.finding.confidence == Confidence::Confirmed;
            match change {
                ChangeKind::Raised => {
                    assert!(!told.open, "{} raised twice", tracked.id);
                    let new = told.occurrences.insert(tracked.finding.since);
                    assert!(new, "{} has one since twice", tracked.id);
                    (told.open, told.confirmed) = (true, confirmed);
                }
                ChangeKind::Confirmed => {
                    assert!(told.open && !told.confirmed && confirmed, "{}", tracked.id);
                    told.confirmed = true;
                }
                ChangeKind::Changed => assert!(told.open, "{}", tracked.id),
                ChangeKind::Cleared => {
                    assert!(told.open, "{} cleared, and was not open", tracked.id);
                    assert_eq!(confirmed, told.confirmed, "{}", tracked.id);
                    told.open = false;
                }
            }
        }
    }

    fn open(&self) -> Vec<&String> {
        let open = self.0.iter().filter(|(_, told)| told.open);
        open.map(|(id, _)| id).collect()
    }
}

/// What holds for the list of findings at any time.
fn holds(stage: &Stage, story: &Story) {
    let all = stage.tracker.findings();
    let mut ids: Vec<&String> = all.iter().map(|tracked| &tracked.id).collect();
    ids.sort();
    assert_eq!(ids, story.open(), "the changes tell the whole story");
    let conditions: BTreeSet<usize> = all.iter().map(which).collect();
    assert_eq!(conditions.len(), all.len(), "one finding a condition");
    for tracked in &all {
        assert!(
            !tracked
                .id
                .contains(|c: char| c.is_whitespace() || c.is_control())
        );
        let since = tracked.finding.since.expect("since is never null");
        assert!(since <= tracked.last_seen, "{tracked:#?}");
        assert_eq!(
            tracked.observed,
            tracked.waits_for.is_none(),
            "{tracked:#?}"
        );
    }
    for pair in all.windows(2) {
        assert!(pair[0].finding.severity >= pair[1].finding.severity);
    }
}

/// After a judgement: what it shows is there, and what it could not tell of is not gone.
fn nothing_lost(
    stage: &Stage,
    report: &CheckReport,
    before: &[Tracked],
    dismissed: &BTreeSet<usize>,
) {
    let now: BTreeMap<usize, Tracked> = stage
        .tracker
        .findings()
        .into_iter()
        .map(|tracked| (which(&tracked), tracked))
        .collect();
    let mut shown = BTreeSet::new();
    for finding in &report.findings {
        let at =
            usize::try_from(finding.evidence[0].value.as_u64().expect("number")).expect("small");
        shown.insert(at);
        match now.get(&at) {
            Some(tracked) => assert!(tracked.observed, "{tracked:#?}"),
            None => assert!(dismissed.contains(&at), "lost: {finding:#?}"),
        }
    }
    for tracked in before {
        let (at, code) = (which(tracked), &tracked.finding.code);
        if shown.contains(&at) {
            continue;
        }
        if !report.coverage.ran.contains(code) {
            let kept = now
                .get(&at)
                .expect("what could not be determined clears nothing");
            assert!(!kept.observed);
        }
        if tracked.finding.clears == Clears::Operator {
            assert!(now.contains_key(&at), "only an operator clears it");
        }
        if tracked.finding.clears == Clears::Reboot && tracked.boot == stage.moment().boot {
            assert!(now.contains_key(&at), "no reboot since it was observed");
        }
    }
}

/// Acts out one step and gives what changed.
fn act(stage: &mut Stage, step: &Step, restart_always: bool) -> Vec<FindingChange> {
    if restart_always {
        stage.restart();
    }
    match step {
        Step::Judge {
            after,
            shown,
            nameless,
            unknown,
            skipped,
        } => {
            let report = judgement(*shown, *nameless, *unknown, *skipped);
            return stage.judge(*after, &report);
        }
        Step::Restart => stage.restart(),
        Step::Reboot => stage.reboot(),
        Step::ClockJump(seconds) => stage.wall += seconds,
        Step::Clear(at) => {
            let all = stage.tracker.findings();
            if let Some(tracked) = all.get(at % all.len().max(1)) {
                return stage.clear(&tracked.id).into_iter().collect();
            }
        }
        Step::ResetGpus => {
            for gpu in &mut stage.snapshot.gpus {
                let now = gpu
                    .thermal
                    .energy_joules
                    .get()
                    .map_or(1e6, |energy| energy.get() / 2.0);
                let half = cupel_model::units::Joules::new(now).expect("finite");
                gpu.thermal.energy_joules = half.into();
            }
        }
    }
    Vec::new()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_lost_and_nothing_is_doubled(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut stage = Stage::default();
        let mut story = Story::default();
        // Cleared by an operator while only the log tells of them.
        let mut dismissed: BTreeSet<usize> = BTreeSet::new();
        for step in &steps {
            let before = stage.tracker.findings();
            let changes = act(&mut stage, step, false);
            story.hear(&changes);
            holds(&stage, &story);
            for change in &changes {
                let by_log = change.tracked.finding.code == "gpu.xid";
                if matches!(step, Step::Clear(_)) && by_log && change.tracked.observed {
                    dismissed.insert(which(&change.tracked));
                }
            }
            if let Step::Judge { shown, nameless, unknown, skipped, .. } = step {
                let report = judgement(*shown, *nameless, *unknown, *skipped);
                nothing_lost(&stage, &report, &before, &dismissed);
                let told = stage.tracker.report(&report, &cupel_health::Modes::default());
                prop_assert_eq!(told.findings.len(), stage.tracker.findings().len());
                // A judgement that no longer shows it ends an operator's word.
                dismissed.retain(|at| {
                    shown & (1 << at) != 0
                        || !report.coverage.ran.iter().any(|ran| ran == CONDITIONS[*at].0)
                });
            }
        }
    }

    #[test]
    fn a_service_that_restarts_at_every_step_tells_the_same(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut steady, mut restless) = (Stage::default(), Stage::default());
        for step in &steps {
            let told = act(&mut steady, step, false);
            prop_assert_eq!(&act(&mut restless, step, true), &told);
            prop_assert_eq!(restless.tracker.findings(), steady.tracker.findings());
            prop_assert_eq!(restless.tracker.state(), steady.tracker.state());
        }
    }

    #[test]
    fn everything_ends_when_its_rule_is_met(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut stage = Stage::default();
        for step in &steps {
            act(&mut stage, step, false);
        }
        // Rebooted, with other parts in every slot, and an operator's word.
        stage.reboot();
        for gpu in &mut stage.snapshot.gpus {
            gpu.identity.serial = "another".to_owned().into();
        }
        for _ in 0..60 {
            stage.see(30, &[]);
        }
        for tracked in stage.tracker.findings() {
            prop_assert!(
                matches!(tracked.finding.clears, Clears::Operator | Clears::PartReplaced),
                "{:#?}", tracked
            );
            stage.clear(&tracked.id).expect("open");
        }
        prop_assert_eq!(stage.tracker.findings(), Vec::new());
        // And after a day nothing is left to remember.
        stage.see(90_000, &[]);
        let state = serde_json::to_value(stage.tracker.state()).expect("json");
        prop_assert_eq!(&state["lives"], &serde_json::json!([]));
    }
}
