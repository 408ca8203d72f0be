//! The engine with a clock, a disk and a machine of the test's own.
//!
//! # Invariants
//! - Time passes only when a test lets it; the disk is a queue that the test empties.
//! - The machine is `cupel_health::testing::good` with its GPUs in the hands of virtual machines: how
//!   GPUs are read is tested elsewhere, and the engine knows nothing of any part.

mod clock;
mod controls;
mod disk;
mod follow;
mod judging;
mod reports;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use cupel_hardware::collect::{Data, Fragment, Source};
use cupel_hardware::gpu::GpuSurvey;
use cupel_hardware::kmsg::Batch;
use cupel_health::testing::{self, Node};
use cupel_model::snapshot::{FirmwareVersion, Snapshot};
use cupel_model::wire::{Body, ChangeKind, Report};
use cupel_model::{Event, Reading, Timestamp};
use cupel_reporting::{Change, EventRow, Remembered};
use tokio::sync::{broadcast, oneshot, watch};

use super::{Engine, Outlets, Rules, Wish, nothing_published};
use crate::config::{Inputs, Settings, parse};
use crate::platforms::Choice;
use crate::service::input::Input;
use crate::service::protocol::{Ask, Reply};
use crate::service::published::{Numbered, Published};
use crate::service::store::{Job, Store};

/// The boot that tests are in.
const BOOT: &str = "b0071000-0000-4000-8000-000000000001";

/// An inventory.
const INVENTORY: &str = "[inventory]\nurl = \"http://127.0.0.1:1\"\n";

/// Microseconds of 2026-01-02T03:04:05Z.
const START: i64 = 1_767_323_045_000_000;

thread_local! {
    static WALL: Cell<i64> = const { Cell::new(START) };
    static BOOTED: Cell<Duration> = const { Cell::new(Duration::from_secs(1000)) };
}

fn read_clocks() -> (Timestamp, Duration) {
    let wall = Timestamp::from_microseconds(WALL.get()).expect("time");
    (wall, BOOTED.get())
}

/// Lets time pass.
fn pass(time: Duration) {
    let microseconds = i64::try_from(time.as_micros()).expect("small");
    WALL.set(WALL.get() + microseconds);
    BOOTED.set(BOOTED.get() + time);
}

