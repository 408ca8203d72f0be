//! A disk that takes nothing, and takes again.

use std::path::Path;

use super::super::{Change, EventRow, Limits, Outbox, State};
use super::support::{at, changes, full, heartbeat, mark, noise, opened};
use super::{of, open};

fn marks(outbox: &mut Outbox) -> Vec<String> {
    let mut marks = Vec::new();
    while let Some(spooled) = outbox.next(at(9)) {
        marks.push(mark(&opened(&spooled.bytes)).to_owned());
        outbox.acknowledge(&spooled.boot, spooled.sequence, at(9));
    }
    marks
}

fn event(key: &str, json: &str) -> EventRow {
    EventRow {
        key: key.to_owned(),
        json: json.to_owned(),
    }
}

#[test]
fn everything_goes_on_in_memory_and_is_written_once_the_disk_takes_it() {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path(), "boot", Limits::default()).outbox;
    let mut change = Change {
        tracker: Some("one".to_owned()),
        events: vec![event("a", "1"), event("b", "1")],
        reports: vec![changes("first")],
        ..Change::default()
    };
    assert!(outbox.commit(&mut change, at(1)).expect("commit").saved);

    outbox.play_unwritable(true);
    let mut change = Change {
        tracker: Some("two".to_owned()),
        events: vec![event("b", "2"), event("c", "2")],
        events_gone: vec!["a".to_owned()],
        reports: vec![changes("second"), heartbeat("third")],
        ..Change::default()
    };
    let committed = outbox.commit(&mut change, at(2)).expect("commit");
    assert_eq!((committed.saved, committed.sequences), (false, vec![2, 3]));
    let State::InMemory { why, since } = outbox.state().clone() else {
        panic!("not told: {:?}", outbox.state());
    };
    assert_eq!(since, at(2));
    assert!(why.contains("store.sqlite3"), "{why}");
    outbox
        .commit(&mut of(full("fourth")), at(3))
        .expect("commit");
    assert_eq!(
        *outbox.state(),
        State::InMemory { why, since: at(2) },
        "since when it began"
    );

    outbox.play_unwritable(false);
    assert!(outbox.flush(at(4)));
    assert_eq!(*outbox.state(), State::Saved);
    drop(outbox);
    let opened = open(directory.path(), "boot", Limits::default());
    assert_eq!(opened.remembered.tracker.as_deref(), Some("two"));
    assert_eq!(opened.remembered.events, [event("b", "2"), event("c", "2")]);
    let mut outbox = opened.outbox;
    assert_eq!(marks(&mut outbox), ["first", "second", "third", "fourth"]);
}

#[test]
fn delivery_goes_on_while_the_disk_takes_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path(), "boot", Limits::default()).outbox;
    for name in ["one", "two"] {
        outbox
            .commit(&mut of(changes(name)), at(1))
            .expect("commit");
    }
    outbox.play_unwritable(true);
    outbox
        .commit(&mut of(changes("three")), at(2))
        .expect("commit");
    assert_eq!(marks(&mut outbox), ["one", "two", "three"]);
    assert_eq!(outbox.next(at(3)), None, "settled is settled");

    outbox.play_unwritable(false);
    outbox
        .commit(&mut of(changes("four")), at(4))
        .expect("commit");
    assert_eq!(outbox.stats().waiting_changes, 1);
    assert_eq!(marks(&mut outbox), ["four"]);
}

#[test]
fn a_full_disk_takes_again_what_fits_after_reports_arrived() {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path(), "boot", Limits::default()).outbox;
    for number in 0..8 {
        let mark = format!("{number}:{}", noise(number + 1, 60_000));
        outbox
            .commit(&mut of(changes(&mark)), at(1))
            .expect("commit");
    }
    outbox.play_full(0);
    let mark = format!("8:{}", noise(99, 180_000));
    let committed = outbox
        .commit(&mut of(changes(&mark)), at(2))
        .expect("commit");
    assert!(!committed.saved);
    let State::InMemory { why, .. } = outbox.state() else {
        panic!("not told");
    };
    assert!(why.contains("full"), "{why}");
    // Each that arrives frees its pages; after some the one in memory fits.
    let mut arrived = 0;
    while *outbox.state() != State::Saved {
        let spooled = outbox.next(at(3)).expect("report");
        outbox.acknowledge(&spooled.boot, spooled.sequence, at(3));
        arrived += 1;
        assert!(arrived < 8, "nothing fits after {arrived}");
    }
    assert_eq!(outbox.stats().waiting_changes, 9 - arrived);
}

