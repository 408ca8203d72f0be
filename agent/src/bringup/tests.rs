//! The state machine, the verdict and what is done about a journal that was found.

use cupel_burnin::{BurnInResult, Detector, Outcome, Plan, Schedule, Word};
use cupel_health::testing::Node;
use cupel_health::{Modes, evaluate};
use cupel_model::units::Seconds;
use cupel_model::{CheckReport, NotRun, Snapshot, Timestamp, Verdict};

use super::drive::{Start, fresh, interrupted, start};
use super::journal::{Identity, Journal};
use super::judge::{Facts, judge};
use super::report::{BringupReport, Phase, StepState};
use super::state::{BurnIn, Observed, State, Step, next};

fn machine() -> (Box<Snapshot>, CheckReport) {
    let node = Node::good();
    let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
    assert_eq!(report.verdict, Verdict::Healthy, "{:?}", report.findings);
    (Box::new(node.snapshot), report)
}

fn time() -> Timestamp {
    Timestamp::from_microseconds(1_700_000_000_000_000).expect("time")
}

fn burned(verdict: Outcome) -> BurnIn {
    BurnIn::Ran(Box::new(BurnInResult {
        schema_version: 1,
        machine: None,
        in_progress: false,
        plan: Plan::quick(Word(1)),
        schedule: Schedule::default(),
        preflight: Vec::new(),
        started_at: time(),
        finished_at: time(),
        elapsed_seconds: Seconds::new(1.0).expect("finite"),
        verdict,
        class: None,
        detector: Detector::Proven,
        cancelled: false,
        stages: Vec::new(),
        counters: Vec::new(),
        peers: Vec::new(),
        notes: Vec::new(),
    }))
}

fn judged(before: CheckReport, burn_in: BurnIn, after: CheckReport) -> BringupReport {
    judge(Facts {
        snapshot: machine().0,
        before,
        burn_in,
        after,
        steps: Vec::new(),
        started_at: time(),
        finished_at: time(),
    })
}

/// A machine with a critical finding.
fn broken() -> CheckReport {
    let mut node = Node::good();
    node.snapshot.gpus.pop();
    let report = evaluate(&node.snapshot, node.platform.as_ref(), &Modes::default());
    assert_eq!(report.exit_code(false), 1, "{report:?}");
    report
}

#[test]
fn every_step_leads_to_the_next_with_all_that_was_found() {
    let (snapshot, report) = machine();
    let report = Box::new(report);
    let last = Box::new(judged(
        (*report).clone(),
        burned(Outcome::Pass),
        (*report).clone(),
    ));
    let observed = [
        Observed::Inspected(snapshot.clone()),
        Observed::Checked(report.clone()),
        Observed::BurnedIn(burned(Outcome::Pass)),
        Observed::Checked(report.clone()),
        Observed::Judged(last.clone()),
    ];
    let mut state = State::Inspect {};
    for (phase, observed) in Phase::ALL.into_iter().zip(observed) {
        assert_eq!(state.phase(), Some(phase));
        // A state survives being written down and read again.
        let json = serde_json::to_string(&state).expect("json");
        assert_eq!(serde_json::from_str::<State>(&json).expect("state"), state);
        state = match next(&state, observed) {
            Step::To(state) => state,
            Step::Stay => panic!("{} leads nowhere", phase.name()),
        };
    }
    assert_eq!(state, State::Finished { report: last });
    assert_eq!(state.phase(), None);
}

#[test]
fn what_does_not_belong_to_a_step_changes_nothing() {
    let (snapshot, report) = machine();
    let state = State::CheckBefore {
        snapshot: snapshot.clone(),
    };
    for observed in [
        Observed::Inspected(snapshot.clone()),
        Observed::BurnedIn(burned(Outcome::Pass)),
        Observed::Cancelled,
    ] {
        assert_eq!(next(&state, observed), Step::Stay);
    }
    let burning = State::BurnIn {
        snapshot,
        before: Box::new(report),
    };
    assert_eq!(next(&burning, Observed::Cancelled), Step::Stay);
}

#[test]
fn the_verdict_is_the_worst_of_all_three() {
    let (_, good) = machine();
    let bad = broken();
    let mut unsure = good.clone();
    unsure.verdict = Verdict::Unknown;
    unsure.coverage.unknown.push(NotRun {
        check: "nvme.critical-warning".to_owned(),
        reason: "nvme0 does not answer".to_owned(),
    });
    let pass = || burned(Outcome::Pass);
    let not_run = BurnIn::NotRun {
        why: "no list of processors".to_owned(),
    };
    for (before, burn_in, after, verdict, exit_code) in [
        (&good, pass(), &good, Verdict::Healthy, 0),
        (
            &good,
            burned(Outcome::Incomplete),
            &good,
            Verdict::Unknown,
            3,
        ),
        (&good, not_run, &good, Verdict::Unknown, 3),
        (&good, burned(Outcome::Fail), &good, Verdict::Unhealthy, 1),
        (&good, pass(), &bad, Verdict::Unhealthy, 1),
        (&bad, pass(), &good, Verdict::Unhealthy, 1),
        (&good, pass(), &unsure, Verdict::Unknown, 3),
        (&unsure, burned(Outcome::Fail), &good, Verdict::Unhealthy, 1),
    ] {
        let report = judged(before.clone(), burn_in, after.clone());
        assert_eq!((report.verdict, report.exit_code), (verdict, exit_code));
        let healthy = verdict == Verdict::Healthy;
        let bare = matches!(&report.burn_in, Some(result) if result.verdict != Outcome::Pass);
        assert!(
            healthy == report.reasons.is_empty() || bare,
            "{:?}",
            report.reasons
        );
    }
}

#[test]
fn what_went_away_under_load_is_told() {
    let report = judged(broken(), burned(Outcome::Pass), machine().1);
    assert!(
        report
            .reasons
            .iter()
            .any(|why| why.starts_with("gone after the burn-in: ")),
        "{:?}",
        report.reasons
    );
}

#[test]
fn only_an_unfinished_journal_of_this_machine_and_boot_is_continued() {
    let identity = Identity {
        boot_id: Some("boot".to_owned()),
        node_id: Some("node".to_owned()),
    };
    let journal = fresh(identity.clone(), Plan::quick(Word(1)));
    assert_eq!(start(None, &identity), Start::Fresh);
    assert_eq!(
        start(Some(journal.clone()), &identity),
        Start::Resume(Box::new(journal.clone()))
    );
    let (_, good) = machine();
    let finished = Journal {
        state: State::Finished {
            report: Box::new(judged(good.clone(), burned(Outcome::Pass), good)),
        },
        ..journal.clone()
    };
    assert_eq!(start(Some(finished), &identity), Start::Fresh);
    for other in [
        Identity {
            boot_id: Some("other".to_owned()),
            ..identity.clone()
        },
        Identity {
            node_id: None,
            ..identity.clone()
        },
    ] {
        assert!(matches!(
            start(Some(journal.clone()), &other),
            Start::SetAside(_)
        ));
    }
    let older = Journal {
        cupel_version: "0.0.1".to_owned(),
        ..journal
    };
    assert!(matches!(start(Some(older), &identity), Start::SetAside(_)));
}

#[test]
fn an_interruption_is_recorded() {
    let identity = Identity {
        boot_id: None,
        node_id: None,
    };
    let mut journal = fresh(identity, Plan::quick(Word(1)));
    interrupted(&mut journal);
    assert_eq!(journal.steps.len(), 1);
    assert_eq!(journal.steps[0].name, Phase::Inspect);
    assert_eq!(journal.steps[0].state, StepState::Interrupted);
}
