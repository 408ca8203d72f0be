//! A file that is not what it was: never a panic, never a standstill.

use std::fs;
use std::path::Path;

use crate::support::{at, changes, full, heartbeat, noise};
use cupel_reporting::{Change, EventRow, Limits, Opened, Outbox, StartsAt, State};
use proptest::prelude::*;

fn open(directory: &Path) -> Opened {
    let starts = StartsAt {
        boot: "a".to_owned(),
        sequence: 1,
    };
    Outbox::open(directory, starts, Limits::default(), at(0)).expect("outbox")
}

/// The bytes of a file with something in every table.
fn good() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("directory");
    let mut outbox = open(directory.path()).outbox;
    for number in 0..6 {
        let mut change = Change {
            tracker: Some(noise(number, 6000)),
            events: (0..20)
                .map(|key| EventRow {
                    key: format!("{number}/{key}"),
                    json: noise(key, 200),
                })
                .collect(),
            reports: vec![
                heartbeat(&number.to_string()),
                full(&number.to_string()),
                changes(&noise(number, 9000)),
            ],
            ..Change::default()
        };
        outbox.commit(&mut change, at(1)).expect("commit");
    }
    let next = outbox.next(at(1)).expect("report");
    outbox.refuse(&next.boot, next.sequence, "no", at(1));
    drop(outbox);
    fs::read(directory.path().join("service/store.sqlite3")).expect("file")
}

/// Uses everything there is, with `log` beside the file; gives back whether the file was put away.
fn use_it(bytes: &[u8], log: Option<&[u8]>) -> bool {
    let directory = tempfile::tempdir().expect("directory");
    let service = directory.path().join("service");
    fs::create_dir(&service).expect("directory");
    fs::write(service.join("store.sqlite3"), bytes).expect("write");
    if let Some(log) = log {
        for suffix in ["journal", "wal"] {
            fs::write(service.join(format!("store.sqlite3-{suffix}")), log).expect("write");
        }
    }
    let Opened {
        mut outbox,
        remembered,
    } = open(directory.path());
    let mut put_away = remembered.set_aside.is_some();
    if put_away {
        assert_eq!(remembered.tracker, None);
    }
    for number in 2..5 {
        let mut change = Change {
            tracker: Some("new".to_owned()),
            events: vec![EventRow {
                key: "new".to_owned(),
                json: "new".to_owned(),
            }],
            events_gone: vec!["3/7".to_owned()],
            reports: vec![changes("new")],
            ..Change::default()
        };
        let done = outbox.commit(&mut change, at(number)).expect("commit");
        put_away |= done.set_aside.is_some();
        // Half of what waits arrives, a quarter is refused.
        for turn in 0..6 {
            let Some(next) = outbox.next(at(number)) else {
                break;
            };
            if turn % 4 == 0 {
                outbox.refuse(&next.boot, next.sequence, "no", at(number));
            } else {
                outbox.acknowledge(&next.boot, next.sequence, at(number));
            }
        }
        let _ = (outbox.stats(), outbox.refused());
    }
    let last = outbox
        .commit(&mut Change::default(), at(9))
        .expect("commit");
    put_away |= last.set_aside.is_some();
    assert_eq!(*outbox.state(), State::Saved);
    drop(outbox);
    let again = open(directory.path());
    assert_eq!(*again.outbox.state(), State::Saved);
    let names: Vec<String> = fs::read_dir(&service)
        .expect("list")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("damaged-") && name.ends_with(".sqlite3"))
        .collect();
    assert!(names.len() <= 2, "{names:?}");
    put_away
}

#[test]
fn what_cannot_be_a_store_is_put_away() {
    let good = good();
    assert!(!use_it(&good, None), "the good one is used");
    assert!(!use_it(&[], None), "an empty one is new");
    let foreign = {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("foreign");
        let connection = rusqlite::Connection::open(&path).expect("file");
        connection
            .execute_batch("CREATE TABLE other (x); INSERT INTO other VALUES (1);")
            .expect("table");
        drop(connection);
        fs::read(path).expect("read")
    };
    let mut other_tables = good.clone();
    let at = other_tables
        .windows(5)
        .position(|window| window == b"event")
        .expect("a table's name");
    other_tables[at..at + 5].copy_from_slice(b"evens");
    for (name, bytes) in [
        ("text", b"this is no database".repeat(100)),
        ("zeroes", vec![0; 8192]),
        ("half of it", good[..good.len() / 2 / 4096 * 4096].to_vec()),
        ("a page and a half", good[..6000].to_vec()),
        ("its first bytes", good[..50].to_vec()),
        ("another program's", foreign),
        ("other tables", other_tables),
        (
            "another magic",
            [b"SQLite format 4\0", &good[16..]].concat(),
        ),
    ] {
        assert!(use_it(&bytes, None), "{name}");
    }
}

#[test]
fn rubbish_in_the_place_of_the_journal_is_not_taken_for_one() {
    let good = good();
    assert!(!use_it(&good, Some(b"rubbish")));
    assert!(!use_it(&good, Some(&[0x5a; 100_000])));
    assert!(use_it(b"rubbish here too", Some(&[0x5a; 100_000])));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_damage_is_survived(
        spots in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 1_usize..64), 1..20),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        static GOOD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(good);
        let mut bytes = GOOD.clone();
        for (at, value, length) in spots {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + length);
            bytes[at..end].fill(value);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        use_it(&bytes, None);
    }
}
