//! What goes first when space is short.

use super::super::{Class, Limits, Outbox};
use super::support::{at, changes, full, heartbeat, mark, noise, opened};
use super::{of, open};

/// Marks of what waits, oldest first; takes it all.
fn drain(outbox: &mut Outbox) -> Vec<String> {
    let mut marks = Vec::new();
    while let Some(spooled) = outbox.next(at(9)) {
        let report = opened(&spooled.bytes);
        let name = mark(&report).split(':').next().expect("mark");
        marks.push(name.to_owned());
        outbox.acknowledge(&spooled.boot, spooled.sequence, at(9));
    }
    marks
}

fn commit(outbox: &mut Outbox, class: Class, name: &str, size: usize) {
    let seed = name.bytes().fold(7, |all, byte| all * 31 + u64::from(byte));
    let mark = format!("{name}:{}", noise(seed, size));
    let report = match class {
        Class::Heartbeat => heartbeat(&mark),
        Class::Full => full(&mark),
        Class::Changes => changes(&mark),
    };
    outbox.commit(&mut of(report), at(1)).expect("small");
}

fn limits(disk_bytes: u64) -> Limits {
    Limits {
        disk_bytes,
        memory_bytes: disk_bytes,
        heartbeats: 60,
    }
}

/// On disk, and in memory.
fn both(disk_bytes: u64, test: impl Fn(&mut Outbox)) {
    for is_unwritable in [false, true] {
        let directory = tempfile::tempdir().expect("directory");
        let mut outbox = open(directory.path(), "boot", limits(disk_bytes)).outbox;
        outbox.play_unwritable(is_unwritable);
        test(&mut outbox);
    }
}

#[test]
fn heartbeats_go_before_fulls_and_fulls_before_changes() {
    both(85_000, |outbox| {
        commit(outbox, Class::Changes, "c1", 20_000);
        commit(outbox, Class::Full, "f1", 10_000);
        commit(outbox, Class::Heartbeat, "h1", 10_000);
        commit(outbox, Class::Heartbeat, "h2", 10_000);
        commit(outbox, Class::Full, "f2", 10_000);
        commit(outbox, Class::Changes, "c2", 20_000);
        // Beyond the limit: one heartbeat is enough, then the other, then the older full.
        commit(outbox, Class::Changes, "c3", 10_000);
        assert_eq!(outbox.stats().dropped.heartbeats, 1);
        commit(outbox, Class::Changes, "c4", 18_000);
        let dropped = outbox.stats().dropped;
        assert_eq!(
            (dropped.heartbeats, dropped.fulls, dropped.changes),
            (2, 1, 0)
        );
        assert_eq!(drain(outbox), ["c1", "f2", "c2", "c3", "c4"]);
    });
}

#[test]
fn the_newest_full_stays_and_the_oldest_changes_go() {
    both(100_000, |outbox| {
        commit(outbox, Class::Full, "f1", 20_000);
        for name in ["c1", "c2", "c3", "c4", "c5"] {
            commit(outbox, Class::Changes, name, 20_000);
        }
        assert_eq!(drain(outbox), ["f1", "c3", "c4", "c5"]);
    });
}

#[test]
fn a_report_that_does_not_fit_by_itself_is_dropped_and_told() {
    both(40_000, |outbox| {
        commit(outbox, Class::Full, "f1", 60_000);
        assert_eq!(outbox.stats().waiting_bytes, 0);
        commit(outbox, Class::Heartbeat, "h1", 10);
        let next = outbox.next(at(2)).expect("heartbeat");
        assert_eq!(opened(&next.bytes).dropped.fulls, 1);
    });
}

#[test]
fn an_hour_of_heartbeats_is_enough_and_the_newest_stay() {
    both(1 << 20, |outbox| {
        for number in 0..100 {
            commit(outbox, Class::Heartbeat, &number.to_string(), 10);
        }
        let waiting: Vec<String> = (40..100).map(|number| number.to_string()).collect();
        assert_eq!(drain(outbox), waiting);
    });
}

