//! What ends a finding, rule by rule, and what does not.

use cupel_model::units::Joules;
use cupel_model::wire::ChangeKind::{Cleared, Raised};
use cupel_model::{Clears, Evidence, Finding, Reading, Verdict};

use crate::stage::{Stage, critical, on_gpu, report};

const WIDTH: &str = "pcie.width";
const ECC: &str = "gpu.ecc-uncorrectable";

fn energy(stage: &mut Stage, number: usize, joules: f64) {
    let reading = Joules::new(joules).expect("finite").into();
    stage.snapshot.gpus[number].thermal.energy_joules = reading;
}

#[test]
fn while_observed_needs_a_hold_and_two_judgements() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    stage.see(0, &narrow);
    assert_eq!(stage.see(15, &[]), []);
    assert!(!stage.one().observed);
    assert_eq!(stage.waits_for(), "30 s without it");
    assert_eq!(stage.see(15, &[]), []);
    assert_eq!(stage.see(15, &[]), [Cleared]);
    assert_eq!(stage.tracker.findings(), []);

    // One judgement after an hour is not two.
    stage.see(0, &narrow);
    assert_eq!(stage.see(3600, &[]), []);
    assert_eq!(stage.see(15, &[]), []);
    assert_eq!(stage.see(15, &[]), [Cleared]);
}

#[test]
fn a_check_with_a_longer_window_holds_its_findings_as_long() {
    let slow = [on_gpu("pcie.speed", 3)];
    let mut stage = Stage::default();
    stage.see(0, &slow);
    stage.see(15, &[]);
    assert_eq!(stage.waits_for(), "60 s without it");
    assert_eq!(stage.see(45, &[]), []);
    assert_eq!(stage.see(15, &[]), [Cleared]);
}

#[test]
fn what_keeps_coming_back_is_held_longer() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    for _ in 0..4 {
        assert_eq!(stage.see(60, &narrow), [Raised]);
        stage.see(15, &[]);
        if stage.one().flaps < 3 {
            assert_eq!(stage.see(30, &[]), [Cleared]);
        }
    }
    assert_eq!(
        stage.waits_for(),
        "10 min without it, since it keeps coming back"
    );
    assert_eq!(stage.see(590, &[]), []);
    assert_eq!(stage.see(15, &[]), [Cleared]);
}

#[test]
fn what_could_not_be_determined_clears_nothing() {
    let narrow = [on_gpu(WIDTH, 3)];
    for (unknown, skipped, wanted) in [
        (&[WIDTH][..], &[][..], "the check could not be determined"),
        (&[][..], &[WIDTH][..], "the check did not apply"),
    ] {
        let mut stage = Stage::default();
        stage.see(0, &narrow);
        for _ in 0..20 {
            assert_eq!(stage.judge(60, &report(&[], unknown, skipped)), []);
        }
        assert_eq!(stage.waits_for(), wanted);
        // Nor does it count for the hold.
        assert_eq!(stage.see(15, &[]), []);
        stage.judge(60, &report(&[], unknown, skipped));
        assert_eq!(stage.see(60, &[]), []);
        assert_eq!(stage.see(30, &[]), [Cleared]);
    }
}

#[test]
fn a_check_that_is_unknown_for_one_part_clears_no_other() {
    let mut stage = Stage::default();
    let both = [on_gpu(WIDTH, 3), on_gpu(WIDTH, 4)];
    stage.see(0, &both);
    stage.see(30, &both);
    for _ in 0..10 {
        let changes = stage.judge(60, &report(&[on_gpu(WIDTH, 4)], &[WIDTH], &[]));
        assert_eq!(changes, []);
    }
    let observed: Vec<bool> = stage
        .tracker
        .findings()
        .iter()
        .map(|t| t.observed)
        .collect();
    assert_eq!(observed, [false, true]);
}

#[test]
fn a_check_that_this_version_does_not_have_tells_of_nothing() {
    let mut stage = Stage::default();
    stage.see(0, &[on_gpu("gpu.from-another-version", 3)]);
    stage.see(15, &[]);
    assert_eq!(stage.see(30, &[]), [Cleared]);
}

