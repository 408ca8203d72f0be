//! What is kept, where it lies, and what is in the way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::{at, changes, full, heartbeat, noise, opened};
use cupel_reporting::{
    Change, CommitError, EventRow, KernelCursor, Limits, OpenError, Opened, Outbox, StartsAt,
    State, WantedDocument,
};

fn try_open(directory: &Path, boot: &str, sequence: u64) -> Result<Opened, OpenError> {
    let starts = StartsAt {
        boot: boot.to_owned(),
        sequence,
    };
    Outbox::open(directory, starts, Limits::default(), at(0))
}

fn open(directory: &Path, boot: &str, sequence: u64) -> Opened {
    try_open(directory, boot, sequence).expect("outbox")
}

fn event(key: &str, json: &str) -> EventRow {
    EventRow {
        key: key.to_owned(),
        json: json.to_owned(),
    }
}

fn of(report: cupel_model::wire::Report) -> Change {
    Change {
        reports: vec![report],
        ..Change::default()
    }
}

#[test]
fn everything_comes_back_as_it_was_given() {
    let directory = tempfile::tempdir().expect("directory");
    let Opened {
        mut outbox,
        remembered,
    } = open(directory.path(), "a", 1);
    assert_eq!(remembered, Default::default());
    let wanted = WantedDocument {
        etag: "\"7\"".to_owned(),
        json: "{ \"etag\":\"\\\"7\\\"\",  \"n\": 1e400, \"ü\": \"\\u00fc\" }".to_owned(),
    };
    let mut change = Change {
        tracker: Some("{\"tracker\": 1}".to_owned()),
        events: vec![event("xid/79", "{}"), event("aer", "[1]")],
        events_gone: Vec::new(),
        kernel_cursor: Some(KernelCursor {
            boot: "a".to_owned(),
            sequence: u64::MAX,
        }),
        journal_cursor: Some("b,c".to_owned()),
        wanted: Some(wanted.clone()),
        notes: BTreeMap::from([
            ("released-until".to_owned(), "later".to_owned()),
            ("*".to_owned(), String::new()),
        ]),
        reports: vec![full("1")],
    };
    let given = change.clone();
    outbox.commit(&mut change, at(1)).expect("commit");
    drop(outbox);

    let Opened {
        mut outbox,
        remembered,
    } = open(directory.path(), "a", 1);
    assert_eq!(remembered.tracker, given.tracker);
    assert_eq!(
        remembered.events,
        [event("aer", "[1]"), event("xid/79", "{}")]
    );
    assert_eq!(remembered.kernel_cursor, given.kernel_cursor);
    assert_eq!(remembered.journal_cursor, given.journal_cursor);
    assert_eq!(remembered.wanted, Some(wanted));
    assert_eq!(remembered.notes, given.notes);
    assert_eq!(remembered.set_aside, None);

    // A later change replaces what it names and leaves the rest.
    let mut change = Change {
        events: vec![event("aer", "[2]")],
        events_gone: vec!["xid/79".to_owned()],
        journal_cursor: Some("d".to_owned()),
        ..Change::default()
    };
    outbox.commit(&mut change, at(2)).expect("commit");
    drop(outbox);
    let Opened { remembered, .. } = open(directory.path(), "a", 1);
    assert_eq!(remembered.tracker, given.tracker);
    assert_eq!(remembered.events, [event("aer", "[2]")]);
    assert_eq!(remembered.journal_cursor.as_deref(), Some("d"));
}

#[test]
fn events_are_those_of_a_boot_and_reports_of_earlier_boots_come_first() {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path(), "a", 5000).outbox;
    let mut change = of(changes("of a"));
    change.events = vec![event("k", "a")];
    outbox.commit(&mut change, at(1)).expect("commit");
    drop(outbox);

    let Opened {
        mut outbox,
        remembered,
    } = open(directory.path(), "b", 10);
    assert_eq!(remembered.events, []);
    let mut change = of(changes("of b"));
    change.events = vec![event("k", "b")];
    outbox.commit(&mut change, at(2)).expect("commit");
    let names: Vec<(String, u64)> = std::iter::from_fn(|| {
        let next = outbox.next(at(3))?;
        outbox.acknowledge(&next.boot, next.sequence, at(3));
        Some((next.boot, next.sequence))
    })
    .collect();
    assert_eq!(names, [("a".to_owned(), 5000), ("b".to_owned(), 10)]);
    drop(outbox);
    let again = open(directory.path(), "b", 10);
    assert_eq!(again.remembered.events, [event("k", "b")]);
    drop(again);
    assert_eq!(
        open(directory.path(), "a", 5000).remembered.events,
        [],
        "those of another boot went when this one's came"
    );
}