#[test]
fn what_is_being_sent_is_not_dropped() {
    both(100_000, |outbox| {
        commit(outbox, Class::Heartbeat, "h1", 10_000);
        let first = outbox.next(at(2)).expect("heartbeat");
        for name in ["c1", "c2", "c3", "c4", "c5", "c6"] {
            commit(outbox, Class::Changes, name, 20_000);
        }
        assert_eq!(outbox.stats().dropped.heartbeats, 0);
        outbox.acknowledge(&first.boot, first.sequence, at(3));
        assert_eq!(outbox.stats().dropped.heartbeats, 0);
        assert_eq!(drain(outbox), ["c3", "c4", "c5", "c6"]);
    });
}

#[test]
fn a_count_is_told_once_and_survives_the_loss_of_its_report() {
    both(50_000, |outbox| {
        commit(outbox, Class::Changes, "c1", 20_000);
        commit(outbox, Class::Changes, "c2", 20_000);
        commit(outbox, Class::Changes, "c3", 20_000);
        // c4 tells of c1, and goes itself before it is sent.
        for name in ["c4", "c5", "c6", "c7", "c8"] {
            commit(outbox, Class::Changes, name, 20_000);
        }
        let mut told = 0;
        let mut arrived = 0;
        commit(outbox, Class::Changes, "c9", 10);
        while let Some(spooled) = outbox.next(at(2)) {
            told += opened(&spooled.bytes).dropped.changes;
            arrived += 1;
            outbox.acknowledge(&spooled.boot, spooled.sequence, at(2));
        }
        assert_eq!(arrived + told, 9);
        assert!(told >= 6, "{told}");
    });
}

#[test]
fn a_refused_report_is_kept_with_its_reason_and_hands_on_its_count() {
    both(50_000, |outbox| {
        for name in ["c1", "c2", "c3"] {
            commit(outbox, Class::Changes, name, 20_000);
        }
        commit(outbox, Class::Changes, "c4", 10);
        let mut told = 0;
        while let Some(spooled) = outbox.next(at(2)) {
            let report = opened(&spooled.bytes);
            if mark(&report).starts_with("c4") {
                assert_eq!(report.dropped.changes, 1);
                outbox.refuse(&spooled.boot, spooled.sequence, "409 Conflict: no", at(7));
            } else {
                told += report.dropped.changes;
                outbox.acknowledge(&spooled.boot, spooled.sequence, at(2));
            }
        }
        commit(outbox, Class::Changes, "c5", 10);
        let next = outbox.next(at(2)).expect("c5");
        assert_eq!(told + opened(&next.bytes).dropped.changes, 1);
        let refused = outbox.refused();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].why, "409 Conflict: no");
        assert_eq!((refused[0].sequence, refused[0].at), (4, at(7)));
        assert_eq!(outbox.stats().refused, 1);
    });
}

#[test]
fn the_last_twenty_refused_are_kept() {
    both(1 << 20, |outbox| {
        for number in 0..30 {
            commit(outbox, Class::Changes, &number.to_string(), 10);
            let spooled = outbox.next(at(2)).expect("report");
            outbox.refuse(&spooled.boot, spooled.sequence, "no", at(2));
        }
        let kept: Vec<u64> = outbox.refused().iter().map(|one| one.sequence).collect();
        assert_eq!(kept, (11..=30).rev().collect::<Vec<u64>>());
    });
}

#[test]
fn how_long_the_oldest_has_waited_is_told() {
    both(1 << 20, |outbox| {
        assert_eq!(outbox.stats().oldest_waiting, None);
        for made in [7, 9] {
            let mut report = changes("late");
            report.made_at = at(made);
            outbox.commit(&mut of(report), at(20)).expect("fits");
        }
        for made in [7, 9] {
            assert_eq!(outbox.stats().oldest_waiting, Some(at(made)));
            let next = outbox.next(at(21)).expect("a report");
            outbox.acknowledge(&next.boot, next.sequence, at(21));
        }
        assert_eq!(outbox.stats().oldest_waiting, None);
    });
}
