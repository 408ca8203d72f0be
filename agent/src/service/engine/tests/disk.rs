//! A disk that is slow, full, or lost what it had.

use super::*;
use crate::service::store::News;
use cupel_reporting::{State, Stats};

fn news(state: State, begun_anew: Option<&str>) -> Input {
    Input::Stored(News {
        state,
        stats: Stats::default(),
        waiting: 0,
        begun_anew: begun_anew.map(str::to_owned),
    })
}

#[test]
fn what_the_disk_has_no_room_for_is_held_in_order_and_given_later() {
    let mut bench = Bench::with_room(INVENTORY, Remembered::default(), 1);
    bench.engine.take(Input::Log(Batch::default(), None));
    bench.read_all();
    // Nobody empties the queue.
    for number in 0..10 {
        bench.log(vec![other(number)], number.into());
        bench.engine.tick();
        pass(seconds(2.0));
    }
    assert!(!bench.engine.give_held(), "there is no room yet");
    let status = bench.published().status.clone();
    assert!(!status.storage.saved, "it says so");
    bench.empty_disk();
    assert!(bench.engine.give_held());
    bench.empty_disk();
    assert_eq!(bench.rows.len(), 10);
    assert_eq!(bench.kept().kernel_cursor.expect("cursor").sequence, 9);
    let events: u64 = bench
        .reports()
        .iter()
        .filter_map(|report| match &report.body {
            Body::Changes { events, .. } => Some(events.len() as u64),
            Body::Full { .. }
            | Body::Heartbeat { .. }
            | Body::Bringup { .. }
            | Body::Stopping { .. } => None,
        })
        .sum();
    assert_eq!(events, 10, "each event is in a report");
}

#[test]
fn a_disk_that_hangs_for_hours_does_not_fill_the_memory() {
    let mut bench = Bench::with_room(INVENTORY, Remembered::default(), 1);
    bench.engine.take(Input::Log(Batch::default(), None));
    bench.read_all();
    for minute in 0..320_u32 {
        bench.machine.nvme[1].firmware = format!("{}", minute / 12).into();
        bench.read(Source::Nvme);
        bench.log(vec![other(minute % 3)], minute.into());
        bench.engine.tick();
        pass(seconds(1.0));
        bench.engine.tick();
        pass(seconds(59.0));
    }
    bench.empty_disk();
    bench.engine.give_held();
    bench.empty_disk();
    let told = bench.told();
    assert!(told.len() <= 300, "{} reports were held", told.len());
    let fulls = told.iter().filter(|told| told.starts_with("full")).count();
    assert!(fulls <= 2, "{fulls} full reports were held");
    assert_eq!(bench.rows.len(), 3, "state is what it is now");
    assert_eq!(bench.kept().kernel_cursor.expect("cursor").sequence, 319);
}

#[test]
fn a_disk_that_takes_nothing_is_told() {
    let mut bench = Bench::new("").started();
    bench.engine.take(news(
        State::InMemory {
            why: "no space left on device".to_owned(),
            since: Timestamp::EPOCH,
        },
        None,
    ));
    bench.run(seconds(1.1));
    let storage = bench.published().status.storage.clone();
    assert_eq!(
        (storage.saved, storage.why.as_deref()),
        (false, Some("no space left on device"))
    );
    bench.engine.take(news(State::Saved, None));
    bench.run(seconds(1.1));
    assert!(bench.published().status.storage.saved);
}

#[test]
fn when_what_was_kept_is_gone_everything_is_written_again() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.port(0, "DOWN");
    bench.read(Source::Rdma);
    bench.log(vec![other(1), other(2)], 9);
    bench.run(seconds(100.0));
    let before = bench.kept();
    bench.changes.clear();
    bench.rows.clear();
    // An event that stands in no report yet is not passed over by the cursor.
    bench.log(vec![other(2)], 10);
    bench
        .engine
        .take(news(State::Saved, Some("not a database")));
    bench.run(seconds(3.0));
    let after = bench.kept();
    assert_eq!(after.events.len(), 2);
    assert!(after.tracker.expect("tracker").contains("rdma.port-down"));
    assert_eq!(after.kernel_cursor.expect("cursor").sequence, 10);
    assert!(after.notes.len() >= before.notes.len(), "{:?}", after.notes);
    assert_eq!(bench.told(), ["changes [] 1 events", "full 1"]);
}
