//! A process that keeps and sends is killed at any moment: what it said it has kept is there
//! exactly once, what it said has arrived is not, and state and reports are of one moment.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use cupel_model::wire::Report;
use cupel_reporting::{Change, Limits, Opened, Outbox, StartsAt, State};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::{at, changes, mark, noise, opened};

/// Set in the process that is killed; a directory.
const CHILD: &str = "CUPEL_TEST_KILLED_IN";
const ROUNDS: usize = 12;

fn open(directory: &Path) -> Opened {
    let starts = StartsAt {
        boot: "boot".to_owned(),
        sequence: 1,
    };
    Outbox::open(directory, starts, Limits::default(), at(0)).expect("outbox")
}

fn number(report: &Report) -> u64 {
    let (number, _) = mark(report).split_once(':').expect("mark");
    number.parse().expect("number")
}

/// Not a test by itself: what the killed process does. Each commit has a number, that its state
/// and its two reports bear.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let Opened {
        mut outbox,
        remembered,
    } = open(Path::new(&directory));
    let mut next: u64 = remembered
        .tracker
        .map_or(0, |text| text.parse().expect("number"));
    let mut out = std::io::stdout().lock();
    // The test harness has begun a line.
    writeln!(out).expect("line");
    loop {
        next += 1;
        let mut change = Change {
            tracker: Some(next.to_string()),
            reports: vec![
                changes(&format!("{next}:{}", noise(next, 300))),
                changes(&format!("{next}:{}", noise(next, 20_000))),
            ],
            ..Change::default()
        };
        let done = outbox.commit(&mut change, at(1)).expect("commit");
        assert!(done.saved);
        let sequences = done.sequences;
        writeln!(out, "kept {next} {} {}", sequences[0], sequences[1]).expect("line");
        if next.is_multiple_of(2) {
            let report = outbox.next(at(2)).expect("report");
            writeln!(out, "settles {}", report.sequence).expect("line");
            outbox.acknowledge(&report.boot, report.sequence, at(2));
            writeln!(out, "settled {}", report.sequence).expect("line");
        }
        out.flush().expect("flush");
    }
}

#[derive(Default)]
struct Said {
    kept: BTreeSet<u64>,
    settles: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    /// Last commit that was said, or found to be kept after a kill.
    last: u64,
}

/// Runs the child for a while, kills it, and hears what it said.
///
/// The while begins at its first word after `from`: with its first commit, or as soon as it lives,
/// so that it also dies while it opens the file.
fn run_and_kill(directory: &Path, from: &'static str, lives_for: Duration, said: &mut Said) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test kills a process; it is this test program itself"
    )]
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("child");
    let stdout = child.stdout.take().expect("stdout");
    let (began, begin) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut lines = Vec::new();
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8(line).expect("text");
            if line.starts_with(from) {
                let _ = began.send(());
            }
            lines.push(line);
        }
        lines
    });
    begin
        .recv_timeout(Duration::from_secs(60))
        .expect("the child says something");
    thread::sleep(lives_for);
    child.kill().expect("kill");
    child.wait().expect("wait");
    for line in reader.join().expect("reader") {
        let mut words = line.split(' ');
        let what = words.next();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        match (what, numbers.as_slice()) {
            (Some("kept"), [commit, first, second]) => {
                said.last = *commit;
                said.kept.extend([first, second]);
            }
            (Some("settles"), [sequence]) => {
                said.settles.insert(*sequence);
            }
            (Some("settled"), [sequence]) => {
                said.settled.insert(*sequence);
            }
            // The test harness talks too.
            _ => {}
        }
    }
}

#[test]
fn what_was_kept_is_there_once_after_kill_9() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let mut random = StdRng::seed_from_u64(9);
    let mut said = Said::default();
    for round in 0..ROUNDS {
        let lives_for = Duration::from_micros(random.random_range(0..150_000));
        let from = if round % 3 == 2 { "" } else { "kept" };
        run_and_kill(directory.path(), from, lives_for, &mut said);
        check(directory.path(), &mut said, round);
    }
    assert!(said.kept.len() > ROUNDS, "{} reports kept", said.kept.len());
    assert!(!said.settled.is_empty(), "nothing arrived");
}

fn check(directory: &Path, said: &mut Said, round: usize) {
    // A copy is looked at, so that the file itself goes on as it was left.
    let shared_memory = Path::new("/dev/shm");
    let copy = if shared_memory.is_dir() {
        tempfile::tempdir_in(shared_memory)
    } else {
        tempfile::tempdir()
    }
    .expect("directory");
    let to = copy.path().join("service");
    std::fs::create_dir(&to).expect("directory");
    for entry in std::fs::read_dir(directory.join("service")).expect("list") {
        let entry = entry.expect("entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
    let Opened {
        mut outbox,
        remembered,
    } = open(copy.path());
    assert_eq!(*outbox.state(), State::Saved);
    assert_eq!(remembered.set_aside, None, "round {round}");
    let tracker: u64 = remembered
        .tracker
        .expect("tracker")
        .parse()
        .expect("number");
    assert!(
        tracker == said.last || tracker == said.last + 1,
        "round {round}: {tracker} is kept, {} was said",
        said.last
    );
    said.last = tracker;
    let mut there = BTreeSet::new();
    let mut before = 0;
    let mut newest = 0;
    while let Some(spooled) = outbox.next(at(3)) {
        assert!(spooled.sequence > before, "round {round}: order");
        before = spooled.sequence;
        assert!(there.insert(spooled.sequence), "round {round}: twice");
        newest = number(&opened(&spooled.bytes));
        outbox.acknowledge(&spooled.boot, spooled.sequence, at(3));
    }
    assert_eq!(newest, tracker, "state and reports are of one moment");
    let again: Vec<&u64> = said.settled.intersection(&there).collect();
    assert!(again.is_empty(), "round {round}: {again:?} came again");
    let lost: Vec<&u64> = said
        .kept
        .difference(&there)
        .filter(|sequence| !said.settles.contains(sequence))
        .collect();
    assert!(lost.is_empty(), "round {round}: {lost:?} are lost");
    let beyond = there
        .iter()
        .filter(|sequence| !said.kept.contains(sequence))
        .count();
    // Those of commits that were kept and, a moment later, could not be said.
    assert!(beyond <= 2 * (round + 1), "round {round}: {beyond}");
}
