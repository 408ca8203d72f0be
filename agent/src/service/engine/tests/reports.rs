//! Which reports are made, when, and what is written down with them.

use super::*;

#[test]
fn what_belongs_together_is_one_change() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(3.0));
    bench.forget_reports();
    let before = bench.changes.len();
    bench.drive(true);
    bench.read(Source::Nvme);
    bench.log(vec![other(1), other(2), other(1)], 77);
    bench.run(seconds(0.4));
    let told = &bench.changes[before];
    assert_eq!(told.events.len(), 2, "rows of the events");
    let cursor = told.kernel_cursor.as_ref().expect("cursor");
    assert_eq!((cursor.boot.as_str(), cursor.sequence), (BOOT, 77));
    let tracker = told.tracker.as_ref().expect("memory of findings");
    assert!(tracker.contains("nvme.critical-warning"));
    assert_eq!(
        told.reports.iter().map(short).collect::<Vec<_>>(),
        ["changes [raised nvme.critical-warning] 3 events", "full 1"]
    );
}

#[test]
fn without_an_inventory_no_report_is_made_and_all_else_is_kept() {
    let mut bench = Bench::new("").started();
    bench.drive(true);
    bench.read(Source::Nvme);
    bench.log(vec![other(1)], 5);
    bench.run(seconds(4000.0));
    assert_eq!(bench.told(), Vec::<String>::new());
    assert_eq!(bench.rows.len(), 1);
    let kept = bench.kept();
    assert_eq!(kept.kernel_cursor.expect("cursor").sequence, 5);
    assert!(
        kept.tracker
            .expect("tracker")
            .contains("nvme.critical-warning")
    );
    // Memory is written down when it changes and every five minutes, not all the time.
    assert!(bench.changes.len() < 30, "{} changes", bench.changes.len());
    bench.engine.farewell("SIGTERM");
    bench.empty_disk();
    assert_eq!(bench.told(), Vec::<String>::new());
}

#[test]
fn a_machine_without_an_id_reports_nothing_and_costs_nothing() {
    let mut bench = Bench::new(INVENTORY);
    bench.machine.node.id = Reading::absent("neither UUID nor machine-id");
    let mut bench = bench.started();
    let before = bench.rounds;
    bench.run(seconds(600.0));
    assert_eq!(bench.told(), Vec::<String>::new());
    let rounds = bench.rounds - before;
    assert!(rounds < 200, "{rounds} rounds in 600 s");
}

#[test]
fn a_steady_node_sends_heartbeats_and_a_full_report_an_hour() {
    let mut bench = Bench::new(INVENTORY).started();
    let before = bench.rounds;
    bench.run(seconds(7205.0));
    let told = bench.told();
    let count = |what: &str| told.iter().filter(|told| told.starts_with(what)).count();
    assert_eq!(
        (count("full"), count("changes"), told.len()),
        (3, 0, 121),
        "{told:?}"
    );
    assert_eq!(told[0], "full 0");
    // Every 15 s something is read, a while later judged; then there are heartbeats.
    let rounds = bench.rounds - before;
    assert!(rounds < 2500, "{rounds} rounds in two hours");
    let times: Vec<f64> = bench
        .reports()
        .iter()
        .map(|r| r.uptime_seconds.get())
        .collect();
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        assert!((59.9..61.0).contains(&gap), "{gap} s between two reports");
    }
    assert!(
        bench
            .reports()
            .iter()
            .all(|r| r.next_within_seconds.get() == 60.0)
    );
}

#[test]
fn measurements_make_no_full_report_and_states_do() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(61.0));
    bench.forget_reports();
    bench.machine.memory.available_bytes = cupel_model::units::Bytes(1 << 40).into();
    bench.run(seconds(20.0));
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.machine.nvme[1].firmware = "2.0.0".to_owned().into();
    bench.run(seconds(20.0));
    assert_eq!(bench.told(), ["full 0"]);
}

