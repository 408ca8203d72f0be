//! Sources read one by one, again and again, against the machine read in one go: whatever happens
//! in between, readers that keep what does not change come to the same snapshot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cupel_hardware::Root;
use cupel_hardware::collect::{
    CollectOptions, Data, Fragment, Fragments, Machine, Reader, Source, collect,
};
use cupel_hardware::gpu::WorkerProgram;
use cupel_model::snapshot::{Snapshot, Tenancy, WorkerState};
use cupel_model::{Reading, Timestamp};
use cupel_rack::{Rack, Scenario, scratch};

/// A program or library of this build.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let deps = own.parent().expect("deps");
    let profile = deps.parent().expect("profile directory");
    let newest = [profile, deps]
        .map(|directory| directory.join(name))
        .into_iter()
        .filter(|path| path.exists())
        .max_by_key(|path| {
            std::fs::metadata(path)
                .and_then(|about| about.modified())
                .ok()
        });
    newest.unwrap_or_else(|| {
        panic!(
            "{name} is not in {}: run `cargo build --workspace` first",
            profile.display()
        )
    })
}

struct Server {
    rack: Rack,
    _directory: tempfile::TempDir,
}

impl Server {
    fn healthy(scenario: &Scenario) -> Self {
        let directory = scratch().expect("directory");
        let library = built("libcupel_fake_driver.so");
        let rack = Rack::healthy(scenario, directory.path(), &library).expect("rack");
        Self {
            rack,
            _directory: directory,
        }
    }

    fn options(&self) -> CollectOptions {
        CollectOptions {
            nvml_library: Some(self.rack.library()),
            worker: WorkerProgram::File(built("cupel-gpu-worker")),
            ..CollectOptions::new(Root::at(self.rack.root()).expect("root"))
        }
    }
}

fn healthy(platform: &str) -> Scenario {
    Scenario::parse(&format!(
        "title = \"\"\nplatform = \"{platform}\"\nverdict = \"healthy\""
    ))
    .expect("scenario")
}

/// A reader for each source, and what they gave last.
struct Watch {
    readers: Vec<Reader>,
    fragments: Fragments,
}

impl Watch {
    fn new(options: CollectOptions) -> Self {
        let machine = Machine::new(options);
        Self {
            readers: Source::ALL.map(|source| machine.reader(source)).into(),
            fragments: Fragments::new(),
        }
    }

    fn read(&mut self) {
        for reader in &mut self.readers {
            let fragment = reader.read();
            assert_eq!(fragment.source, reader.source());
            self.fragments.insert(fragment);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let snapshot = self.fragments.assemble(Timestamp::EPOCH, Tenancy::None);
        snapshot.expect("the node was read")
    }
}

/// What is not a source's, and the time of reading, made the same.
fn bare(mut snapshot: Snapshot) -> Snapshot {
    snapshot.taken_at = Timestamp::EPOCH;
    snapshot.kernel_log.clear();
    snapshot.kernel_log_records = Reading::default();
    let logs = |source: &str| source == "kernel-log";
    snapshot.problems.retain(|problem| !logs(&problem.source));
    snapshot
}

/// Differences in words; a snapshot is too long to be looked at.
fn differences(one: &Snapshot, other: &Snapshot) -> Vec<String> {
    fn walk(at: &str, one: &serde_json::Value, other: &serde_json::Value, told: &mut Vec<String>) {
        use serde_json::Value::{Array, Object};
        match (one, other) {
            (Object(a), Object(b)) if a.keys().eq(b.keys()) => {
                for (key, value) in a {
                    walk(&format!("{at}.{key}"), value, &b[key], told);
                }
            }
            (Array(a), Array(b)) if a.len() == b.len() => {
                for (n, (a, b)) in a.iter().zip(b).enumerate() {
                    walk(&format!("{at}[{n}]"), a, b, told);
                }
            }
            _ if one != other => told.push(format!("{at}: {one} != {other}")),
            _ => {}
        }
    }
    let json = |snapshot| serde_json::to_value(snapshot).expect("json");
    let mut told = Vec::new();
    walk("", &json(one), &json(other), &mut told);
    told
}

#[test]
fn fragments_make_the_snapshot_that_one_collection_makes() {
    for platform in ["dgx-h100", "hgx-b200", "pcie-l40s"] {
        let server = Server::healthy(&healthy(platform));
        let whole = bare(collect(&server.options()));
        let mut watch = Watch::new(server.options());
        for _ in 0..3 {
            watch.read();
            assert_eq!(
                differences(&watch.snapshot(), &whole),
                [""; 0],
                "{platform}"
            );
        }
        assert_eq!(whole.driver.worker, WorkerState::Answered { replaced: 0 });
        assert_eq!(watch.fragments.missing(), []);
    }
}

/// Every scenario that leaves the driver library and its list of GPUs what they were: a library that
/// is open stays open.
fn scenarios() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("scenarios") {
        let path = entry.expect("entry").path();
        let name = path
            .file_stem()
            .expect("name")
            .to_string_lossy()
            .into_owned();
        let others = ["driver-", "healthy-", "gpu-missing"];
        if !others.iter().any(|other| name.starts_with(other)) {
            all.push((name, Scenario::load(&path).expect("scenario")));
        }
    }
    assert!(all.len() > 20, "{} scenarios", all.len());
    all
}

