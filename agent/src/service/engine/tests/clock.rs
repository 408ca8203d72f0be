//! The wall clock jumps; time since boot does not.

use super::*;

/// An hour back.
const BACK: i64 = -3600;

#[test]
fn windows_holds_and_heartbeats_go_on_by_the_time_since_boot() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(5.0));
    bench.port(1, "DOWN");
    bench.read(Source::Rdma);
    bench.run(seconds(1.0));
    step_wall(BACK);
    bench.run(seconds(200.0));
    let found = bench.published().findings[0].clone();
    assert_eq!(found.finding.confidence, cupel_model::Confidence::Confirmed);
    assert!(found.last_seen >= found.finding.since.expect("since"));
    let beats = bench
        .told()
        .iter()
        .filter(|told| *told == "heartbeat")
        .count();
    assert!((2..=4).contains(&beats), "{:?}", bench.told());

    bench.port(1, "ACTIVE");
    bench.read(Source::Rdma);
    bench.run(seconds(25.0));
    step_wall(7200);
    bench.round();
    assert_eq!(bench.findings().len(), 1, "the hold is not over");
    bench.run(seconds(120.0));
    assert_eq!(bench.findings(), Vec::<String>::new());
}

#[test]
fn a_finding_after_the_jump_is_another_occurrence() {
    let mut bench = Bench::new("").started();
    let mut since = Vec::new();
    for _ in 0..3 {
        bench.port(0, "DOWN");
        bench.read(Source::Rdma);
        bench.run(seconds(1.0));
        since.push(bench.published().findings[0].finding.since.expect("since"));
        bench.port(0, "ACTIVE");
        bench.read(Source::Rdma);
        bench.run(seconds(700.0));
        assert_eq!(bench.findings(), Vec::<String>::new());
        // Back to where the first one began, and a little before it.
        step_wall(-702);
    }
    since.sort();
    since.dedup();
    assert_eq!(since.len(), 3, "two occurrences share their beginning");
}

#[test]
fn reports_say_what_the_clock_says_and_what_to_go_by() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(70.0));
    step_wall(BACK);
    bench.run(seconds(70.0));
    let reports = bench.reports();
    let made: Vec<f64> = reports
        .windows(2)
        .map(|pair| pair[1].made_at.seconds_since(pair[0].made_at))
        .collect();
    assert!(made.iter().any(|gap| *gap < -3000.0), "{made:?}");
    let up: Vec<f64> = reports
        .iter()
        .map(|report| report.uptime_seconds.get())
        .collect();
    assert!(up.is_sorted() && up.len() >= 3, "{up:?}");
}

#[test]
fn the_word_to_the_hook_knows_no_wall_clock() {
    let mut bench = Bench::new("").started();
    bench.round();
    let gate = bench.engine.outlets.gate.clone();
    let word = || crate::service::gate::ask(&gate, Some(BOOT), BOOTED.get());
    use crate::service::gate::Word;
    assert_eq!(word(), Word::Open);
    for step in [BACK, 10 * 3600] {
        step_wall(step);
        bench.run(seconds(40.0));
        assert_eq!(word(), Word::Open);
    }
    pass(seconds(121.0));
    assert!(matches!(word(), Word::None(_)), "nobody renewed it");
}

#[test]
fn the_driver_is_taken_up_again_by_the_time_since_boot() {
    let mut bench = Bench::new("").started();
    let (_, wishes) = bench.ask(Ask::Release { seconds: 100.0 });
    assert_eq!(wishes, [Wish::Release(Some(BOOTED.get() + seconds(100.0)))]);
    step_wall(BACK);
    bench.run(seconds(90.0));
    let status = bench.published().status.clone();
    let left = status
        .released_until
        .expect("released")
        .seconds_since(status.said_at);
    assert!((0.0..=100.0).contains(&left), "{left}");
    step_wall(7200);
    bench.run(seconds(12.0));
    assert_eq!(bench.published().status.released_until, None);
}