#[test]
fn full_reports_keep_their_distance() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(10.0));
    bench.forget_reports();
    for number in 0..50 {
        bench.machine.nvme[1].firmware = format!("{number}").into();
        bench.read(Source::Nvme);
        bench.run(seconds(0.2));
    }
    let fulls = bench.told().len();
    assert!((4..=6).contains(&fulls), "{fulls} in 10 s");
    bench.run(seconds(3.0));
    let last = bench.reports().last().map(|report| report.body.clone());
    let Some(Body::Full { snapshot, .. }) = last else {
        panic!("the last state was not reported");
    };
    assert_eq!(snapshot.nvme[1].firmware, "49".to_owned().into());
}

#[test]
fn a_full_report_is_made_when_it_is_asked_for() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(10.0));
    bench.forget_reports();
    bench
        .engine
        .take(Input::Delivery(crate::service::deliver::News::Delivered {
            at: read_clocks().0,
            send_full: true,
            wanted: None,
        }));
    bench.run(seconds(2.0));
    assert_eq!(bench.told(), ["full 0"]);
}

#[test]
fn a_storm_makes_few_reports_with_all_of_it() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(3.0));
    bench.forget_reports();
    let mut cursor = 0;
    for _ in 0..300 {
        cursor += 100;
        bench.log((0..100).map(|number| other(number % 7)).collect(), cursor);
        bench.run(seconds(0.1));
    }
    bench.run(seconds(7.0));
    let mut total = 0;
    let mut reports = 0;
    for report in bench.reports() {
        if let Body::Changes { events, .. } = &report.body {
            assert!(events.len() <= 7);
            total += events.iter().map(|event| event.event.repeats).sum::<u64>();
            reports += usize::from(!events.is_empty());
        }
    }
    assert_eq!(total, 30_000);
    assert!(reports <= 10, "{reports} reports of 30 s of storm");
    assert_eq!(bench.rows.len(), 7);
    let repeats: u64 = bench
        .rows
        .values()
        .map(|json| serde_json::from_str::<Event>(json).expect("event").repeats)
        .sum();
    assert_eq!(repeats, 30_000);
    assert_eq!(bench.kept().kernel_cursor.expect("cursor").sequence, cursor);
}

#[test]
fn one_report_holds_so_many_events_and_the_next_the_rest() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(3.0));
    bench.forget_reports();
    bench.log((0..450).map(other).collect(), 450);
    bench.run(seconds(1.0));
    let counts: Vec<usize> = bench
        .reports()
        .iter()
        .filter_map(|report| match &report.body {
            Body::Changes { events, .. } => Some(events.len()),
            Body::Full { .. }
            | Body::Heartbeat { .. }
            | Body::Bringup { .. }
            | Body::Stopping { .. } => None,
        })
        .collect();
    assert_eq!(counts, [200, 200, 50]);
    let with_cursor = bench.changes.iter().filter(|change| {
        change.reports.len() >= 3 && change.kernel_cursor.is_some() && change.events.len() == 450
    });
    assert_eq!(with_cursor.count(), 1, "all of it is one change");
}

#[test]
fn a_service_that_starts_again_goes_on_where_it_was() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.port(0, "DOWN");
    bench.read(Source::Rdma);
    bench.log(vec![other(1), other(2)], 9);
    bench.run(seconds(120.0));
    let before = bench.published();
    let kept = bench.kept();
    let machine = bench.machine.clone();
    drop(bench);

    pass(seconds(5.0));
    let mut again = Bench::that_kept(INVENTORY, kept);
    assert_eq!(again.engine.log_cursor(), Some(9));
    again.machine = machine;
    let mut again = again.started();
    again.run(seconds(5.0));
    let after = again.published();
    assert_eq!(after.findings.len(), before.findings.len());
    for (before, after) in before.findings.iter().zip(after.findings.iter()) {
        assert_eq!(
            (&before.id, before.finding.since),
            (&after.id, after.finding.since)
        );
        assert_eq!(before.finding.confidence, after.finding.confidence);
    }
    assert_eq!(
        after.events(),
        before.events(),
        "nothing doubled, nothing lost"
    );
    assert_eq!(again.rows.len(), 0, "nothing is written again");
    // The same machine in the same state: it says that it is here, and no more.
    assert_eq!(again.told(), ["heartbeat"]);
    again.log(vec![other(1)], 10);
    again.run(seconds(2.0));
    assert_eq!(again.told(), ["heartbeat", "changes [] 1 events"]);
    assert_eq!(again.rows.keys().collect::<Vec<_>>(), ["000000"]);
}

