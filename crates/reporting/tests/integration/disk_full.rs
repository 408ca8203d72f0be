//! A file system without room, read-only, and with room again. Needs the right to mount.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cupel_reporting::{Change, Limits, Opened, Outbox, StartsAt, State};

use crate::support::{at, changes, mark, noise, opened};

/// A small file system in memory.
struct Small {
    directory: tempfile::TempDir,
}

impl Small {
    /// An error where this may not be done.
    fn mount(size: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("directory");
        let options = format!("size={size},mode=0700");
        let path = directory.path().to_owned();
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], &path)?;
        Ok(Self { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        run("mount", &["-o", &options], self.path()).expect("remount");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // What stays mounted is memory, and small.
        let _ = run("umount", &["-l"], self.directory.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<(), String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test mounts a file system of its own"
    )]
    let output = Command::new(program)
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn open(directory: &Path) -> Opened {
    open_at(directory, 1)
}

fn open_at(directory: &Path, sequence: u64) -> Opened {
    let starts = StartsAt {
        boot: "boot".to_owned(),
        sequence,
    };
    let limits = Limits {
        memory_bytes: 256 << 10,
        ..Limits::default()
    };
    Outbox::open(directory, starts, limits, at(0)).expect("outbox")
}

fn commit(outbox: &mut Outbox, number: u64, bytes: usize) -> bool {
    let mut change = Change {
        tracker: Some(number.to_string()),
        reports: vec![changes(&format!("{number}:{}", noise(number + 1, bytes)))],
        ..Change::default()
    };
    outbox.commit(&mut change, at(1)).expect("commit").saved
}

/// Numbers of all that waits, and how many of the rest were told to be dropped.
fn drain(outbox: &mut Outbox) -> (Vec<u64>, u64) {
    let mut numbers = Vec::new();
    let mut dropped = 0;
    while let Some(spooled) = outbox.next(at(2)) {
        let report = opened(&spooled.bytes);
        let (number, _) = mark(&report).split_once(':').expect("mark");
        numbers.push(number.parse().expect("number"));
        dropped += report.dropped.changes;
        outbox.acknowledge(&spooled.boot, spooled.sequence, at(2));
    }
    (numbers, dropped)
}

fn why(outbox: &Outbox) -> String {
    match outbox.state() {
        State::InMemory { why, .. } => why.clone(),
        State::Saved => panic!("nothing is wrong"),
    }
}

#[test]
fn a_full_disk_loses_nothing_that_is_not_counted() {
    let small = match Small::mount("2m") {
        Ok(small) => small,
        Err(why) => {
            println!("skipped: no file system can be mounted here: {why}");
            return;
        }
    };
    let mut outbox = open(small.path()).outbox;
    let mut number = 0;
    while commit(&mut outbox, number, 20_000) {
        number += 1;
        assert!(number < 200, "the disk is never full");
    }
    assert!(number > 10, "{number} fit");
    assert!(why(&outbox).contains("full"), "{}", why(&outbox));
    // Much more than the memory may hold.
    for more in 0..40 {
        number += 1;
        commit(&mut outbox, number, 20_000);
        assert!(
            outbox.stats().waiting_bytes < (2 << 20) + (256 << 10),
            "{more}"
        );
    }
    assert!(outbox.stats().dropped.changes > 20);
    commit(&mut outbox, number + 1, 10);
    let (numbers, told) = drain(&mut outbox);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let sent = u64::try_from(numbers.len()).expect("count");
    assert_eq!(sent + told, number + 2, "all arrived or was told");
    assert_eq!(*outbox.state(), State::Saved, "there is room again");
    drop(outbox);
    let Opened {
        mut outbox,
        remembered,
    } = open(small.path());
    assert_eq!(remembered.tracker, Some((number + 1).to_string()));
    assert_eq!(drain(&mut outbox), (Vec::new(), 0));
}

#[test]
fn room_that_comes_back_is_used_at_the_next_commit() {
    let small = match Small::mount("1m") {
        Ok(small) => small,
        Err(why) => {
            println!("skipped: no file system can be mounted here: {why}");
            return;
        }
    };
    let mut outbox = open(small.path()).outbox;
    assert!(commit(&mut outbox, 0, 20_000));
    let filler: PathBuf = small.path().join("somebody-elses-log");
    let _ = std::fs::write(&filler, vec![1; 2 << 20]);
    let mut number = 1;
    while commit(&mut outbox, number, 60_000) {
        number += 1;
        assert!(number < 100, "the disk is never full");
    }
    std::fs::remove_file(&filler).expect("remove");
    assert!(commit(&mut outbox, number + 1, 10), "{}", why(&outbox));
    drop(outbox);
    let (numbers, told) = drain(&mut open(small.path()).outbox);
    assert_eq!(numbers, (0..=number + 1).collect::<Vec<u64>>());
    assert_eq!(told, 0);
}

#[test]
fn without_any_room_from_the_beginning_there_is_memory() {
    let small = match Small::mount("64k") {
        Ok(small) => small,
        Err(why) => {
            println!("skipped: no file system can be mounted here: {why}");
            return;
        }
    };
    let _ = std::fs::write(small.path().join("filler"), vec![1; 1 << 20]);
    let Opened {
        mut outbox,
        remembered,
    } = open(small.path());
    assert_eq!(remembered.tracker, None);
    assert!(!commit(&mut outbox, 1, 10));
    assert!(!why(&outbox).is_empty());
    assert!(outbox.next(at(1)).is_some());
    small.remount("size=4m");
    assert!(commit(&mut outbox, 2, 10), "{}", why(&outbox));
    drop(outbox);
    let Opened {
        mut outbox,
        remembered,
    } = open(small.path());
    assert_eq!(remembered.tracker.as_deref(), Some("2"));
    assert_eq!(drain(&mut outbox), (vec![1, 2], 0));
}

#[test]
fn a_read_only_disk_is_told_and_used_again_when_it_is_not() {
    let small = match Small::mount("4m") {
        Ok(small) => small,
        Err(why) => {
            println!("skipped: no file system can be mounted here: {why}");
            return;
        }
    };
    let mut outbox = open(small.path()).outbox;
    assert!(commit(&mut outbox, 1, 10));
    drop(outbox);
    small.remount("ro");
    // Numbers that cannot be read are not given out again: a restart is later after boot.
    let Opened { mut outbox, .. } = open_at(small.path(), 1000);
    assert!(!commit(&mut outbox, 2, 10));
    assert!(!why(&outbox).is_empty());
    small.remount("rw");
    assert!(commit(&mut outbox, 3, 10), "{}", why(&outbox));
    assert_eq!(drain(&mut outbox).0, [1, 2, 3]);
}