/// Sets the wall clock, and that alone.
fn step_wall(seconds: i64) {
    WALL.set(WALL.get() + seconds * 1_000_000);
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn settings(text: &str) -> Settings {
    let mut inputs = Inputs::default();
    let all = format!("tenancy = \"vm-passthrough\"\n{text}");
    inputs.merge(
        "test.toml",
        parse(all.as_bytes(), "test.toml").expect("TOML"),
    );
    inputs.into()
}

fn rules(text: &str) -> Rules {
    let settings = settings(text);
    let platform = Node::good().platform.expect("platform");
    Rules {
        modes: settings.modes().expect("modes"),
        platform: Choice::Named(Box::new(platform)),
        settings,
        loaded_at: read_clocks().0,
        refused: None,
    }
}

/// An engine, and everything around it.
struct Bench {
    engine: Engine,
    disk: Receiver<Job>,
    happened: broadcast::Receiver<Numbered>,
    latest: watch::Receiver<Arc<Published>>,
    /// The machine as the next reading finds it.
    machine: Snapshot,
    /// What was given to the disk, in order.
    changes: Vec<Change>,
    /// Rows of events as they are on disk.
    rows: BTreeMap<String, String>,
    /// Files that the disk was told to remove.
    forgotten: Vec<PathBuf>,
    /// How often the engine did its work.
    rounds: u64,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// A service that starts for the first time.
    fn new(configuration: &str) -> Self {
        Self::that_kept(configuration, Remembered::default())
    }

    /// A service that starts again.
    fn that_kept(configuration: &str, kept: Remembered) -> Self {
        Self::with_room(configuration, kept, 1024)
    }

    /// A disk that takes so many jobs.
    fn with_room(configuration: &str, kept: Remembered, room: usize) -> Self {
        let rules = rules(configuration);
        let directory = tempfile::tempdir().expect("directory");
        let (store, disk) = Store::of_a_test(room);
        let nothing = nothing_published(&rules.settings, read_clocks());
        let (published, latest) = watch::channel(Arc::new(nothing));
        let (happened, hears) = broadcast::channel(1024);
        let outlets = Outlets {
            store,
            published,
            happened,
            gate: directory.path().join("gate.json"),
            state_directory: directory.path().to_owned(),
        };
        let machine = testing::good();
        Self {
            engine: Engine::new(
                rules,
                outlets,
                read_clocks,
                BOOT.to_owned(),
                kept,
                Vec::new(),
            ),
            disk,
            happened: hears,
            latest,
            machine,
            changes: Vec::new(),
            rows: BTreeMap::new(),
            forgotten: Vec::new(),
            rounds: 0,
            _directory: directory,
        }
    }

    /// What the disk has of the engine's, for the next one.
    fn kept(&self) -> Remembered {
        let mut kept = Remembered::default();
        for change in &self.changes {
            let change = change.clone();
            kept.tracker = change.tracker.or(kept.tracker);
            kept.kernel_cursor = change.kernel_cursor.or(kept.kernel_cursor);
            kept.journal_cursor = change.journal_cursor.or(kept.journal_cursor);
            kept.wanted = change.wanted.or(kept.wanted);
            kept.notes.extend(change.notes);
        }
        kept.events = self
            .rows
            .iter()
            .map(|(key, json)| EventRow {
                key: key.clone(),
                json: json.clone(),
            })
            .collect();
        kept
    }

    /// Reads one source, now.
    fn read(&mut self, source: Source) {
        let (taken_at, since_boot) = read_clocks();
        let fragment = Fragment {
            source,
            taken_at,
            since_boot,
            problems: Vec::new(),
            data: data(source, &self.machine),
        };
        let wishes = self.engine.take(Input::Read {
            fragment: Box::new(fragment),
            took: Duration::from_millis(3),
        });
        assert_eq!(wishes, []);
    }

    fn read_all(&mut self) {
        for source in Source::ALL {
            self.read(source);
        }
    }

    /// The log brings events, the last of which has this number.
    fn log(&mut self, events: Vec<Event>, cursor: u64) -> Vec<Wish> {
        let records = u64::try_from(events.len()).expect("small");
        self.engine.take(Input::Log(
            Batch {
                events: events.into_iter().map(|event| (cursor, event)).collect(),
                cursor: Some(cursor),
                followed_to: Some(Duration::from_secs(cursor)),
                records,
                ..Batch::default()
            },
            None,
        ))
    }

    /// One round of the engine's; how long it would wait.
    fn round(&mut self) -> Duration {
        self.rounds += 1;
        let wait = self.engine.tick();
        self.empty_disk();
        wait
    }

    fn empty_disk(&mut self) {
        while let Ok(job) = self.disk.try_recv() {
            match job {
                Job::Commit(change) => {
                    for row in &change.events {
                        self.rows.insert(row.key.clone(), row.json.clone());
                    }
                    self.changes.push(*change);
                }
                Job::Forget(file) => self.forgotten.push(file),
                Job::Parts(_) => {}
                Job::Next(_) | Job::Acknowledge { .. } | Job::Refuse { .. } | Job::Flush(_) => {
                    panic!("the engine asks the disk for something else")
                }
            }
        }
    }

    /// Lets that much time pass with the engine at work, as its loop does it; every source is read
    /// every 15 s.
    fn run(&mut self, time: Duration) {
        let until = BOOTED.get() + time;
        let every = Duration::from_secs(15);
        let mut next = BOOTED.get() + every;
        loop {
            let wait = self.round();
            let now = BOOTED.get();
            if now >= until {
                return;
            }
            let at = (now + wait).min(next).min(until);
            pass(at - now);
            if BOOTED.get() >= next {
                self.read_all();
                next += every;
            }
        }
    }

    /// A log without a word, all sources read, and the first judgement made.
    fn started(mut self) -> Self {
        self.engine.take(Input::Log(Batch::default(), None));
        self.read_all();
        self.round();
        assert!(self.engine.has_judged());
        self
    }

    fn ask(&mut self, ask: Ask) -> (Reply, Vec<Wish>) {
        let (answer, mut answered) = oneshot::channel();
        let wishes = self.engine.take(Input::Asked(ask, answer));
        (answered.try_recv().expect("an answer"), wishes)
    }

    fn published(&self) -> Arc<Published> {
        Arc::clone(&self.latest.borrow())
    }

    /// Ids of the findings of warning and above that are not cleared.
    fn findings(&self) -> Vec<String> {
        let published = self.published();
        let all = published.findings.iter();
        all.filter(|t| t.finding.severity > cupel_model::Severity::Info)
            .map(|t| t.id.clone())
            .collect()
    }

    /// Reports so far.
    fn reports(&self) -> Vec<&Report> {
        self.changes
            .iter()
            .flat_map(|change| &change.reports)
            .collect()
    }

    /// What was reported so far, in short.
    fn told(&self) -> Vec<String> {
        self.reports().iter().map(|report| short(report)).collect()
    }

    /// Forgets what was given to the disk so far, but not what is kept on it.
    fn forget_reports(&mut self) {
        for change in &mut self.changes {
            change.reports.clear();
        }
    }

    /// What whoever follows has heard since the last time.
    fn heard(&mut self) -> Vec<Numbered> {
        let mut all = Vec::new();
        while let Ok(one) = self.happened.try_recv() {
            all.push(one);
        }
        all
    }

    /// Lets a link go down, or come up.
    fn port(&mut self, index: usize, state: &str) {
        let port = &mut self.machine.rdma[index].ports[0];
        port.state = state.to_owned().into();
        let physical = if state == "ACTIVE" {
            "LinkUp"
        } else {
            "Polling"
        };
        port.physical_state = physical.to_owned().into();
    }

    /// A drive warns of itself, or does not.
    fn drive(&mut self, warns: bool) {
        let warnings = if warns {
            vec!["spare-below-threshold".to_owned()]
        } else {
            Vec::new()
        };
        let Reading::Value(health) = &mut self.machine.nvme[0].health else {
            panic!("the drive has no health");
        };
        health.critical_warnings = warnings;
    }
}

fn short(report: &Report) -> String {
    match &report.body {
        Body::Full { findings, .. } => format!("full {}", findings.len()),
        Body::Heartbeat { .. } => "heartbeat".to_owned(),
        Body::Changes {
            changes, events, ..
        } => {
            let changes: Vec<String> = changes
                .iter()
                .map(|change| {
                    let kind = match change.change {
                        ChangeKind::Raised => "raised",
                        ChangeKind::Confirmed => "confirmed",
                        ChangeKind::Changed => "changed",
                        ChangeKind::Cleared => "cleared",
                    };
                    format!("{kind} {}", change.tracked.finding.code)
                })
                .collect();
            let count: u64 = events.iter().map(|event| event.event.repeats).sum();
            format!("changes [{}] {count} events", changes.join(", "))
        }
        Body::Bringup { .. } => "bringup".to_owned(),
        Body::Stopping { why } => format!("stopping {why}"),
    }
}

/// What a source reads of this machine.
fn data(source: Source, machine: &Snapshot) -> Data {
    match source {
        Source::Node => Data::Node {
            node: machine.node.clone(),
            bios: FirmwareVersion {
                component: "bios".to_owned(),
                name: "system".to_owned(),
                version: "1.0".to_owned().into(),
                source: "SMBIOS type 0".to_owned(),
            },
        },
        Source::Pci => Data::Pci {
            functions: machine.pci.clone(),
            switches: machine.nvswitches.clone(),
        },
        Source::Gpu => Data::Gpu(GpuSurvey::unread("there is none to read")),
        Source::Rdma => Data::Rdma(machine.rdma.to_vec()),
        Source::Nvme => Data::Nvme(machine.nvme.clone()),
        Source::Memory => Data::Memory(machine.memory.clone()),
        Source::Cpus => Data::Cpus(machine.cpus.clone()),
        Source::Network => Data::Network(machine.network.clone()),
        Source::Filesystems => Data::Filesystems(machine.filesystems.clone()),
        Source::Sensors => Data::Sensors(machine.sensors.clone()),
        Source::Bmc | Source::BmcDetails => Data::Bmc(machine.bmc.clone()),
        Source::Kernel => Data::Kernel(machine.kernel.clone()),
        Source::Services => Data::Services(machine.services.clone()),
    }
}

/// An event of the kernel log that makes no finding by itself.
fn event(number: u32) -> Event {
    testing::xid(0, 13, "RESTART_APP", Some(number))
}

/// The same with another text: it folds with none.
fn other(number: u32) -> Event {
    let mut event = event(number);
    event.raw = format!("{} number {number}", event.raw);
    event
}

#[test]
fn the_node_of_these_tests_is_in_good_order() {
    let bench = Bench::new("").started();
    let published = bench.published();
    assert_eq!(bench.findings(), Vec::<String>::new());
    assert_eq!(
        published.status.verdict,
        cupel_model::Verdict::Healthy,
        "{:?}",
        published.status.coverage.unknown
    );
}