#[test]
fn a_sequence_is_given_out_once_over_restarts_and_over_the_loss_of_the_directory() {
    let directory = tempfile::tempdir().expect("directory");
    let mut last = 0;
    for start in [1000, 1000, 3, 9000, 0] {
        let mut outbox = open(directory.path(), "a", start).outbox;
        for _ in 0..3 {
            let done = outbox
                .commit(&mut of(heartbeat("h")), at(1))
                .expect("commit");
            assert!(
                done.sequences[0] > last,
                "{} after {last}",
                done.sequences[0]
            );
            last = done.sequences[0];
            let next = outbox.next(at(1)).expect("report");
            assert_eq!(next.sequence, last);
            assert_eq!(opened(&next.bytes).sequence, last);
            outbox.acknowledge(&next.boot, next.sequence, at(1));
        }
    }
    assert_eq!(last, 9005, "1000…, 1003…, 1006…, 9000…, 9003…");
    let other = tempfile::tempdir().expect("directory");
    let mut outbox = open(other.path(), "a", 20_000).outbox;
    let done = outbox
        .commit(&mut of(heartbeat("h")), at(1))
        .expect("commit");
    assert_eq!(done.sequences, [20_000]);
    drop(outbox);
    let mut outbox = open(other.path(), "a", u64::MAX).outbox;
    let first = outbox
        .commit(&mut of(heartbeat("h")), at(1))
        .expect("commit");
    let second = outbox
        .commit(&mut of(heartbeat("h")), at(1))
        .expect("commit");
    assert_eq!(second.sequences[0], first.sequences[0] + 1);
}

#[test]
fn a_report_that_is_too_large_leaves_the_change_as_it_was() {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path(), "a", 1).outbox;
    for (size, letters) in [(5 << 20, None), (33 << 20, Some("x"))] {
        let mark = letters.map_or_else(|| noise(1, size), |letter| letter.repeat(size));
        let mut change = Change {
            tracker: Some("kept".to_owned()),
            reports: vec![heartbeat("small"), changes(&mark)],
            ..Change::default()
        };
        let error = outbox.commit(&mut change, at(1)).expect_err("too large");
        assert!(
            matches!(error, CommitError::TooLarge { index: 1, .. }),
            "{error}"
        );
        assert_eq!(change.reports.len(), 2);
        assert_eq!(change.tracker.as_deref(), Some("kept"));
        assert_eq!(outbox.next(at(1)), None);
        change.reports.pop();
        let done = outbox.commit(&mut change, at(1)).expect("commit");
        let next = outbox.next(at(1)).expect("the small one");
        assert_eq!(done.sequences, [next.sequence]);
        outbox.acknowledge(&next.boot, next.sequence, at(1));
    }
}

#[test]
fn nobody_else_may_look_inside() {
    let directory = tempfile::tempdir().expect("directory");
    let mode = |path: &Path| fs::metadata(path).expect("file").permissions().mode() & 0o777;
    let state = directory.path().join("not/there/yet");
    let service = state.join("service");
    let mut outbox = open(&state, "a", 1).outbox;
    outbox
        .commit(&mut of(heartbeat("h")), at(1))
        .expect("commit");
    assert_eq!(mode(&service), 0o700);
    for file in ["store.sqlite3", "store.sqlite3-journal", "lock"] {
        assert_eq!(mode(&service.join(file)), 0o600, "{file}");
    }
    drop(outbox);
    // What was opened to others meanwhile is closed again.
    fs::set_permissions(&service, fs::Permissions::from_mode(0o755)).expect("mode");
    let file = service.join("store.sqlite3");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mode");
    drop(open(&state, "a", 1));
    assert_eq!((mode(&service), mode(&file)), (0o700, 0o600));
}

#[test]
fn two_services_do_not_share_a_directory() {
    let directory = tempfile::tempdir().expect("directory");
    let first = open(directory.path(), "a", 1);
    let error = try_open(directory.path(), "a", 1).expect_err("in use");
    assert!(error.to_string().contains("stop it first"), "{error}");
    drop(first);
    drop(open(directory.path(), "a", 1));
}

fn in_memory(outbox: &mut Outbox) -> String {
    let done = outbox
        .commit(&mut of(heartbeat("h")), at(1))
        .expect("commit");
    assert!(!done.saved);
    let next = outbox.next(at(1)).expect("report");
    outbox.acknowledge(&next.boot, next.sequence, at(1));
    assert_eq!(outbox.next(at(1)), None);
    match outbox.state() {
        State::InMemory { why, .. } => why.clone(),
        State::Saved => panic!("this cannot be saved"),
    }
}

