//! Raised, confirmed, changed, coming back.

use cupel_health::track::{Settings, Tracker};
use cupel_model::wire::ChangeKind::{Changed, Cleared, Confirmed, Raised};
use cupel_model::{Clears, Confidence, Evidence, Finding, Severity, Verdict};

use crate::stage::{Stage, critical, on_gpu, report};

const WIDTH: &str = "pcie.width";

#[test]
fn what_is_observed_is_raised_at_once_and_confirmed_after_its_window() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    assert_eq!(stage.see(0, &narrow), [Raised]);
    assert_eq!(stage.one().finding.confidence, Confidence::Provisional);
    assert_eq!(stage.see(15, &narrow), []);
    assert_eq!(stage.see(15, &narrow), [Confirmed]);
    assert_eq!(stage.one().finding.confidence, Confidence::Confirmed);
    assert_eq!(stage.see(15, &narrow), []);
    assert_eq!(stage.one().flaps, 0);
}

#[test]
fn hard_evidence_is_confirmed_when_it_is_raised() {
    let mut stage = Stage::default();
    let lost = critical("gpu.off-bus", 3, Clears::Reboot);
    assert_eq!(stage.see(0, &[lost]), [Raised]);
    assert_eq!(stage.one().finding.confidence, Confidence::Confirmed);
}

#[test]
fn what_the_check_calls_provisional_stays_so() {
    let mut stage = Stage::default();
    let unsure = Finding {
        confidence: Confidence::Provisional,
        ..on_gpu(WIDTH, 3)
    };
    let unsure = [unsure];
    assert_eq!(stage.see(0, &unsure), [Raised]);
    assert_eq!(stage.see(300, &unsure), []);
    assert_eq!(stage.see(15, &[on_gpu(WIDTH, 3)]), [Confirmed]);
}

#[test]
fn the_window_is_measured_by_the_clock_that_does_not_jump() {
    for jump in [-86_400, 86_400] {
        let narrow = [on_gpu(WIDTH, 3)];
        let mut stage = Stage::default();
        stage.see(0, &narrow);
        stage.wall += jump;
        assert_eq!(stage.see(15, &narrow), [], "{jump}");
        assert_eq!(stage.see(15, &narrow), [Confirmed], "{jump}");
    }
}

#[test]
fn a_moment_that_is_told_late_counts_no_time_twice() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    stage.see(0, &narrow);
    stage.see(14, &narrow);
    stage.since_boot -= 14;
    assert_eq!(stage.see(0, &narrow), []);
    assert_eq!(stage.see(20, &narrow), []);
    assert_eq!(stage.see(10, &narrow), [Confirmed]);
}

#[test]
fn a_restart_goes_on_and_a_reboot_begins_anew() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    stage.see(0, &narrow);
    stage.restart();
    assert_eq!(stage.see(30, &narrow), [Confirmed]);

    let mut stage = Stage::default();
    stage.see(0, &narrow);
    stage.restart();
    stage.reboot();
    assert_eq!(stage.see(0, &narrow), []);
    assert_eq!(stage.see(15, &narrow), []);
    assert_eq!(stage.see(15, &narrow), [Confirmed]);
}

#[test]
fn a_break_begins_the_window_anew() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    stage.see(0, &narrow);
    assert_eq!(stage.see(15, &[]), []);
    assert_eq!(stage.see(15, &narrow), []);
    assert_eq!(stage.see(15, &narrow), []);
    assert_eq!(stage.see(15, &narrow), [Confirmed]);
    assert_eq!(stage.one().flaps, 1);
}

#[test]
fn what_keeps_coming_back_is_confirmed_and_counted() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    assert_eq!(stage.see(0, &narrow), [Raised]);
    for _ in 0..2 {
        assert_eq!(stage.see(15, &[]), []);
        assert_eq!(stage.see(15, &narrow), []);
    }
    stage.see(15, &[]);
    assert_eq!(stage.see(15, &narrow), [Confirmed]);
    assert_eq!(stage.one().flaps, 3);
    // A day later it is forgotten.
    for _ in 0..24 {
        stage.see(3600, &narrow);
    }
    assert_eq!(stage.one().flaps, 0);
}

#[test]
fn another_occurrence_has_another_since_and_the_same_id() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    stage.see(0, &narrow);
    let first = stage.one();
    assert_eq!(first.finding.since, Some(stage.at(0)));
    stage.see(15, &[]);
    assert_eq!(stage.see(30, &[]), [Cleared]);
    // Even where the wall clock says the same time again.
    stage.wall = 1_800_000_000;
    stage.since_boot += 60;
    assert_eq!(stage.see(0, &narrow), [Raised]);
    let second = stage.one();
    assert_eq!(second.id, first.id);
    assert_ne!(second.finding.since, first.finding.since);
    assert_eq!(second.flaps, 1);
    assert!(second.finding.since <= Some(second.last_seen));
}

#[test]
fn the_sources_own_time_is_kept_unless_it_is_in_the_future() {
    for (own, wanted) in [(-500, -500), (500, 0)] {
        let mut stage = Stage::default();
        let told = Finding {
            since: Some(stage.at(own)),
            ..on_gpu(WIDTH, 3)
        };
        stage.see(0, &[told]);
        assert_eq!(stage.one().finding.since, Some(stage.at(wanted)));
    }
}