#[test]
fn a_file_that_breaks_while_it_is_used_is_put_away_and_everything_asked_for_again() {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path(), "boot", Limits::default()).outbox;
    let mut change = Change {
        tracker: Some("before".to_owned()),
        reports: vec![changes(&noise(3, 2 << 20))],
        ..Change::default()
    };
    outbox.commit(&mut change, at(1)).expect("commit");
    let file = directory.path().join("service/store.sqlite3");
    let size = std::fs::metadata(&file).expect("file").len();
    std::fs::write(&file, vec![0x5a; usize::try_from(size).expect("size")]).expect("write");

    assert_eq!(outbox.next(at(2)), None, "it cannot be read");
    let mut change = of(changes("after"));
    change.tracker = Some("after".to_owned());
    let committed = outbox.commit(&mut change, at(3)).expect("commit");
    assert!(committed.saved);
    let told = committed.set_aside.expect("told");
    let journal = format!("{}-journal", told.path.display());
    assert!(
        told.path.exists() && Path::new(&journal).exists(),
        "{told:?}"
    );
    let committed = outbox
        .commit(&mut of(changes("more")), at(4))
        .expect("commit");
    assert_eq!(committed.set_aside, None, "told once");
    let next = outbox.next(at(7)).expect("a report");
    assert!(next.sequence > 1, "numbers are not given out again");
    drop(outbox);
    let again = open(directory.path(), "boot", Limits::default());
    assert_eq!(again.remembered.set_aside, None);
    assert_eq!(again.remembered.tracker.as_deref(), Some("after"));
}

#[test]
fn a_count_in_the_memory_of_a_process_on_a_full_disk_outlives_it() {
    let directory = tempfile::tempdir().expect("directory");
    let limits = Limits {
        disk_bytes: 200_000,
        memory_bytes: 1 << 20,
        heartbeats: 60,
    };
    let mut outbox = open(directory.path(), "boot", limits).outbox;
    for number in 0..4 {
        let mark = format!("{number}:{}", noise(number + 1, 60_000));
        outbox
            .commit(&mut of(changes(&mark)), at(1))
            .expect("commit");
    }
    assert_eq!(outbox.stats().dropped.changes, 1);
    // The next report tells of it, and stays in memory.
    outbox.play_full(0);
    let mark = format!("4:{}", noise(9, 900_000));
    outbox
        .commit(&mut of(changes(&mark)), at(2))
        .expect("commit");
    let first = outbox.next(at(3)).expect("report");
    outbox.acknowledge(&first.boot, first.sequence, at(3));
    assert_ne!(*outbox.state(), State::Saved);
    assert_eq!(outbox.stats().waiting_changes, 3, "one is off the disk");
    drop(outbox);

    let mut outbox = open(directory.path(), "boot", limits).outbox;
    outbox
        .commit(&mut of(changes("last")), at(4))
        .expect("commit");
    let mut told = 0;
    while let Some(spooled) = outbox.next(at(5)) {
        told += opened(&spooled.bytes).dropped.changes;
        outbox.acknowledge(&spooled.boot, spooled.sequence, at(5));
    }
    assert_eq!(told, 1);
}

#[test]
fn the_file_is_kept_as_the_invariants_say() {
    let directory = tempfile::tempdir().expect("directory");
    let outbox = open(directory.path(), "boot", Limits::default()).outbox;
    let connection = outbox.store.as_ref().expect("file").connection();
    for (pragma, expected) in [
        ("synchronous", "2"),
        ("journal_mode", "persist"),
        ("auto_vacuum", "2"),
        ("trusted_schema", "0"),
        ("cell_size_check", "1"),
        ("user_version", "2"),
    ] {
        let value: String = connection
            .query_row(
                &format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"),
                [],
                |row| row.get(0),
            )
            .expect(pragma);
        assert_eq!(value, expected, "{pragma}");
    }
}

#[test]
fn a_file_of_the_first_version_is_brought_up_and_keeps_its_reports() {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path(), "boot", Limits::default()).outbox;
    outbox
        .commit(&mut of(heartbeat("old")), at(1))
        .expect("small");
    outbox
        .store
        .as_ref()
        .expect("file")
        .connection()
        .execute_batch(
            "ALTER TABLE report DROP COLUMN made_at_microseconds; PRAGMA user_version = 1;",
        )
        .expect("as it was");
    drop(outbox);
    let again = open(directory.path(), "boot", Limits::default());
    assert!(again.remembered.set_aside.is_none());
    let mut outbox = again.outbox;
    // When it was made nobody knows.
    assert_eq!(outbox.stats().oldest_waiting, None);
    let next = outbox.next(at(2)).expect("the report");
    assert_eq!(mark(&opened(&next.bytes)), "old");
}