#[test]
fn links_and_other_things_in_the_way_are_not_followed() {
    let elsewhere = tempfile::tempdir().expect("directory");
    let directory = tempfile::tempdir().expect("directory");
    symlink(elsewhere.path(), directory.path().join("service")).expect("link");
    let mut outbox = open(directory.path(), "a", 1).outbox;
    let why = in_memory(&mut outbox);
    assert!(why.contains("move it away"), "{why}");
    // Once it is out of the way, all is written.
    fs::remove_file(directory.path().join("service")).expect("remove");
    assert!(outbox.flush(at(2)));
    assert_eq!(*outbox.state(), State::Saved);
    drop(outbox);

    let file = directory.path().join("service/store.sqlite3");
    fs::rename(&file, elsewhere.path().join("real")).expect("rename");
    symlink(elsewhere.path().join("real"), &file).expect("link");
    let why = in_memory(&mut open(directory.path(), "a", 1).outbox);
    assert!(why.contains("no plain file"), "{why}");
    assert_eq!(fs::read_dir(elsewhere.path()).expect("list").count(), 1);

    let blocked = tempfile::tempdir().expect("directory");
    fs::write(blocked.path().join("state"), "a file").expect("write");
    let why = in_memory(&mut open(&blocked.path().join("state"), "a", 1).outbox);
    assert!(why.contains("state/service"), "{why}");
}

#[test]
fn a_later_cupels_file_is_left_as_it_is_and_told() {
    let directory = tempfile::tempdir().expect("directory");
    drop(open(directory.path(), "a", 1));
    let file = directory.path().join("service/store.sqlite3");
    let later = rusqlite::Connection::open(&file).expect("file");
    later
        .pragma_update(None, "user_version", 99)
        .expect("version");
    drop(later);
    let before = fs::read(&file).expect("read");
    let mut outbox = open(directory.path(), "a", 1).outbox;
    let why = in_memory(&mut outbox);
    assert!(
        why.contains("later cupel") && why.contains("99") && why.contains("move the file away"),
        "{why}"
    );
    assert_eq!(fs::read(&file).expect("read"), before);
}

#[test]
fn steady_heartbeats_and_outages_leave_the_file_at_its_size() {
    let directory = tempfile::tempdir().expect("directory");
    let service = directory.path().join("service");
    let size = || {
        ["store.sqlite3", "store.sqlite3-journal"]
            .map(|file| fs::metadata(service.join(file)).map_or(0, |data| data.len()))
    };
    let mut outbox = open(directory.path(), "a", 1).outbox;
    let beat = |outbox: &mut Outbox, times: i64| {
        for number in 0..times {
            let mut change = of(heartbeat(&noise(1, 300)));
            change.tracker = Some(noise(u64::try_from(number).expect("number"), 8000));
            outbox.commit(&mut change, at(number)).expect("commit");
            let next = outbox.next(at(number)).expect("report");
            outbox.acknowledge(&next.boot, next.sequence, at(number));
        }
    };
    beat(&mut outbox, 100);
    let early = size();
    beat(&mut outbox, 250);
    assert_eq!(size(), early);
    assert!(early[0] < 512 << 10, "{early:?}");
    assert_eq!(early[1], 256 << 10, "the journal keeps its reserve");

    // An outage fills the spool; when it is over, the space is given back.
    for number in 0..30 {
        let mark = noise(number, 400_000);
        outbox
            .commit(&mut of(changes(&mark)), at(0))
            .expect("commit");
    }
    let during = size();
    assert!(during[0] > 10 << 20, "{during:?}");
    while let Some(next) = outbox.next(at(0)) {
        outbox.acknowledge(&next.boot, next.sequence, at(0));
    }
    beat(&mut outbox, 50);
    let after = size();
    assert!(after[0] < 5 << 20, "{after:?} after {during:?}");
    assert_eq!(after[1], 256 << 10, "{after:?}");
}

#[test]
fn another_program_reads_beside_it() {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path(), "a", 1).outbox;
    outbox
        .commit(&mut of(heartbeat("h")), at(1))
        .expect("commit");
    let file = directory.path().join("service/store.sqlite3");
    let reader = rusqlite::Connection::open(&file).expect("file");
    let count: i64 = reader
        .query_row("SELECT count(*) FROM report", [], |row| row.get(0))
        .expect("count");
    assert_eq!(count, 1);
    let done = outbox
        .commit(&mut of(heartbeat("i")), at(2))
        .expect("commit");
    assert!(done.saved);

    // One that does not end holds up the disk and nothing else.
    reader
        .execute_batch("BEGIN; SELECT * FROM report;")
        .expect("read");
    let done = outbox
        .commit(&mut of(heartbeat("j")), at(3))
        .expect("commit");
    assert!(!done.saved);
    reader.execute_batch("COMMIT").expect("end");
    assert!(outbox.flush(at(4)));
    assert_eq!(outbox.stats().waiting_heartbeats, 3);
}