#[test]
fn a_clock_that_jumps_back_does_not_put_the_last_sight_before_the_first() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    stage.see(0, &narrow);
    let since = stage.one().finding.since;
    stage.wall -= 86_400;
    stage.see(15, &narrow);
    let now = stage.one();
    assert_eq!(now.finding.since, since);
    assert_eq!(Some(now.last_seen), since);
}

#[test]
fn measured_numbers_are_no_change() {
    let hot = |degrees: u32| Finding {
        summary: format!("GPU 3 is hot: {degrees}.5 °C"),
        evidence: vec![Evidence::value("temperature", degrees)],
        ..on_gpu("gpu.thermal-slowdown", 3)
    };
    let mut stage = Stage::default();
    stage.see(0, &[hot(91)]);
    assert_eq!(stage.see(15, &[hot(107)]), []);
    let kept = stage.one().finding;
    assert!(kept.summary.contains("107.5"), "{}", kept.summary);
    assert_eq!(kept.evidence, hot(107).evidence);
}

#[test]
fn what_someone_must_hear_of_is_a_change() {
    let plain = on_gpu(WIDTH, 3);
    let worse = critical(WIDTH, 3, Clears::WhileObserved);
    let other = Finding {
        summary: "GPU 3 has no lane at all".to_owned(),
        ..plain.clone()
    };
    let mut moved = plain.clone();
    moved.component.slot = Some("SXM 8".to_owned());
    let observed = Finding {
        mode: cupel_model::Mode::Observe,
        ..plain.clone()
    };
    for (now, wanted) in [
        (worse, "severity was warning and is critical"),
        (other, "what it says is another"),
        (moved, "its part is known otherwise"),
        (observed, "mode was enforce and is observe"),
    ] {
        let mut stage = Stage::default();
        stage.see(0, std::slice::from_ref(&plain));
        let changes = stage.judge(15, &report(&[now], &[], &[]));
        let [change] = &changes[..] else {
            panic!("{wanted}: {changes:#?}")
        };
        assert_eq!(change.change, Changed);
        assert!(change.why.contains(wanted), "{}", change.why);
    }
}

#[test]
fn another_code_in_the_log_is_a_change_though_only_numbers_differ() {
    let xid = |codes: &[u32]| Finding {
        summary: format!("GPU 3 reported XID {}", codes[0]),
        evidence: codes
            .iter()
            .map(|code| Evidence::value(&format!("xid_{code}_count"), 1))
            .collect(),
        ..critical("gpu.xid", 3, Clears::GpuReset)
    };
    let mut stage = Stage::default();
    assert_eq!(stage.see(0, &[xid(&[48])]), [Raised]);
    assert_eq!(stage.see(15, &[xid(&[95, 48])]), [Changed]);
    assert_eq!(stage.see(15, &[xid(&[95, 48])]), []);
}

#[test]
fn the_report_has_memory() {
    let (ecc, narrow) = (
        critical("gpu.ecc-uncorrectable", 1, Clears::GpuReset),
        on_gpu(WIDTH, 3),
    );
    let mut stage = Stage::default();
    stage.see(0, &[ecc, narrow.clone()]);
    stage.see(15, std::slice::from_ref(&narrow));
    let told = stage.reported(std::slice::from_ref(&narrow));
    let codes: Vec<&str> = told.findings.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(codes, ["gpu.ecc-uncorrectable", WIDTH]);
    assert_eq!(told.verdict, Verdict::Unhealthy);
    assert!(told.findings.iter().all(|finding| finding.since.is_some()));
    assert_eq!(told.findings[1].confidence, Confidence::Provisional);
    // An operator who sets the check to observe is heard, though it is not observed now.
    let mut modes = cupel_health::Modes::default();
    modes
        .set("gpu.ecc-uncorrectable", cupel_model::Mode::Observe)
        .expect("known");
    let told = stage.tracker.report(&report(&[narrow], &[], &[]), &modes);
    assert_eq!(told.verdict, Verdict::Degraded);
}

#[test]
fn an_unknown_check_makes_the_verdict_unknown_only_where_it_is_enforced() {
    let stage = Stage::default();
    let unread = report(&[], &[WIDTH], &[]);
    let mut modes = cupel_health::Modes::default();
    assert_eq!(
        stage.tracker.report(&unread, &modes).verdict,
        Verdict::Unknown
    );
    modes.set(WIDTH, cupel_model::Mode::Observe).expect("known");
    assert_eq!(
        stage.tracker.report(&unread, &modes).verdict,
        Verdict::Healthy
    );
}

#[test]
fn beyond_the_bound_nothing_is_hidden() {
    let mut stage = Stage {
        tracker: Tracker::new(Settings {
            most: 2,
            ..Settings::default()
        }),
        ..Stage::default()
    };
    let worst = critical("gpu.off-bus", 7, Clears::Reboot);
    let all = [worst, on_gpu(WIDTH, 1), on_gpu(WIDTH, 2), on_gpu(WIDTH, 3)];
    assert_eq!(stage.see(0, &all), [Raised, Raised]);
    assert_eq!(stage.tracker.untracked(), 2);
    let told = stage.reported(&all);
    assert_eq!(told.findings.len(), 4);
    assert_eq!(told.findings[0].severity, Severity::Critical);
    // One ends: another takes its place.
    let left = [all[0].clone(), all[2].clone(), all[3].clone()];
    stage.see(15, &left);
    assert_eq!(stage.see(30, &left), [Cleared]);
    assert_eq!(stage.see(15, &left), [Raised]);
    assert_eq!(stage.tracker.untracked(), 1);
}