#[test]
fn a_gpu_reset_that_is_proved_clears_a_warning() {
    let pending = Finding {
        clears: Clears::GpuReset,
        ..on_gpu("gpu.row-remap-pending", 3)
    };
    let mut stage = Stage::default();
    energy(&mut stage, 3, 90_000.0);
    stage.see(0, std::slice::from_ref(&pending));
    assert!(stage.pass(300, &[]).is_empty());
    assert_eq!(stage.waits_for(), "a reset of the GPU");
    // Another GPU's reset is not its own.
    energy(&mut stage, 4, 1.0);
    energy(&mut stage, 3, 90_500.0);
    assert!(stage.pass(300, &[]).is_empty());
    energy(&mut stage, 3, 12.0);
    let changes = stage.pass(300, &[]);
    assert_eq!(changes.len(), 1);
    assert!(changes[0].why.contains("was reset"), "{}", changes[0].why);
}

#[test]
fn a_reset_before_it_came_back_is_none_after_it() {
    let pending = Finding {
        clears: Clears::GpuReset,
        ..on_gpu("gpu.row-remap-pending", 3)
    };
    let mut stage = Stage::default();
    energy(&mut stage, 3, 90_000.0);
    stage.see(0, std::slice::from_ref(&pending));
    energy(&mut stage, 3, 1.0);
    stage.see(15, &[]);
    energy(&mut stage, 3, 2.0);
    stage.see(15, &[pending]);
    assert!(stage.pass(300, &[]).is_empty());
    assert_eq!(stage.waits_for(), "a reset of the GPU");
}

#[test]
fn a_critical_one_waits_for_a_test_or_a_later_boot() {
    let broken = critical(ECC, 3, Clears::GpuReset);
    let mut stage = Stage::default();
    energy(&mut stage, 3, 90_000.0);
    stage.see(0, std::slice::from_ref(&broken));
    energy(&mut stage, 3, 1.0);
    assert!(stage.pass(3600, &[]).is_empty());
    assert_eq!(stage.waits_for(), "a passing test after the reset");
    assert_eq!(stage.reported(&[]).verdict, Verdict::Unhealthy);

    stage.restart();
    stage.reboot();
    // A judgement that is not a full one confirms nothing.
    for _ in 0..5 {
        assert_eq!(stage.judge(15, &report(&[], &[ECC], &[])), []);
    }
    let changes = stage.pass(60, &[]);
    assert_eq!(changes.len(), 1, "{:#?}", stage.tracker.findings());
    assert!(
        changes[0].why.contains("no test was run"),
        "{}",
        changes[0].why
    );
}

#[test]
fn a_critical_one_of_a_gpu_that_is_gone_stays() {
    let broken = critical(ECC, 3, Clears::GpuReset);
    let mut stage = Stage::default();
    stage.see(0, &[broken]);
    stage.reboot();
    let gpu = stage.snapshot.gpus.remove(3);
    assert!(stage.pass(300, &[]).is_empty());
    assert_eq!(
        stage.waits_for(),
        "its GPU to be seen again, or another in its place"
    );
    // Another GPU in its slot.
    stage.snapshot.gpus.insert(3, gpu);
    stage.snapshot.gpus[3].identity.serial = "1999".to_owned().into();
    let changes = stage.pass(300, &[]);
    assert!(changes[0].why.contains("serial 1999"), "{}", changes[0].why);
}

#[test]
fn a_reboot_clears_what_it_is_said_to() {
    let lost = critical("gpu.off-bus", 3, Clears::Reboot);
    let mut stage = Stage::default();
    stage.see(0, std::slice::from_ref(&lost));
    assert!(stage.pass(3600, &[]).is_empty());
    assert_eq!(stage.waits_for(), "a reboot");
    stage.reboot();
    assert_eq!(stage.see(0, std::slice::from_ref(&lost)), []);
    assert!(
        stage.pass(300, &[]).is_empty(),
        "it was observed in this boot"
    );
    stage.reboot();
    assert_eq!(stage.pass(300, &[]).len(), 1);
}