#[test]
fn of_another_boot_neither_cursor_nor_full_report_is_gone_on_from() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.log(vec![other(1)], 9);
    bench.run(seconds(10.0));
    let mut kept = bench.kept();
    kept.events.clear(); // As the store does it.
    kept.kernel_cursor.as_mut().expect("cursor").boot = "an earlier one".to_owned();
    for note in kept.notes.values_mut() {
        *note = note.replace(BOOT, "an earlier one");
    }
    let again = Bench::that_kept(INVENTORY, kept);
    assert_eq!(again.engine.log_cursor(), None);
    let followed = again.engine.followed();
    assert_eq!(followed.len(), 1);
    assert_eq!(followed[0].boot, "an earlier one");
    assert_eq!(
        followed[0].to,
        Duration::from_secs(9),
        "its journal need not tell this again"
    );
    let mut again = again.started();
    again.run(seconds(3.0));
    assert_eq!(again.told(), ["full 0"]);
}

#[test]
fn the_cursor_goes_on_without_events_too() {
    let mut bench = Bench::new("").started();
    bench.log(Vec::new(), 5000);
    bench.run(seconds(20.0));
    assert_eq!(bench.kept().kernel_cursor, None, "not for every line");
    bench.run(seconds(300.0));
    assert_eq!(bench.kept().kernel_cursor.expect("cursor").sequence, 5000);
    // Another log, under the same boot: what is stored would lead astray.
    bench.engine.take(Input::Log(
        Batch {
            restarted: true,
            ..Batch::default()
        },
        None,
    ));
    bench.log(Vec::new(), 3);
    bench.run(seconds(1.0));
    assert_eq!(bench.kept().kernel_cursor.expect("cursor").sequence, 3);
}

#[test]
fn the_end_tells_everything_that_is_left() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(3.0));
    bench.log(vec![other(1)], 4);
    bench.run(seconds(1.5));
    bench.forget_reports();
    // Too soon for a report of its own, and not judged.
    bench.log(vec![other(1), other(2)], 6);
    bench.engine.farewell("SIGTERM");
    bench.empty_disk();
    assert_eq!(bench.told(), ["changes [] 2 events", "stopping SIGTERM"]);
    assert_eq!(bench.kept().kernel_cursor.expect("cursor").sequence, 6);
}

#[test]
fn events_of_earlier_boots_are_told_once_with_how_far_they_were_read() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(3.0));
    bench.forget_reports();
    let told = |events: Vec<Event>, cursor: &str| {
        Input::EarlierBoots(Reading::Value(cupel_hardware::journal::EarlierBoots {
            boots: vec![cupel_hardware::journal::EarlierBoot {
                boot: "before".to_owned(),
                events,
                records: 100,
            }],
            cursor: Some(cursor.to_owned()),
            ..Default::default()
        }))
    };
    bench.engine.take(told(vec![other(1), other(2)], "s=1"));
    bench.run(seconds(2.0));
    assert_eq!(bench.told(), ["changes [] 2 events"]);
    assert_eq!(bench.kept().journal_cursor.as_deref(), Some("s=1"));
    assert!(
        bench.published().events().is_empty(),
        "they are not of this boot"
    );
    // Nothing new in it: how far it was read is kept all the same.
    bench.engine.take(told(Vec::new(), "s=2"));
    bench.run(seconds(301.0));
    assert_eq!(bench.kept().journal_cursor.as_deref(), Some("s=2"));
}