#[test]
fn whatever_happens_to_a_server_readers_see_what_a_new_one_sees() {
    let cases = std::sync::Mutex::new(scenarios());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let case = cases.lock().expect("cases").pop();
                    let Some((name, scenario)) = case else {
                        return;
                    };
                    let mut server = Server::healthy(&scenario);
                    let mut watch = Watch::new(server.options());
                    watch.read();
                    watch.read();
                    server.rack.apply_all(&scenario.faults).expect(&name);
                    for reader in &mut watch.readers {
                        reader.expire();
                    }
                    watch.read();
                    let whole = bare(collect(&server.options()));
                    assert_eq!(differences(&watch.snapshot(), &whole), [""; 0], "{name}");
                }
            });
        }
    });
}

#[test]
fn nothing_is_told_before_the_node_is_known_and_what_is_unread_says_so() {
    let server = Server::healthy(&healthy("dgx-h100"));
    let machine = Machine::new(server.options());
    let mut fragments = Fragments::new();
    let read = |source: Source| machine.reader(source).read();
    let assembled = |fragments: &Fragments| fragments.assemble(Timestamp::EPOCH, Tenancy::None);
    fragments.insert(read(Source::Rdma));
    assert_eq!(assembled(&fragments), None);
    fragments.insert(read(Source::Node));
    let snapshot = assembled(&fragments).expect("a snapshot");
    let unread: Vec<&str> = snapshot
        .problems
        .iter()
        .filter(|problem| problem.why == "not read yet")
        .map(|problem| problem.source.as_str())
        .collect();
    assert_eq!(
        unread,
        ["filesystems", "hwmon", "network", "nvme", "pci", "services"]
    );
    let why = Reading::<String>::failed("not read yet");
    assert_eq!(snapshot.kernel.release, why);
    assert_eq!(snapshot.driver.kernel_version, why);
    assert_eq!(snapshot.bmc.why(), Some("not read yet"));
    assert_eq!(snapshot.memory.total_bytes.why(), Some("not read yet"));
    assert!(!snapshot.rdma.is_empty());
    // GPUs are on the bus, and the driver was not asked yet: unknown, not absent.
    fragments.insert(read(Source::Pci));
    let snapshot = assembled(&fragments).expect("a snapshot");
    assert_eq!(snapshot.gpus.len(), 8);
    assert!(
        snapshot
            .gpus
            .iter()
            .all(|gpu| gpu.in_driver == Reading::failed("not read yet"))
    );
    assert!(matches!(
        snapshot.driver.worker,
        WorkerState::NotStarted { .. }
    ));
    let missing = fragments.missing();
    assert!(missing.contains(&Source::Gpu) && missing.contains(&Source::Bmc));
    assert!(!missing.contains(&Source::Pci) && !missing.contains(&Source::BmcDetails));
}

fn bmc_at(fragment: &Fragment, seconds: u64, sensors: bool) -> Fragment {
    let mut fragment = fragment.clone();
    fragment.since_boot = Duration::from_secs(seconds);
    if let Data::Bmc(Reading::Value(bmc)) = &mut fragment.data {
        bmc.firmware = Reading::Value(format!("read at {seconds}"));
        if !sensors {
            bmc.sensors = Reading::unsupported("not asked for");
        }
    }
    fragment
}

#[test]
fn the_controller_is_who_it_was_last_with_the_sensors_that_were_read_last() {
    let server = Server::healthy(&healthy("dgx-h100"));
    let machine = Machine::new(server.options());
    let details = machine.reader(Source::BmcDetails).read();
    let short = machine.reader(Source::Bmc).read();
    let mut fragments = Fragments::new();
    fragments.insert(machine.reader(Source::Node).read());
    let mut told = |fragment: Fragment| {
        fragments.insert(fragment);
        let snapshot = fragments.assemble(Timestamp::EPOCH, Tenancy::None);
        let bmc = snapshot.expect("a snapshot").bmc;
        let bmc = bmc.value().expect("a controller").clone();
        (bmc.firmware.value().cloned(), bmc.sensors.value().is_some())
    };
    let read_at = |seconds: u64| Some(format!("read at {seconds}"));
    assert_eq!(told(bmc_at(&short, 10, false)), (read_at(10), false));
    assert_eq!(told(bmc_at(&details, 20, true)), (read_at(20), true));
    assert_eq!(told(bmc_at(&short, 30, false)), (read_at(30), true));
    assert_eq!(told(bmc_at(&details, 40, true)), (read_at(40), true));
}

#[test]
fn a_reader_lets_go_of_the_driver_and_takes_it_again() {
    let server = Server::healthy(&healthy("pcie-l40s"));
    let machine = Machine::new(server.options());
    let mut reader = machine.reader(Source::Gpu);
    let answered = |fragment: Fragment| {
        let Data::Gpu(survey) = fragment.data else {
            return false;
        };
        survey.driver.worker == WorkerState::Answered { replaced: 0 }
    };
    assert!(answered(reader.read()));
    reader.release();
    reader.release();
    assert!(answered(reader.read()));
    let watched = reader.watch(Duration::from_millis(1));
    assert!(watched.events.value().is_some(), "{watched:?}");
    let mut other = machine.reader(Source::Node);
    other.release();
    assert!(other.watch(Duration::ZERO).events.value().is_none());
}