#[test]
fn a_part_must_be_replaced() {
    let worn = critical("gpu.row-remap-failed", 3, Clears::PartReplaced);
    let mut stage = Stage::default();
    stage.see(0, &[worn]);
    stage.reboot();
    assert!(stage.pass(300, &[]).is_empty());
    assert_eq!(stage.waits_for(), "another part in SXM 4");
    // Moved to another slot it is the same part.
    stage.snapshot.gpus.swap(3, 5);
    let slots: Vec<_> = [3, 5].map(|at| stage.snapshot.gpus[at].slot.clone()).into();
    stage.snapshot.gpus[3].slot.clone_from(&slots[1]);
    stage.snapshot.gpus[5].slot.clone_from(&slots[0]);
    assert!(stage.pass(300, &[]).is_empty());
    stage.snapshot.gpus.truncate(5);
    assert_eq!(stage.pass(300, &[]).len(), 1, "its slot holds another now");
}

#[test]
fn only_an_operator_clears_what_is_his() {
    let gone = Finding {
        clears: Clears::Operator,
        ..on_gpu("gpu.missing", 3)
    };
    let mut stage = Stage::default();
    stage.see(0, &[gone]);
    stage.reboot();
    assert!(stage.pass(3600, &[]).is_empty());
    assert_eq!(stage.waits_for(), "an operator");
    assert!(stage.clear("gpu.missing/gpu/nobody").is_none());
    let id = stage.one().id;
    let change = stage.clear(&id).expect("cleared");
    assert_eq!((change.change, change.why.as_str()), (Cleared, "repaired"));
    assert_eq!(stage.tracker.findings(), []);
    assert!(stage.clear(&id).is_none());
}

#[test]
fn what_lasts_is_raised_again_after_an_operator_cleared_it() {
    let narrow = [on_gpu(WIDTH, 3)];
    let mut stage = Stage::default();
    stage.see(0, &narrow);
    let first = stage.one();
    stage.clear(&first.id).expect("cleared");
    assert_eq!(stage.see(15, &narrow), [Raised]);
    assert_ne!(stage.one().finding.since, first.finding.since);
}

#[test]
fn what_only_the_log_tells_of_stays_cleared_until_it_tells_more() {
    let mut stage = Stage::default();
    let told = stage.at(-600);
    let xid = |count: u32| Finding {
        since: Some(told),
        evidence: vec![Evidence::value("xid_79_count", count)],
        ..critical("gpu.xid", 3, Clears::Operator)
    };
    stage.see(0, &[xid(1)]);
    let first = stage.one();
    assert_eq!(first.finding.since, Some(told));
    stage.clear(&first.id).expect("cleared");
    stage.restart();
    assert_eq!(stage.see(15, &[xid(1)]), []);
    let told = stage.reported(&[xid(1)]);
    assert_eq!((told.findings.len(), told.verdict), (0, Verdict::Healthy));
    // A log that cannot be read now changes nothing.
    assert_eq!(stage.judge(15, &report(&[], &["gpu.xid"], &[])), []);
    assert_eq!(stage.see(15, &[xid(1)]), []);
    // The worst of its events is an older one now: this occurrence began after the last all the same.
    let more = Finding {
        since: Some(stage.at(-900)),
        ..xid(2)
    };
    assert_eq!(stage.see(15, &[more]), [Raised]);
    assert_eq!(stage.one().finding.since, Some(stage.at(0)));
    assert_eq!(stage.one().id, first.id);
}

#[test]
fn counters_that_cannot_be_read_prove_nothing() {
    let pending = Finding {
        clears: Clears::GpuReset,
        ..on_gpu("gpu.row-remap-pending", 3)
    };
    let mut stage = Stage::default();
    stage.see(0, &[pending]);
    stage.snapshot.gpus[3].thermal.energy_joules = Reading::failed("EIO");
    assert!(stage.pass(3600, &[]).is_empty());
    assert_eq!(stage.waits_for(), "a reset of the GPU");
}
